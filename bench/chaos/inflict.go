package chaos

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/embedded/faultproxy"
)

// full is the size that no file may exceed while the disk is full.
const full = 1

// limited says of which processes the disk can be full: those that are ours to start, for the runtime of Go takes a
// write that the limit refuses for an error, and not for the end of the process.
func limited(name string) bool {
	return strings.HasPrefix(name, tierNATS) || name == tierClickHouse
}

// inflict carries out a schedule and returns when the last fault is over. When ctx ends it leaves the rest out.
func (c *Cluster) inflict(ctx context.Context, faults []Fault, proxy *faultproxy.Proxy) {
	begin := time.Now()
	var under sync.WaitGroup
	for _, f := range faults {
		under.Go(func() {
			if !sleep(ctx, f.At-time.Since(begin)) {
				return
			}
			c.journal.Info("fault", "at", time.Since(begin).Round(100*time.Millisecond), "kind", f.Kind, "target", f.Target, "for", f.For)
			if err := c.fault(ctx, f, proxy); err != nil {
				c.journal.Error("cannot inflict a fault", "kind", f.Kind, "target", f.Target, "err", err)
			}
		})
	}
	under.Wait()
}

// fault does one thing and undoes it.
func (c *Cluster) fault(ctx context.Context, f Fault, proxy *faultproxy.Proxy) error {
	if f.Target == network {
		harm(ctx, f, proxy)
		return nil
	}
	if f.Target == decisions {
		return c.refuse(ctx, f.For)
	}
	if f.Kind == Rolling {
		for _, p := range c.tiers[f.Target] {
			p.end(syscall.SIGTERM)
			if err := p.start(); err != nil {
				return err
			}
			sleep(ctx, f.For/time.Duration(len(c.tiers[f.Target])))
		}
		return nil
	}
	var under sync.WaitGroup
	errs := make(chan error, len(c.named(f.Target)))
	for _, p := range c.named(f.Target) {
		under.Go(func() { errs <- p.suffer(ctx, f) })
	}
	under.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *process) suffer(ctx context.Context, f Fault) error {
	switch f.Kind {
	case Kill:
		p.end(syscall.SIGKILL)
		sleep(ctx, f.For)
		return p.start()
	case Restart:
		p.end(syscall.SIGTERM)
		return p.start()
	case Pause:
		if err := p.signal(syscall.SIGSTOP); err != nil {
			return err
		}
		sleep(ctx, f.For)
		return p.signal(syscall.SIGCONT)
	case Full:
		if err := limitFiles(p.pid(), full); err != nil {
			return err
		}
		sleep(ctx, f.For)
		if err := limitFiles(p.pid(), -1); err != nil || !strings.HasPrefix(p.name, tierNATS) {
			return err
		}
		// A NATS server that could not write keeps JetStream off until an operator restarts it.
		p.end(syscall.SIGTERM)
		return p.start()
	}
	return fmt.Errorf("a process cannot suffer %q", f.Kind)
}

// harm breaks the network of the guard behind the proxy for a while.
func harm(ctx context.Context, f Fault, proxy *faultproxy.Proxy) {
	switch f.Kind {
	case Drop:
		for end := time.Now().Add(f.For); time.Now().Before(end) && sleep(ctx, 500*time.Millisecond); {
			proxy.Break()
		}
	case Stall:
		proxy.Stall(faultproxy.ToClient, faultproxy.ToServer)
		sleep(ctx, f.For)
		proxy.Resume()
	case Lossy:
		proxy.Set(faultproxy.Faults{Loss: 0.4, Duplicate: 0.2, Reorder: 0.2})
		sleep(ctx, f.For)
		proxy.Set(faultproxy.Faults{})
	case Slow:
		proxy.Set(faultproxy.Faults{Delay: 2 * time.Second})
		sleep(ctx, f.For)
		proxy.Set(faultproxy.Faults{})
	}
}

// refuse lets Kafka want all replicas for a record of a detection or a revocation for a while: where a broker is away it
// takes none of them, and goes on with all other topics. Whoever takes such a record for written before it is loses it here.
func (c *Cluster) refuse(ctx context.Context, d time.Duration) error {
	if err := c.wantReplicas(ctx, kadm.SetConfig, brokers); err != nil {
		return err
	}
	sleep(ctx, d)
	return c.wantReplicas(ctx, kadm.DeleteConfig, 0)
}

// wantReplicas changes how many replicas must have a record of a decision before it is acknowledged.
func (c *Cluster) wantReplicas(ctx context.Context, op kadm.IncrementalOp, n int) error {
	cl, err := kgo.NewClient(c.kafka.seeds()...)
	if err != nil {
		return fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer cl.Close()
	value := strconv.Itoa(n)
	change := kadm.AlterConfig{Op: op, Name: "min.insync.replicas", Value: &value}
	return until(ctx, recoverLimit, "Kafka changes a topic", func(ctx context.Context) error {
		answers, err := kadm.NewClient(cl).AlterTopicConfigs(ctx, []kadm.AlterConfig{change}, pipeline.TopicDetections, pipeline.TopicRevocations)
		for _, a := range answers {
			err = errors.Join(err, a.Err)
		}
		return err
	})
}

// sleep reports whether it slept to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
