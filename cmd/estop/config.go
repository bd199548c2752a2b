package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/pipeline/node"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check and show the configuration"}
	cmd.AddCommand(
		&cobra.Command{
			Use:     "check [FILE]",
			Short:   "Check a configuration file with the environment and the flags",
			Example: "  estop config check estop.yaml",
			Args:    upTo(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				if len(args) == 1 {
					if err := cmd.Flags().Set("config", args[0]); err != nil {
						return err
					}
				}
				if _, err := config(cmd); err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), "the configuration is right")
				return nil
			},
		},
		&cobra.Command{
			Use:   "show",
			Short: "Show every setting as it would be used, and where it was said; secrets are left out",
			Long: `Shows every setting as it would be used, and where it was said. The output is a
configuration file again; only the secrets are left out of it.`,
			Args: noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				c, err := config(cmd)
				if err != nil {
					return err
				}
				settings := c.Settings()
				return print(cmd, settings, func(w io.Writer) { writeSettings(w, settings) })
			},
		})
	return cmd
}

// writeSettings writes a configuration file.
func writeSettings(w io.Writer, settings []node.Setting) {
	for _, s := range settings {
		line, err := json.Marshal(s.Value) // JSON is YAML
		if err != nil {
			panic(fmt.Sprintf("cannot write setting %s: %v", s.Key, err)) // texts, numbers, lists of texts
		}
		if s.Secret && s.Value != "" {
			fmt.Fprint(w, "# ")
		}
		fmt.Fprintf(w, "%s: %s", s.Key, line)
		if s.From != "" {
			fmt.Fprint(w, "  # ", s.From)
		}
		fmt.Fprintln(w)
	}
}
