package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
)

func reasonFlag(cmd *cobra.Command, reason *string, what string) {
	cmd.Flags().StringVar(reason, "reason", "", what+" (needed)")
}

// withReason refuses an act without a reason: whoever looks at it later, and whoever is denied, must know why.
func withReason(reason string) error {
	if strings.TrimSpace(reason) == "" {
		return usageError{errors.New("--reason is needed: say why, such as --reason 'deletes customers'; it is kept, and shown to whoever it concerns")}
	}
	return nil
}
