package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check and show the configuration", Args: cobra.NoArgs}
	cmd.AddCommand(
		&cobra.Command{
			Use:     "check [FILE]",
			Short:   "Check a configuration file with the environment and the flags",
			Example: "  estop config check estop.yaml",
			Args:    cobra.MaximumNArgs(1),
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
			Short: "Show every setting as it would be used; secrets are left out",
			Args:  cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				c, err := config(cmd)
				if err != nil {
					return err
				}
				settings := c.Settings()
				return print(cmd, settings, func(w io.Writer) {
					for _, s := range settings {
						fmt.Fprintf(w, "%s: %v\n", s.Key, s.Value)
					}
				})
			},
		})
	return cmd
}
