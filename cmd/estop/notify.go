package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/pipeline/notify"
)

func newNotify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "notify",
		Short: "Check and test who is told of detections and stops, and send again what was not taken",
		Long: `The notify role tells webhooks, chats, SIEMs and receivers of security events what estop found and
whom it stopped. A file says whom and how; notify.file names it.`,
	}
	cmd.PersistentFlags().String("notify.file", "", "file of sinks")
	cmd.AddCommand(newNotifyCheck(), newNotifyTest(), newNotifyReplay(), newNotifyListen())
	return cmd
}

// sinks loads the file that an argument or the configuration names.
func sinks(cmd *cobra.Command, args []string) (*notify.File, error) {
	c, err := config(cmd)
	if err != nil {
		return nil, err
	}
	if len(args) > 0 {
		c.Notify.File = args[0]
	}
	f, err := c.Sinks()
	if errors.Is(err, node.ErrNoSinks) {
		return nil, usageError{err}
	}
	return f, err
}

// sinkLine is a sink as people see it. Its address may be a secret.
type sinkLine struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Host string `json:"host"`
}

func newNotifyCheck() *cobra.Command {
	return &cobra.Command{
		Use:     "check [FILE]",
		Short:   "Check a file of sinks, with the secrets that it names",
		Example: "  estop notify check sinks.yaml",
		Args:    upTo(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := sinks(cmd, args)
			if err != nil {
				return err
			}
			all := []sinkLine{}
			for _, s := range f.Sinks {
				all = append(all, sinkLine{s.Name, s.Type, s.Host()})
			}
			return print(cmd, all, func(out io.Writer) {
				w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
				for _, s := range all {
					fmt.Fprintf(w, "%s\t%s\t%s\n", s.Name, s.Type, s.Host)
				}
				w.Flush()
				fmt.Fprintln(out, "the sinks are right")
			})
		},
	}
}

// sent is what a test of a sink did.
type sent struct {
	Sink  string        `json:"sink"`
	Event string        `json:"event"`
	Took  time.Duration `json:"took_ns"`
}

func newNotifyTest() *cobra.Command {
	var kind, state string
	cmd := &cobra.Command{
		Use:   "test SINK",
		Short: "Send a sample to a sink, once, whatever its filter says",
		Long: `Sends a sample to a sink, once, whatever its filter says. A receiver of security events gets a
verification: it would act on anything else.`,
		Example:           "  estop notify test oncall\n  estop notify test oncall --kind revocation",
		Args:              oneSink,
		ValidArgsFunction: sinkNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := openSink(cmd, args[0])
			if err != nil {
				return err
			}
			now := time.Now()
			e, err := s.Sample(notify.Kind(kind), now)
			if err != nil {
				return usageError{err}
			}
			if state != "" && e.Kind != notify.Verification {
				return usageError{fmt.Errorf("--state is of verifications, which receivers of security events get; %q is none", s.Name)}
			}
			e.State = state
			if err := s.Send(cmd.Context(), e, now); err != nil {
				return fmt.Errorf("sink %q did not take it: %w", s.Name, err)
			}
			done := sent{s.Name, e.ID, time.Since(now)}
			return print(cmd, done, func(w io.Writer) {
				fmt.Fprintf(w, "%s took %s after %v\n", done.Sink, done.Event, done.Took.Round(time.Millisecond))
			})
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "", "detection, revocation, release or decision (default detection)")
	cmd.Flags().StringVar(&state, "state", "", "of a verification: what the receiver gave when it asked for it")
	complete(cmd, "kind", []string{"detection", "revocation", "release", "decision"})
	return cmd
}

func oneSink(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errors.New("name one sink")
	}
	return nil
}

// openSink finds a sink and gives it its keys.
func openSink(cmd *cobra.Command, name string) (*notify.Sink, error) {
	f, err := sinks(cmd, nil)
	if err != nil {
		return nil, err
	}
	s, err := f.Sink(name)
	if err != nil {
		return nil, usageError{err}
	}
	_, err = f.OpenKeys()
	return s, err
}

func sinkNames(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if f, err := sinks(cmd, nil); err == nil && len(args) == 0 {
		for _, s := range f.Sinks {
			names = append(names, s.Name+"\t"+s.Type)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func newNotifyReplay() *cobra.Command {
	var look bool
	cmd := &cobra.Command{
		Use:   "replay SINK",
		Short: "Send again what a sink did not take",
		Long: `Sends the dead letters of a sink again that came since the last replay, in their order and with the ids
that they had. At the first that is not taken it stops; the next replay begins there.`,
		Example:           "  estop notify replay oncall --list\n  estop notify replay oncall",
		Args:              oneSink,
		ValidArgsFunction: sinkNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := untilSignal(cmd)
			defer stop()
			s, err := openSink(cmd, args[0])
			if err != nil {
				return err
			}
			c, err := remote(cmd)
			if err != nil {
				return err
			}
			kafka, err := c.KafkaOptions(c.Logger())
			if err != nil {
				return err
			}
			dead := &notify.DeadLetters{Kafka: kafka, Sink: s}
			if look {
				return listLetters(ctx, cmd, dead)
			}
			done, err := dead.Replay(ctx)
			if shown := print(cmd, done, func(w io.Writer) {
				fmt.Fprintf(w, "%d sent again, %d that are no events\n", done.Sent, done.Unread)
			}); err == nil {
				err = shown
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&look, "list", false, "list them with the reasons, and send nothing")
	return cmd
}

func listLetters(ctx context.Context, cmd *cobra.Command, dead *notify.DeadLetters) error {
	all, err := dead.List(ctx)
	if err != nil {
		return err
	}
	return print(cmd, all, func(out io.Writer) {
		if len(all) == 0 {
			fmt.Fprintln(out, "nothing waits")
			return
		}
		w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
		defer w.Flush()
		fmt.Fprintln(w, "event\tgiven up\tattempts\twhy")
		for _, l := range all {
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", l.Event, l.At.Local().Format(time.DateTime), l.Attempts, l.Reason)
		}
	})
}

func newNotifyListen() *cobra.Command {
	addr := "127.0.0.1:8088"
	cmd := &cobra.Command{
		Use:   "listen",
		Short: "Print what sinks would get: a receiver for trying it out",
		Long: `Takes what is sent to it and prints it, one line of JSON for each request, until it is interrupted. Of a
security event token it prints the claims. It verifies no signature.`,
		Example: "  estop notify listen\n  estop notify listen --addr 127.0.0.1:9000",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilSignal(cmd)
			defer stop()
			l, err := net.Listen("tcp", addr)
			if err != nil {
				return fmt.Errorf("cannot listen: %w", err)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "listening at http://%s\n", l.Addr())
			s := &http.Server{Handler: &notify.Listener{Out: cmd.OutOrStdout()}, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: time.Minute}
			defer context.AfterFunc(ctx, func() { s.Close() })()
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&addr, "addr", addr, "where to listen")
	return cmd
}
