// Package notify tells others what estop found and did: detections, revocations, releases and decisions
// go from Kafka to webhooks, chats, SIEMs, and, as security event tokens, to receivers of shared signals.
// docs/decisions/0027-notify.md says why so.
package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// Options configure a Notifier.
type Options struct {
	Kafka      []kgo.Opt   // of every client: seed brokers and how to log in
	Producer   *kgo.Client // writes dead letters
	File       *File
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Clock      func() time.Time
}

// Notifier is the notify role.
type Notifier struct {
	opt      Options
	keys     *Keys // nil: no sink gets tokens
	metrics  *metrics
	couriers []*courier
}

// New makes a Notifier, and the keys that its sinks need and that are missing. It connects to nothing; Run does.
func New(opt Options) (*Notifier, error) {
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	if opt.Clock == nil {
		opt.Clock = time.Now
	}
	return newNotifier(opt, newMetrics(opt.Registerer))
}

// With is New for another file, with the same metrics: for who goes over to it.
func (n *Notifier) With(f *File) (*Notifier, error) {
	opt := n.opt
	opt.File = f
	return newNotifier(opt, n.metrics)
}

func newNotifier(opt Options, m *metrics) (*Notifier, error) {
	n := &Notifier{opt: opt, metrics: m}
	var err error
	if n.keys, err = opt.File.OpenKeys(); err != nil {
		return nil, err
	}
	for _, s := range opt.File.Sinks {
		n.couriers = append(n.couriers, newCourier(s, &n.opt, n.metrics))
	}
	return n, nil
}

// OpenKeys gives the sinks the keys that they sign with, and makes those that are missing. It returns nil
// where no sink needs any.
func (f *File) OpenKeys() (*Keys, error) {
	var forms []*caep
	var wanted []string
	for _, s := range f.Sinks {
		if c, ok := s.form.(*caep); ok {
			forms = append(forms, c)
			wanted = append(wanted, c.alg)
		}
	}
	if len(forms) == 0 {
		return nil, nil
	}
	k, err := OpenKeys(f.KeysDir, wanted...)
	if err != nil {
		return nil, err
	}
	for _, c := range forms {
		c.keys = k
	}
	return k, nil
}

// Begin lets new sinks begin with what comes from now on. Run does so too, but later: who says that all is ready
// calls it before.
func (n *Notifier) Begin(ctx context.Context) error {
	for _, c := range n.couriers {
		if err := c.commitEnds(ctx); err != nil {
			return fmt.Errorf("cannot find out where sink %q stands: %w", c.sink.Name, err)
		}
	}
	return nil
}

// HasTokens reports whether a sink gets security event tokens.
func (f *File) HasTokens() bool {
	return slices.ContainsFunc(f.Sinks, func(s *Sink) bool { _, ok := s.form.(*caep); return ok })
}

// Run takes events to the sinks until ctx ends.
func (n *Notifier) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, c := range n.couriers {
		group.Go(func() error { return c.run(ctx) })
		if _, ok := c.sink.form.(*caep); ok && n.opt.File.Verify > 0 {
			group.Go(func() error { n.verify(ctx, c.sink); return nil })
		}
	}
	return group.Wait()
}

// verify shows a receiver, now and then, that its stream works. A verification that is not taken is not a dead letter:
// the next one says as much.
func (n *Notifier) verify(ctx context.Context, s *Sink) {
	log := n.opt.Log.With("sink", s.Name)
	verified := n.metrics.verified.WithLabelValues(s.Name)
	tick := time.NewTicker(n.opt.File.Verify)
	defer tick.Stop()
	for {
		e := verification(n.opt.Clock())
		a, err := s.deliver(ctx, ctx.Done(), e, n.opt.Clock, func(err error, again bool) {
			verified.Set(0)
			log.Warn("the receiver did not take a verification", "event", e.ID, "again", again, "err", err)
		})
		if err == nil && a.err == nil {
			verified.Set(1)
			log.Info("the receiver took a verification", "event", e.ID)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Sink returns the sink of a name.
func (f *File) Sink(name string) (*Sink, error) {
	var names []string
	for _, s := range f.Sinks {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return nil, errors.New("there is no sink " + name + nearest(name, names))
}

// Routes serves what receivers of security event tokens fetch: the public keys and the transmitter's metadata.
func (n *Notifier) Routes(mux *http.ServeMux) {
	if n.keys == nil {
		return
	}
	serve := func(v any) http.HandlerFunc {
		b, err := json.MarshalIndent(v, "", "  ")
		return func(w http.ResponseWriter, _ *http.Request) {
			if err != nil {
				http.Error(w, "cannot be written as JSON", http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "public, max-age=300")
			_, _ = w.Write(append(b, '\n')) // whoever asked has gone
		}
	}
	mux.HandleFunc("GET /.well-known/jwks.json", serve(n.keys.Public()))
	metadata := serve(map[string]any{
		"spec_version": "1_0", "issuer": n.opt.File.Issuer, "jwks_uri": jwksURL(n.opt.File.Issuer),
		"delivery_methods_supported": []string{"urn:ietf:rfc:8935"},
	})
	mux.HandleFunc("GET /.well-known/ssf-configuration", metadata)
	mux.HandleFunc("GET /.well-known/ssf-configuration/", metadata) // with the issuer's path behind
}

// jwksURL is where the public keys are: at the root of the issuer's host.
func jwksURL(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host + "/.well-known/jwks.json"
}
