package node

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// problem is what is wrong with the value of a key.
type problem struct{ key, text string }

// problems collects what is wrong, in a fixed order.
func (c Config) problems() []problem {
	var found problems
	if c.Dir == "" {
		found.add("dir", "must name a folder")
	}
	c.Kafka.check(&found)
	found.oneOf("clickhouse.protocol", c.ClickHouse.Protocol, "http", "native")
	found.address("clickhouse.addr", c.ClickHouse.Addr)
	found.port("clickhouse.port", c.ClickHouse.Port)
	c.NATS.check(&found)
	c.Revoke.check(&found)
	found.positive("detect.checkpoint", c.Detect.Checkpoint)
	found.positive("detect.samples", c.Detect.Samples)
	found.positive("detect.maxahead", c.Detect.MaxAhead)
	found.between("detect.maxagents", int64(c.Detect.MaxAgents), 1, 1<<30)
	if _, err := c.Detect.memory(); err != nil {
		found.add("detect.memory", err.Error())
	}
	c.Detect.Graph.check(&found)
	found.positive("archive.maxwait", c.Archive.MaxWait)
	found.between("archive.maxrows", int64(c.Archive.MaxRows), 1, 10_000_000)
	found.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	found.oneOf("log.format", c.Log.Format, "text", "json")
	found.address("http.addr", c.HTTP.Addr)
	c.Interlock.check(&found)
	c.Detectors.check(&found)
	c.Gate.check(&found)
	return found
}

func (k Kafka) check(found *problems) {
	for _, b := range k.Brokers {
		found.address("kafka.brokers", b)
	}
	found.port("kafka.port", k.Port)
	found.between("kafka.partitions", int64(k.Partitions), 1, 10_000)
	found.between("kafka.replicas", int64(k.Replicas), 1, 100)
	found.positive("kafka.retention", k.Retention)
	found.between("kafka.retentionbytes", k.MaxBytes, 1<<20, 1<<50)
	if m := k.SASL.Mechanism; m != "" {
		found.oneOf("kafka.sasl.mechanism", m, "plain", "scram-sha-256", "scram-sha-512")
		if k.SASL.User == "" {
			found.add("kafka.sasl.user", "is needed with a mechanism")
		}
	}
	if (k.TLS.Cert == "") != (k.TLS.Key == "") {
		found.add("kafka.tls.cert", "needs kafka.tls.key, and the other way round")
	}
	if !k.TLS.Enabled && (k.TLS.CA != "" || k.TLS.Cert != "") {
		found.add("kafka.tls.enabled", "is false, but there are certificates: without it nothing is encrypted")
	}
}

func (g Graph) check(found *problems) {
	if g.Interval < time.Second {
		found.add("detect.graph.interval", fmt.Sprintf("%v is less than 1s", g.Interval))
	}
	found.positive("detect.graph.halflife", g.HalfLife)
	found.between("detect.graph.maxnodes", int64(g.MaxNodes), 1, 1<<28)
	found.between("detect.graph.maxedges", int64(g.MaxEdges), 1, 1<<28)
	found.between("detect.graph.maxout", int64(g.MaxOut), 1, 1<<28)
}

func (d Detectors) check(found *problems) {
	if !d.Catalog && d.Dir == "" {
		found.add("detectors.catalog", "is off, and detectors.dir is not set: nothing would be detected")
	}
	if d.Dir == "" {
		return
	}
	if st, err := os.Stat(d.Dir); err != nil || !st.IsDir() {
		found.add("detectors.dir", fmt.Sprintf("%q is not a folder", d.Dir))
	}
}

type problems []problem

func (p *problems) add(key, text string) { *p = append(*p, problem{key, text}) }

func (p *problems) oneOf(key, value string, words ...string) {
	if !slices.Contains(words, value) {
		p.add(key, fmt.Sprintf("%q is not one of %s%s", value, strings.Join(words, ", "), DidYouMean(value, words)))
	}
}

func (p *problems) between(key string, v, low, high int64) {
	if v < low || v > high {
		p.add(key, fmt.Sprintf("%d is not between %d and %d", v, low, high))
	}
}

func (p *problems) port(key string, v int) { p.between(key, int64(v), 0, 65535) }

func (p *problems) positive(key string, d time.Duration) {
	if d <= 0 {
		p.add(key, fmt.Sprintf("%v is not positive", d))
	}
}

// address wants host:port, or nothing.
func (p *problems) address(key, addr string) {
	if addr == "" {
		return
	}
	_, port, err := net.SplitHostPort(addr)
	if n, bad := strconv.Atoi(port); err != nil || bad != nil || n < 0 || n > 65535 {
		p.add(key, fmt.Sprintf("%q is not HOST:PORT", addr))
	}
}

// ErrNoAddress says that the configuration does not name all that is needed to run or to
// find a node elsewhere.
var ErrNoAddress = errors.New("an address is missing")

// CheckRemote says what is missing to run without the embedded engines. The error wraps
// ErrNoAddress.
func (c Config) CheckRemote() error {
	var missing []string
	if len(c.Kafka.Brokers) == 0 {
		missing = append(missing, "kafka.brokers")
	}
	if c.NATS.URL == "" {
		missing = append(missing, "nats.url")
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%w: set %s, or use 'estop up' for the embedded engines", ErrNoAddress, strings.Join(missing, " and "))
}
