package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// listen binds the address of metrics and health, if there is one, so that a taken one is
// found before the roles start.
func (n *running) listen() error {
	if n.HTTP.Addr == "" {
		return nil
	}
	var err error
	if n.listener, err = net.Listen("tcp", n.HTTP.Addr); err != nil {
		return fmt.Errorf("cannot serve metrics (http.addr chooses the address; empty turns them off): %w", err)
	}
	return nil
}

// serveHTTP serves metrics and health until ctx ends.
func (n *running) serveHTTP(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(n.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", n.ready)
	mux.HandleFunc("GET /detectors", n.detectors.live.serve)
	if n.notifier != nil {
		mux.HandleFunc("GET /.well-known/", n.sinks.serve)
	}
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	stopped := context.AfterFunc(ctx, func() {
		wait, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		_ = s.Shutdown(wait) // what is cut off is a scrape
	})
	defer stopped()
	if err := s.Serve(n.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics server: %w", err)
	}
	return nil
}

// ready says whether kills would get out: Kafka answers and NATS is connected.
func (n *running) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := n.producer.Ping(ctx); err != nil {
		http.Error(w, "Kafka does not answer: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	if !n.nats.IsConnected() {
		http.Error(w, "NATS is not connected", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}
