package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/audit"
	"github.com/estop-project/estop/pipeline/node"
)

func newAudit() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Prove what an agent did, and check that nothing was changed or left out",
		Long: `The audit role puts every call, detection, revocation, decision and acknowledgement into a transparency log. These commands make
proofs of it that anybody can check offline, compare Kafka and ClickHouse with it, and watch that it never forgets.`,
		Example: "  estop audit prove --tenant acme --agent planner --from 2026-11-01 --to 2026-11-24 --out planner.json\n  estop audit verify planner.json --key audit.pub --witness witness.pub\n  estop audit scan",
	}
	cmd.AddCommand(newAuditKeys(), newAuditProve(), newAuditVerify(), newAuditScan(), newAuditMonitor(), newAuditWitness())
	return cmd
}

func newAuditKeys() *cobra.Command {
	var witness bool
	var name, out string
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Make the key of the audit log, or of a witness, and show its public half",
		Long: `Makes the key that signs the checkpoints of the audit log, unless it is there; the role makes one itself where there is none. Give the
public half to whoever verifies. A witness makes a key of its own, on a machine that the log's operator does not run.`,
		Example: "  estop audit keys --name log.acme.example/estop\n  estop audit keys --witness --name witness.example --out witness.key",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config(cmd)
			if err != nil {
				return err
			}
			k := auditKey{Private: out}
			switch {
			case witness && (name == "" || out == ""):
				return usageError{errors.New("--witness: a witness needs a --name, and a file for its key with --out")}
			case witness:
				k.Public, err = audit.SaveKey(out, audit.WitnessRole, name)
			default:
				if out != "" {
					c.Keys.Audit = out
				}
				k.Private = c.AuditKeyPath()
				k.Public, err = c.MakeAuditKey(name)
			}
			if err != nil {
				return err
			}
			return print(cmd, k, func(w io.Writer) {
				fmt.Fprintf(w, "key %s\n  private %s\n  public  %s (give this to whoever verifies)\n", k.Public, k.Private, audit.PublicPath(k.Private))
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&witness, "witness", false, "make a witness's key")
	f.StringVar(&name, "name", "", "of the log, its origin, or of the witness: a name below a domain of yours; empty: a random one")
	f.StringVar(&out, "out", "", "file of the private key; empty: keys/audit.key in --dir")
	return cmd
}

type auditKey struct {
	Public  string `json:"public"`
	Private string `json:"private"`
}

// agentTopics are those that have trails of agents.
var agentTopics = []string{pipeline.TopicCalls, pipeline.TopicDetections, pipeline.TopicRevocations, pipeline.TopicDecisions}

// proveFlags say what is proved.
type proveFlags struct {
	tenant, agent, scope string
	from, to             string
	topics               []string
	call, at, out        string
	latest, noClickHouse bool
}

func newAuditProve() *cobra.Command {
	var p proveFlags
	cmd := &cobra.Command{
		Use:   "prove",
		Short: "Write a bundle that proves what an agent did, and that nothing is missing",
		Long: `Writes a bundle: the trail of an agent, or a single call, with everything that proves it. Who checks it needs the bundle and the public
key of the log, no access to anything. The log is the one in --dir; calls come from ClickHouse and Kafka. A call that they altered
or lost is named, and is in the bundle without its content.

Where witnesses have cosigned the log the bundle ends at the newest checkpoint that one has cosigned.`,
		Example: "  estop audit prove --tenant acme --agent planner --out planner.json\n  estop audit prove --tenant acme --agent planner --from 2026-11-24T09:00:00Z --to 2026-11-24T10:00:00Z > planner.json\n  estop audit prove --call c-1234 --out call.json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return p.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&p.tenant, "tenant", "", "of the agent")
	f.StringVar(&p.agent, "agent", "", "whose trail to prove")
	f.StringVar(&p.scope, "scope", "agent", "what --agent names: agent, or another scope of revocations")
	f.StringVar(&p.from, "from", "", "show leaves from this time or day on")
	f.StringVar(&p.to, "to", "", "show leaves up to this time or day")
	f.StringSliceVar(&p.topics, "topic", agentTopics, "topics whose trails to prove")
	f.StringVar(&p.call, "call", "", "prove the one call with this id")
	f.StringVar(&p.at, "at", "", "prove the one record at TOPIC/PARTITION/OFFSET, with /PART for a call in a file of several")
	f.StringVar(&p.out, "out", "-", "file of the bundle; -: standard output")
	f.BoolVar(&p.latest, "latest", false, "end at the newest checkpoint, whether a witness has cosigned it or not")
	f.BoolVar(&p.noClickHouse, "no-clickhouse", false, "take calls from Kafka alone")
	complete(cmd, "topic", audit.Topics())
	complete(cmd, "scope", []string{"agent", "identity", "session", "chain", "tenant"})
	return cmd
}

func (p *proveFlags) run(cmd *cobra.Command) error {
	if (p.agent == "") == (p.call == "" && p.at == "") || p.call != "" && p.at != "" {
		return usageError{errors.New("say what to prove: --tenant and --agent, or --call, or --at")}
	}
	r := audit.Request{Subject: audit.Subject{Tenant: p.tenant, Scope: p.scope, Name: p.agent}, Topics: p.topics}
	var err error
	if r.From, err = parseTime("from", p.from, false); err != nil {
		return err
	}
	if r.To, err = parseTime("to", p.to, true); err != nil {
		return err
	}
	c, err := remote(cmd)
	if err != nil {
		return err
	}
	log, err := p.open(c)
	if err != nil {
		return err
	}
	sources, err := c.AuditSources(cmd.Context(), !p.noClickHouse)
	if err != nil {
		return err
	}
	defer sources.Close()
	proved, err := p.prove(cmd.Context(), log, r, sources)
	if err != nil {
		return err
	}
	return p.write(cmd, proved)
}

func (p *proveFlags) open(c node.Config) (*audit.Log, error) {
	keys, err := audit.LoadVerifiers(audit.PublicPath(c.AuditKeyPath()))
	if err != nil {
		return nil, err
	}
	if p.latest {
		return audit.OpenLog(audit.OpenFiles(c.AuditDir()), keys[0])
	}
	return audit.OpenCosigned(c.AuditDir(), keys[0])
}

func (p *proveFlags) prove(ctx context.Context, log *audit.Log, r audit.Request, s node.AuditSources) (*audit.Proved, error) {
	payloads := []audit.Payloads{s.Kafka}
	if s.ClickHouse != nil {
		payloads = append(payloads, s.ClickHouse)
	}
	switch {
	case p.call != "" && s.ClickHouse == nil:
		return nil, usageError{errors.New("--call: ClickHouse knows where a call is; name its place with --at")}
	case p.call != "":
		at, err := s.ClickHouse.Find(ctx, p.call)
		if err != nil {
			return nil, err
		}
		return log.One(ctx, pipeline.TopicCalls, at, payloads...)
	case p.at != "":
		topic, at, err := parsePlace(p.at)
		if err != nil {
			return nil, err
		}
		if at.TopicID, err = log.TopicID(topic, at.Partition); err != nil {
			return nil, err
		}
		return log.One(ctx, topic, at, payloads...)
	}
	return log.Trails(ctx, r, payloads...)
}

// parsePlace reads TOPIC/PARTITION/OFFSET[/PART].
func parsePlace(text string) (topic string, at audit.Place, err error) {
	fields := strings.Split(text, "/")
	numbers := [3]uint64{}
	if len(fields) < 3 || len(fields) > 4 {
		return "", at, usageError{fmt.Errorf("--at: %q is not TOPIC/PARTITION/OFFSET, such as estop.calls/0/17", text)}
	}
	for i, f := range fields[1:] {
		bits := []int{31, 63, 32}[i]
		if numbers[i], err = strconv.ParseUint(f, 10, bits); err != nil {
			return "", at, usageError{fmt.Errorf("--at: %q is no number of a partition, an offset or a part", f)}
		}
	}
	return fields[0], audit.Place{Partition: int32(numbers[0]), Offset: int64(numbers[1]), Part: uint32(numbers[2])}, nil
}

// write writes the bundle, and says on standard error what it lacks.
func (p *proveFlags) write(cmd *cobra.Command, proved *audit.Proved) error {
	data, err := proved.Bundle.Encode()
	if err != nil {
		return err
	}
	if p.out == "-" {
		_, err = cmd.OutOrStdout().Write(data)
	} else if err = os.WriteFile(p.out, data, 0o644); err == nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %d leaves shown, %d bytes; check it with 'estop audit verify'\n", p.out, proved.Shown, len(data))
	}
	if err != nil {
		return fmt.Errorf("cannot write the bundle: %w", err)
	}
	for _, h := range proved.Hidden {
		fmt.Fprintf(cmd.ErrOrStderr(), "without its content, %s\n", h)
	}
	return nil
}

func newAuditVerify() *cobra.Command {
	var key, from, to string
	var witnesses []string
	quorum := -1
	cmd := &cobra.Command{
		Use:   "verify BUNDLE|-",
		Short: "Check a bundle, offline, with the public key alone",
		Long: `Checks a bundle and says what it proves, step by step. It fails if a single byte differs from what was logged, if a leaf of a trail is
missing, or if the witnesses that are named have not cosigned the log.`,
		Example: "  estop audit verify planner.json --key audit.pub --witness witness.pub\n  estop audit verify planner.json --key audit.pub --from 2026-11-24T09:00:00Z --to 2026-11-24T10:00:00Z",
		Args:    exactArgs(1, "give the file of the bundle, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := config(cmd)
			if err != nil {
				return err
			}
			if key == "" {
				key = audit.PublicPath(c.AuditKeyPath())
			}
			var o audit.VerifyOptions
			if o.Log, o.Witnesses, err = loadAuditKeys(key, witnesses); err != nil {
				return err
			}
			if o.Quorum = quorum; quorum < 0 {
				o.Quorum = len(o.Witnesses)
			}
			if o.From, err = parseTime("from", from, false); err != nil {
				return err
			}
			if o.To, err = parseTime("to", to, true); err != nil {
				return err
			}
			return verifyBundle(cmd, args[0], o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&key, "key", "", "file of the log's public key (default: the one in --dir)")
	f.StringSliceVar(&witnesses, "witness", nil, "file of the public key of a witness")
	f.IntVar(&quorum, "quorum", quorum, "how many of the witnesses must have cosigned; -1: all")
	f.StringVar(&from, "from", "", "the bundle must show all from this time or day on")
	f.StringVar(&to, "to", "", "up to this time or day")
	return cmd
}

func loadAuditKeys(key string, witnesses []string) (log note.Verifier, all []note.Verifier, err error) {
	keys, err := audit.LoadVerifiers(key)
	if err != nil {
		return nil, nil, err
	}
	if len(keys) != 1 {
		return nil, nil, fmt.Errorf("%q has %d keys, and a log has one", key, len(keys))
	}
	all, err = audit.LoadVerifiers(witnesses...)
	return keys[0], all, err
}

func verifyBundle(cmd *cobra.Command, path string, o audit.VerifyOptions) error {
	in := cmd.InOrStdin()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("cannot read the bundle: %w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, audit.MaxBundle+1))
	if err != nil {
		return fmt.Errorf("cannot read the bundle: %w", err)
	}
	b, err := audit.ParseBundle(data)
	if err != nil {
		return err
	}
	v, refused := audit.Verify(b, o)
	if err := print(cmd, v, func(w io.Writer) { writeVerified(w, v) }); err != nil {
		return err
	}
	if refused != nil {
		return fmt.Errorf("refused: %w", refused)
	}
	return nil
}

func writeVerified(w io.Writer, v audit.Verified) {
	for _, s := range v.Steps {
		mark := green("ok ")
		if !s.OK {
			mark = red("NO ")
		}
		fmt.Fprintf(w, "%s %s\n", mark, s.What)
	}
	if !v.Genuine {
		return
	}
	fmt.Fprintf(w, "%s %d leaves with their content, %d without\n", green("genuine:"), v.Shown, v.Withheld)
}

func newAuditScan() *cobra.Command {
	var since string
	var noClickHouse bool
	cmd := &cobra.Command{
		Use:   "scan",
		Short: "Compare Kafka and ClickHouse with the log, and name what was altered, lost or added",
		Long: `Computes the whole log again and compares each call and record that Kafka and ClickHouse have with it. It names each one that is
altered, missing or added, and each file of the log that is damaged, and fails if there is any.`,
		Example: "  estop audit scan\n  estop audit scan --since 2026-11-01 --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := remote(cmd)
			if err != nil {
				return err
			}
			o := audit.ScanOptions{}
			if o.Since, err = parseTime("since", since, false); err != nil {
				return err
			}
			return runScan(cmd, c, o, noClickHouse)
		},
	}
	f := cmd.Flags()
	f.StringVar(&since, "since", "", "what is older may be gone: expired, that is")
	f.BoolVar(&noClickHouse, "no-clickhouse", false, "compare Kafka alone")
	return cmd
}

// maxNamed bounds the findings of one report.
const maxNamed = 10_000

func runScan(cmd *cobra.Command, c node.Config, o audit.ScanOptions, noClickHouse bool) error {
	ctx, stop := untilSignal(cmd)
	defer stop()
	keys, err := audit.LoadVerifiers(audit.PublicPath(c.AuditKeyPath()))
	if err != nil {
		return err
	}
	log, err := audit.OpenLog(audit.OpenFiles(c.AuditDir()), keys[0])
	if err != nil {
		return err
	}
	sources, err := c.AuditSources(ctx, !noClickHouse)
	if err != nil {
		return err
	}
	defer sources.Close()
	o.Sources = []audit.Source{sources.Kafka}
	if sources.ClickHouse != nil {
		o.Sources = append(o.Sources, sources.ClickHouse)
	}
	report := struct {
		audit.Scanned
		Named []audit.Finding `json:"named"`
	}{Named: []audit.Finding{}}
	o.Each = func(f audit.Finding) {
		if len(report.Named) < maxNamed {
			report.Named = append(report.Named, f)
		}
	}
	bar := &meter{what: "scan"}
	o.Progress = bar.set
	report.Scanned, err = log.Scan(ctx, o)
	bar.close()
	if err != nil {
		return err
	}
	if err := print(cmd, report, func(w io.Writer) {
		for _, f := range report.Named {
			fmt.Fprintln(w, red(f.String()))
		}
		fmt.Fprintf(w, "log         %d chunks, %d leaves\n", report.Chunks, report.Leaves)
		for _, s := range o.Sources {
			fmt.Fprintf(w, "%-11s %d leaves compared, %d rows that the log does not cover so far\n", s.Name(), report.Compared[s.Name()], report.Unproved[s.Name()])
		}
	}); err != nil {
		return err
	}
	if report.Findings > 0 {
		return fmt.Errorf("%d findings", report.Findings)
	}
	return nil
}

// watchFlags say which log is watched.
type watchFlags struct {
	key, state string
	others     []string
	every      time.Duration
}

func (f *watchFlags) flags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.key, "key", "", "file of the log's public key (default: the one in --dir)")
	fs.StringVar(&f.state, "state", "", "file that keeps what was seen of the log; empty: one for each log, in the folder audit-seen")
	fs.StringSliceVar(&f.others, "other", nil, "file of a checkpoint of this log that others got: it must agree")
	fs.DurationVar(&f.every, "every", 0, "look again so often, until interrupted; 0: once")
}

func (f *watchFlags) watch(c node.Config, args []string) (audit.Watch, error) {
	if f.key == "" {
		f.key = audit.PublicPath(c.AuditKeyPath())
	}
	where := c.AuditDir()
	if len(args) > 0 {
		where = args[0]
	}
	log, _, err := loadAuditKeys(f.key, nil)
	if err != nil {
		return audit.Watch{}, err
	}
	w := audit.Watch{Files: audit.OpenFiles(where), Log: log, State: f.state}
	if w.State == "" {
		w.State = audit.WitnessPath("audit-seen", fmt.Sprintf("%s-%08x", log.Name(), log.KeyHash()))
	}
	for _, path := range f.others {
		b, err := os.ReadFile(path)
		if err != nil {
			return w, fmt.Errorf("cannot read a checkpoint of others: %w", err)
		}
		w.Others = append(w.Others, b)
	}
	return w, nil
}

// repeat looks as often as the flags say. What contradicts itself ends it; what cannot be
// read may be there the next time.
func (f *watchFlags) repeat(cmd *cobra.Command, look func() (audit.Watched, error)) error {
	ctx, stop := untilSignal(cmd)
	defer stop()
	for {
		seen, err := look()
		if err == nil {
			err = print(cmd, seen, func(w io.Writer) { writeWatched(w, seen) })
		}
		if f.every <= 0 || errors.Is(err, audit.ErrInconsistent) || errors.Is(err, audit.ErrTampered) || errors.Is(err, audit.ErrCheckpoint) {
			return err
		}
		if err != nil {
			fmt.Fprintln(cmd.ErrOrStderr(), "estop:", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(f.every):
		}
	}
}

func writeWatched(w io.Writer, s audit.Watched) {
	how := fmt.Sprintf("extends the %d that were seen before", s.Before)
	if s.Before == 0 {
		how = "seen for the first time"
	}
	fmt.Fprintf(w, "%s %q has %d chunks, %s; %d checkpoints of others agree\n", green("consistent:"), s.Origin, s.Size, how, s.Others)
}

func newAuditMonitor() *cobra.Command {
	var flags watchFlags
	cmd := &cobra.Command{
		Use:   "monitor [LOG]",
		Short: "Watch that the log never forgets, and shows everybody the same",
		Long: `Checks that the newest checkpoint of a log, a folder or an address that serves one, extends the one that was seen before, and agrees
with checkpoints that others got. It fails, loudly, if the log was rewritten or shows different histories.`,
		Example: "  estop audit monitor\n  estop audit monitor https://log.acme.example/estop --key acme.pub --every 1m --other from-the-auditor",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := config(cmd)
			if err != nil {
				return err
			}
			w, err := flags.watch(c, args)
			if err != nil {
				return err
			}
			return flags.repeat(cmd, w.Look)
		},
	}
	flags.flags(cmd)
	return cmd
}

func newAuditWitness() *cobra.Command {
	var flags watchFlags
	var witnessKey, out string
	cmd := &cobra.Command{
		Use:   "witness [LOG]",
		Short: "Cosign the log's checkpoint, after a check that it never forgot",
		Long: `Does what monitor does, and then cosigns the checkpoint with the key of the witness. Run it where the operator of the log has no access:
whoever rewrites the log cannot get it cosigned again. The log's folder takes the cosigned checkpoint, if it can be written; bundles
are made with it.`,
		Example: "  estop audit witness https://log.acme.example/estop --key acme.pub --witness-key witness.key --out cosigned --every 10s",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if witnessKey == "" {
				return usageError{errors.New("--witness-key: name the witness's private key; 'estop audit keys --witness' makes one")}
			}
			c, err := config(cmd)
			if err != nil {
				return err
			}
			watch, err := flags.watch(c, args)
			if err != nil {
				return err
			}
			if out == "" && (len(args) == 0 || !strings.Contains(args[0], "://")) {
				dir := c.AuditDir()
				if len(args) > 0 {
					dir = args[0]
				}
				out = audit.WitnessPath(dir, strings.TrimSuffix(filepath.Base(witnessKey), filepath.Ext(witnessKey)))
			}
			w := audit.Witness{Watch: watch, Key: witnessKey, Out: out}
			return flags.repeat(cmd, func() (audit.Watched, error) {
				seen, _, err := w.Cosign()
				return seen, err
			})
		},
	}
	flags.flags(cmd)
	cmd.Flags().StringVar(&witnessKey, "witness-key", "", "file of the witness's private key")
	cmd.Flags().StringVar(&out, "out", "", "file of the cosigned checkpoint; empty: in the folder of the log, where bundles are made with it")
	return cmd
}
