package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/pipeline/telemetry"
)

func newReplay() *cobra.Command {
	var speed, format string
	cmd := &cobra.Command{
		Use:   "replay FILE|-",
		Short: "Send the calls of a file into Kafka",
		Long: `Sends calls into Kafka, each under its agent's key. The file holds native JSON lines or
AWS CloudTrail records, as lines or as {"Records":[…]}, gzipped or not; the format is told
by the bytes. What is no call goes to estop.calls.dlq with the line and the reason.`,
		Example: "  estop replay cloudtrail.json.gz\n  estop replay --speed 60x calls.jsonl\n  zcat calls.jsonl.gz | estop replay -",
		Args:    exactArgs(1, "name the file, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := untilSignal(cmd)
			defer stop()
			factor, err := node.ParseSpeed(speed)
			if err != nil {
				return usageError{err}
			}
			f, err := parseFormat(format)
			if err != nil {
				return usageError{err}
			}
			c, err := remote(cmd)
			if err != nil {
				return err
			}
			in, size, err := open(cmd, args[0])
			if err != nil {
				return err
			}
			defer in.Close()
			bar := newBar("replay", size, true)
			r := io.TeeReader(in, bar)
			done, err := node.Replay(ctx, c, r, node.ReplayOptions{Name: name(args[0]), Format: f, Speed: factor}, c.Logger())
			err = errors.Join(err, bar.Finish())
			if ctx.Err() != nil {
				return fmt.Errorf("%w after %d calls", errInterrupted, done.Calls)
			}
			if err != nil {
				return fmt.Errorf("the replay stopped after %d calls: %w", done.Calls, err)
			}
			return print(cmd, done, func(w io.Writer) {
				fmt.Fprintf(w, "%d calls sent in %v", done.Calls, done.Duration.Round(time.Millisecond))
				if done.Bad > 0 {
					fmt.Fprintf(w, "; %s to estop.calls.dlq", red(fmt.Sprint(done.Bad, " bad ones")))
				}
				fmt.Fprintln(w)
			})
		},
	}
	cmd.Flags().StringVar(&speed, "speed", "max", "'max', or how fast the calls' own time passes: 1, 60x")
	cmd.Flags().StringVar(&format, "format", "auto", "auto, json or cloudtrail")
	complete(cmd, "format", formats)
	complete(cmd, "speed", []string{"max", "1", "60x", "3600x"})
	return cmd
}

var formats = []string{telemetry.Auto.String(), telemetry.JSON.String(), telemetry.CloudTrail.String()}

func parseFormat(s string) (telemetry.Format, error) {
	for _, f := range []telemetry.Format{telemetry.Auto, telemetry.JSON, telemetry.CloudTrail} {
		if s == f.String() {
			return f, nil
		}
	}
	return 0, fmt.Errorf("--format: %q is not one of auto, json, cloudtrail%s", s, node.DidYouMean(s, formats))
}

func name(path string) string {
	if path == "-" {
		return "standard input"
	}
	return path
}

// open opens a file, or standard input for -, and says how large it is, -1 if nobody knows.
func open(cmd *cobra.Command, path string) (io.ReadCloser, int64, error) {
	if path == "-" {
		return io.NopCloser(cmd.InOrStdin()), -1, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, st.Size(), nil
}
