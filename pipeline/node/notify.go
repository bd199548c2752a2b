package node

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/estop-project/estop/pipeline/notify"
)

// Notify says whom the notify role tells.
type Notify struct {
	File string `config:"file"` // of sinks; empty: nobody
}

// ErrNoSinks says that no file of sinks is configured.
var ErrNoSinks = errors.New("no file of sinks: notify.file names it")

// Sinks loads the file of sinks.
func (c Config) Sinks() (*notify.File, error) {
	if c.Notify.File == "" {
		return nil, ErrNoSinks
	}
	return LoadSinks(c, c.Notify.File)
}

// LoadSinks loads a file of sinks, whose keys are in the data folder unless it says otherwise.
func LoadSinks(c Config, path string) (*notify.File, error) {
	return notify.Load(path, notify.LoadOptions{Version: Version(), KeysDir: filepath.Join(c.Dir, "keys", "notify")})
}

// makeNotifier loads the sinks before anything runs: a mistake in them is found at the start.
func (n *running) makeNotifier(ctx context.Context) error {
	file, err := n.Sinks()
	if errors.Is(err, ErrNoSinks) {
		return nil
	}
	if err != nil {
		return err
	}
	log := n.log.With("role", "notify")
	n.notifier, err = notify.New(notify.Options{Kafka: n.kafka, Producer: n.producer, File: file, Log: log, Registerer: n.registry})
	if err != nil {
		return err
	}
	if file.HasTokens() && n.listener == nil {
		log.Warn("nobody can fetch the keys that receivers of tokens verify with: http.addr is empty")
	}
	return n.notifier.Begin(ctx)
}

func (n *running) notify(ctx context.Context) error {
	if n.notifier == nil {
		n.log.Info("notify role has nobody to tell: notify.file is not set")
		<-ctx.Done()
		return nil
	}
	return n.notifier.Run(ctx)
}

// notifyReaders adds the groups that retention waits for.
func (c Config) notifyReaders(to map[string][]string) error {
	file, err := c.Sinks()
	if errors.Is(err, ErrNoSinks) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, topic := range notify.Topics() {
		for _, s := range file.Sinks {
			to[topic] = append(to[topic], notify.Group(s.Name))
		}
	}
	return nil
}
