package chaos

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	natsd "github.com/estop-project/estop/pipeline/embedded/nats"
)

const (
	natsServers  = 3
	natsPassword = "chaos0123456789abcdef"
)

// natsCluster are the servers of a JetStream cluster.
type natsCluster struct {
	processes []*process
	addrs     []string
}

func (c *Cluster) newNATS() (*natsCluster, error) {
	ports, err := freePorts(2 * natsServers)
	if err != nil {
		return nil, err
	}
	var routes []string
	for _, port := range ports[natsServers:] {
		routes = append(routes, `"nats://`+loopback(port)+`"`)
	}
	n := &natsCluster{}
	for i, name := range numbered(tierNATS, natsServers) {
		dir := filepath.Join(c.dir, name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("cannot make the folder of a NATS server: %w", err)
		}
		config := filepath.Join(dir, "nats.conf")
		// Without advertisement a client knows only the servers that it was told of: the guard behind the proxy has no other way.
		text := fmt.Sprintf(`server_name: %s
listen: %q
jetstream { store_dir: %q, sync_interval: always }
cluster { name: estop, listen: %q, routes: [%s], no_advertise: true }
`, name, loopback(ports[i]), filepath.Join(dir, "data"), loopback(ports[natsServers+i]), strings.Join(routes, ", "))
		if err := os.WriteFile(config, []byte(text+natsd.Config(natsPassword)), 0o600); err != nil {
			return nil, fmt.Errorf("cannot write the configuration of a NATS server: %w", err)
		}
		n.addrs = append(n.addrs, loopback(ports[i]))
		n.processes = append(n.processes, newProcess(c.logs, name, c.journal, func() *exec.Cmd { return exec.Command(c.self, childNATS, config) }))
	}
	return n, nil
}

// guests are the addresses of all servers, for guards.
func (n *natsCluster) guests() string { return "nats://" + strings.Join(n.addrs, ",nats://") }

// detectorURL is the address of one server with the account of the detector.
func (n *natsCluster) detectorURL(i int) string {
	u := url.URL{Scheme: "nats", Host: n.addrs[i], User: url.UserPassword(natsd.DetectorUser, natsPassword)}
	return u.String()
}

// serveNATS runs a NATS server in this process until ctx ends.
func serveNATS(ctx context.Context, config string) error {
	o, err := server.ProcessConfigFile(config)
	if err != nil {
		return fmt.Errorf("cannot read the configuration of NATS: %w", err)
	}
	o.NoSigs = true
	s, err := server.NewServer(o)
	if err != nil {
		return fmt.Errorf("cannot make a NATS server: %w", err)
	}
	s.ConfigureLogger()
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		return fmt.Errorf("the NATS server of %q is not ready", config)
	}
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}
