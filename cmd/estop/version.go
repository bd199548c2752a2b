package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/pipeline/node"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := map[string]string{"version": node.Version(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
			return print(cmd, v, func(w io.Writer) { fmt.Fprintf(w, "estop %s (%s, %s)\n", v["version"], v["go"], v["platform"]) })
		},
	}
}
