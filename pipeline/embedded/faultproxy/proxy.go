// Package faultproxy is a network that fails on purpose: a proxy on the loopback interface
// between a NATS client and its server, for tests of what must hold when messages are lost.
//
// It breaks, stalls and slows connections, and it loses, repeats and reorders single messages
// on their way to the client, all by a seed.
package faultproxy

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Faults are what happens to messages on their way to the client. The zero value is a good network.
type Faults struct {
	Loss      float64 // share of messages that never arrive
	Duplicate float64 // share that arrives twice
	Reorder   float64 // share that arrives after the one that follows
	// Delay holds up each message by as much as this. It keeps their order.
	Delay time.Duration
	// Rate is how many bytes a second pass; 0: as many as come.
	Rate int
}

// Proxy forwards connections to one server. It is safe for concurrent use.
type Proxy struct {
	listener net.Listener
	target   string
	done     sync.WaitGroup

	mu     sync.Mutex
	random *rand.Rand
	faults Faults
	stalls [2]chan struct{} // by Direction; closed: bytes pass
	conns  map[net.Conn]struct{}
	closed bool
}

// Direction is one of the ways of bytes.
type Direction int

// The directions.
const (
	ToClient Direction = iota
	ToServer
)

// Start starts a proxy to the server at target, host:port.
func Start(target string, seed uint64) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("cannot start fault proxy: %w", err)
	}
	p := &Proxy{listener: l, target: target, random: rand.New(rand.NewPCG(seed, 1)), conns: make(map[net.Conn]struct{})}
	for d := range p.stalls {
		p.stalls[d] = make(chan struct{})
		close(p.stalls[d])
	}
	p.done.Go(p.accept)
	return p, nil
}

// URL returns where clients connect.
func (p *Proxy) URL() string { return "nats://" + p.listener.Addr().String() }

// Set changes what happens to messages from now on.
func (p *Proxy) Set(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = f
}

// Stall lets no byte pass in the given directions until Resume; none is lost.
func (p *Proxy) Stall(ds ...Direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range ds {
		select {
		case <-p.stalls[d]:
			p.stalls[d] = make(chan struct{})
		default:
		}
	}
}

// Resume ends all stalls.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resume()
}

func (p *Proxy) resume() {
	for _, c := range p.stalls {
		select {
		case <-c:
		default:
			close(c)
		}
	}
}

// Break ends every connection. Clients may connect again.
func (p *Proxy) Break() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// Close ends the proxy and its connections and waits for its goroutines.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	err := p.listener.Close()
	p.resume()
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.done.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close() // the client finds no server, and tries again
			continue
		}
		if !p.keep(client, server) {
			return
		}
		p.done.Go(func() { p.forward(client, server) })
	}
}

func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.closed {
			c.Close()
			continue
		}
		p.conns[c] = struct{}{}
	}
	return !p.closed
}

// forward works until either side ends.
func (p *Proxy) forward(client, server net.Conn) {
	var both sync.WaitGroup
	end := func() { client.Close(); server.Close() }
	both.Go(func() {
		defer end()
		p.toServer(server, client)
	})
	both.Go(func() {
		defer end()
		p.toClient(client, server)
	})
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, client)
	delete(p.conns, server)
}

func (p *Proxy) toServer(w io.Writer, r io.Reader) {
	b := make([]byte, 32<<10)
	for {
		n, err := r.Read(b)
		if n > 0 && p.pass(w, b[:n], ToServer) != nil || err != nil {
			return
		}
	}
}

func (p *Proxy) pass(w io.Writer, b []byte, d Direction) error {
	p.mu.Lock()
	stall, rate, closed := p.stalls[d], p.faults.Rate, p.closed
	p.mu.Unlock()
	<-stall
	if closed {
		return net.ErrClosed
	}
	if rate > 0 {
		time.Sleep(time.Duration(len(b)) * time.Second / time.Duration(rate))
	}
	_, err := w.Write(b)
	return err
}

// toClient forwards frame by frame: single messages are lost, repeated and reordered.
func (p *Proxy) toClient(w io.Writer, r io.Reader) {
	frames := newFrames(r)
	var held []byte
	for {
		frame, message, err := frames.next()
		if err != nil {
			return
		}
		var fate fate
		if message {
			fate = p.fate()
		}
		if fate.delay > 0 {
			time.Sleep(fate.delay)
		}
		out := frame
		switch {
		case fate.lost:
			continue
		case fate.held && held == nil:
			held = frame
			continue
		case fate.twice:
			out = append(append([]byte{}, frame...), frame...)
		}
		if err := p.pass(w, append(out, held...), ToClient); err != nil {
			return
		}
		held = nil
	}
}

type fate struct {
	lost, twice, held bool
	delay             time.Duration
}

func (p *Proxy) fate() fate {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := fate{
		lost:  p.random.Float64() < p.faults.Loss,
		twice: p.random.Float64() < p.faults.Duplicate,
		held:  p.random.Float64() < p.faults.Reorder,
	}
	if p.faults.Delay > 0 {
		f.delay = time.Duration(p.random.Int64N(int64(p.faults.Delay)))
	}
	return f
}

// errFrame says that a server sends what is no frame of the NATS protocol.
var errFrame = errors.New("not the NATS protocol")
