package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline/embedded/freeport"
	"github.com/estop-project/estop/pipeline/kafkatest"
)

const (
	brokers   = 3
	clusterID = "ZXN0b3AtY2hhb3MtY2x1cw" // a base64 UUID, as StorageTool wants it
)

// kafkaCluster are the brokers of Apache Kafka, each of them a controller too. A write is acknowledged when two have it.
type kafkaCluster struct {
	processes []*process
	addrs     []string
}

func (c *Cluster) newKafka() (*kafkaCluster, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, fmt.Errorf("cannot run Apache Kafka: no java in PATH: %w", err)
	}
	libs, err := kafkatest.Jars()
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(2 * brokers)
	if err != nil {
		return nil, err
	}
	k := &kafkaCluster{}
	var voters []string
	for i := range brokers {
		k.addrs = append(k.addrs, loopback(ports[i]))
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, loopback(ports[brokers+i])))
	}
	for i, name := range numbered(tierKafka, brokers) {
		dir := filepath.Join(c.dir, name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("cannot make the folder of a broker: %w", err)
		}
		config := filepath.Join(dir, "server.properties")
		text := brokerProperties(i+1, k.addrs[i], loopback(ports[brokers+i]), strings.Join(voters, ","), filepath.Join(dir, "data"))
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("cannot write the configuration of a broker: %w", err)
		}
		command := func(class string, args ...string) *exec.Cmd {
			flags := []string{"-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(libs, "*"), class}
			cmd := exec.Command(java, append(flags, args...)...)
			cmd.Dir = dir
			return cmd
		}
		// Eligible leaders are forgotten when the wanted number of replicas changes, as Refuse does, and a partition whose
		// replicas all left meanwhile stays without a leader until an operator gives it one.
		format := command("kafka.tools.StorageTool", "format", "-t", clusterID, "-c", config, "--feature", "eligible.leader.replicas.version=0")
		if out, err := format.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("cannot format the storage of a broker: %w: %s", err, out)
		}
		k.processes = append(k.processes, newProcess(c.logs, name, c.journal, func() *exec.Cmd { return command("kafka.Kafka", config) }))
	}
	return k, nil
}

// seeds are the options of every client.
func (k *kafkaCluster) seeds() []kgo.Opt { return []kgo.Opt{kgo.SeedBrokers(k.addrs...)} }

func loopback(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		port, err := freeport.Find()
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}

// brokerProperties is the configuration of a broker: durable as in production, with timeouts short enough that a
// campaign of minutes sees many failures.
func brokerProperties(id int, broker, controller, voters, logs string) string {
	return fmt.Sprintf(`process.roles=broker,controller
node.id=%[1]d
listeners=PLAINTEXT://%[2]s,CONTROLLER://%[3]s
advertised.listeners=PLAINTEXT://%[2]s
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.quorum.voters=%[4]s
log.dirs=%[5]s
auto.create.topics.enable=false
default.replication.factor=3
min.insync.replicas=2
unclean.leader.election.enable=false
replica.lag.time.max.ms=5000
offsets.topic.replication.factor=3
offsets.topic.num.partitions=2
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
controlled.shutdown.max.retries=1
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=1
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.backoff.ms=1000
`, id, broker, controller, voters, logs)
}
