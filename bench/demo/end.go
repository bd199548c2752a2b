package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/bench/fleet"
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/revoke/guard"
)

// stopped asks the gate of an agent whether a call of its would be denied.
func (d *demo) stopped(a fleet.Agent) bool {
	return d.gates.guards[a.Tenant].Check(&guard.Call{Tenant: a.Tenant, Agent: a.Name, Identity: a.Identities[0]}).Verdict == guard.Deny
}

// stillStopped counts the bad agents whose gate denies them.
func (d *demo) stillStopped() int {
	n := 0
	for _, b := range d.bad {
		if d.gates.guards[b.Tenant].Check(&guard.Call{Tenant: b.Tenant, Agent: b.Agent}).Verdict == guard.Deny {
			n++
		}
	}
	return n
}

// crash kills the node with the fleet at work and starts it again.
func (d *demo) crash(ctx context.Context) error {
	d.node.kill()
	d.story.say("the node is gone: Kafka, NATS, ClickHouse and the roles, in the middle of their work")
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	d.story.claim(d.stillStopped() == len(d.bad), "the gates go on denying all %d bad agents without it", len(d.bad))
	start := time.Now()
	var err error
	if d.node, err = d.startNode(ctx); err != nil {
		return err
	}
	d.story.say("a new start: ready after %.1f s; calls that agents made meanwhile are appended now", time.Since(start).Seconds())
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	d.stop()
	d.gates.flights.Wait()
	if err := d.gates.producer.Flush(ctx); err != nil {
		return err
	}
	if err := d.awaitDetect(ctx); err != nil {
		return err
	}
	return d.checkHonest(ctx)
}

// archive compares ClickHouse with Kafka.
func (d *demo) archive(ctx context.Context) error {
	inKafka, err := d.kept(ctx, pipeline.TopicCalls)
	if err != nil {
		return err
	}
	conn, err := clickhouse.Open(d.config.ClickHouseOptions())
	if err != nil {
		return err
	}
	defer conn.Close()
	var rows, places uint64
	err = until(ctx, 30*time.Second, "ClickHouse has caught up", func() bool {
		err := conn.QueryRow(ctx, "SELECT count(), uniqExact(log, partition, offset, part) FROM calls").Scan(&rows, &places)
		return err == nil && rows >= uint64(inKafka)
	})
	if err != nil {
		d.story.say("ClickHouse has %d rows of %d", rows, inKafka)
	}
	d.story.claim(rows == uint64(inKafka) && places == rows, "%d calls in Kafka, %d rows in ClickHouse, each exactly once, over the crash", inKafka, rows)
	if err := d.kills(ctx, conn); err != nil {
		return err
	}
	return d.edges(ctx, conn)
}

// kills compares the revocations in ClickHouse with the detections that they answer.
func (d *demo) kills(ctx context.Context, conn driver.Conn) error {
	var sent, heard []string // ids; heard are those since the gates were there
	for _, found := range d.watch.detections(func(x *detector.Detection) bool { return d.ours(x.Tenant) && x.Revocation != "" }) {
		sent = append(sent, found.Revocation)
		if !found.Time.Before(d.now) {
			heard = append(heard, found.Revocation)
		}
	}
	var ids, wrong, acked uint64
	if err := until(ctx, 10*time.Second, "the revocations and their acknowledgements are in ClickHouse", func() bool {
		err := conn.QueryRow(ctx, `SELECT uniqExactIf(id, has($1, id)), uniqExactIf(id, NOT has($1, id)), uniqExactIf(id, has($2, id) AND id IN (SELECT revocation FROM acks))
			FROM revocations WHERE initiator = 'policy' AND has($3, tenant)`, sent, heard, d.tenants()).Scan(&ids, &wrong, &acked)
		return err == nil && ids >= uint64(len(sent)) && acked >= uint64(len(heard))
	}); err != nil {
		return err
	}
	d.story.claim(int(ids) == len(sent) && wrong == 0 && int(acked) == len(heard) && len(heard) >= len(d.bad),
		"%d automatic kills of the fleet, none lost, each under one id; all %d of the present acknowledged", ids, acked)
	return nil
}

// edges shows what one of the bad agents reached.
func (d *demo) edges(ctx context.Context, conn driver.Conn) error {
	if len(d.bad) == 0 {
		return nil
	}
	b := d.bad[len(d.bad)-1]
	rows, err := conn.Query(ctx, `SELECT kind, uniqExact(target) FROM access_edges WHERE tenant = $1 AND agent = $2 GROUP BY kind ORDER BY kind`, b.Tenant, b.Agent)
	if err != nil {
		return fmt.Errorf("cannot read the access graph: %w", err)
	}
	defer rows.Close()
	text := ""
	for rows.Next() {
		var kind string
		var n uint64
		if err := rows.Scan(&kind, &n); err != nil {
			return err
		}
		text += fmt.Sprintf("  %s %d", kind, n)
	}
	d.story.say("the access graph of %s, distinct:%s", b.Agent, text)
	return rows.Err()
}

// kept returns how many records a topic holds.
func (d *demo) kept(ctx context.Context, topic string) (int64, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(d.config.Kafka.Brokers...))
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	var n int64
	ends.Each(func(o kadm.ListedOffset) {
		s, _ := starts.Lookup(o.Topic, o.Partition)
		n += o.Offset - s.Offset
	})
	return n, nil
}
