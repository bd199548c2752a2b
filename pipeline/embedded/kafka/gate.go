package kafka

import (
	"net"
	"sync"
)

// gate holds clients back until the broker is ready: kfake serves as soon as its listener accepts.
type gate struct {
	ready chan struct{}
	once  sync.Once
}

func newGate() *gate { return &gate{ready: make(chan struct{})} }

func (g *gate) open() { g.once.Do(func() { close(g.ready) }) }

func (g *gate) listen(network, address string) (net.Listener, error) {
	ln, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	return &gatedListener{Listener: ln, gate: g}, nil
}

type gatedListener struct {
	net.Listener
	gate *gate
}

func (l *gatedListener) Accept() (net.Conn, error) {
	<-l.gate.ready
	return l.Listener.Accept()
}

// Close opens the gate too, so that a waiting Accept returns.
func (l *gatedListener) Close() error {
	err := l.Listener.Close()
	l.gate.open()
	return err
}
