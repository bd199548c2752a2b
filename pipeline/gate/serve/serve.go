// Package serve runs the servers of gates until they are told to end, and lets what is in
// flight come to its own end for a time.
package serve

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"google.golang.org/grpc"
)

// Bounds of what a client may take.
const (
	headerWait = 10 * time.Second
	idleWait   = 2 * time.Minute
	maxHeader  = 64 << 10
)

// HTTP serves h until ctx ends, and then for up to drain longer what has begun. TLS may be nil.
func HTTP(ctx context.Context, l net.Listener, h http.Handler, secure *tls.Config, drain time.Duration, log *slog.Logger) error {
	// What lives on after its request, such as a WebSocket, ends with requests.
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	s := &http.Server{
		Handler: h, TLSConfig: secure, ReadHeaderTimeout: headerWait, IdleTimeout: idleWait, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return requests },
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	drained := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(drained)
		wait, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		if err := s.Shutdown(wait); err != nil {
			log.Warn("calls in flight are cut: they did not end in time", "drain", drain)
			_ = s.Close() // connections that are closed already
		}
	})
	serve := s.Serve
	if secure != nil {
		serve = func(l net.Listener) error { return s.ServeTLS(l, "", "") }
	}
	if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("the gate's server has ended: %w", err)
	}
	<-drained
	return nil
}

// GRPC serves s until ctx ends, and then for up to drain longer what has begun.
func GRPC(ctx context.Context, l net.Listener, s *grpc.Server, drain time.Duration, log *slog.Logger) error {
	drained := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(drained)
		late := time.AfterFunc(drain, func() {
			log.Warn("calls in flight are cut: they did not end in time", "drain", drain)
			s.Stop()
		})
		defer late.Stop()
		s.GracefulStop()
	})
	if err := s.Serve(l); err != nil {
		stop()
		return fmt.Errorf("the gate's server has ended: %w", err)
	}
	<-drained
	return nil
}

// TLS makes the configuration of a server from PEM files. With the file of an authority,
// clients must show a certificate of its. Without any file it is nil.
func TLS(cert, key, clientCA string) (*tls.Config, error) {
	switch {
	case cert == "" && key == "" && clientCA == "":
		return nil, nil
	case cert == "" || key == "":
		return nil, errors.New("a certificate and its key belong together, and an authority of clients needs both")
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("cannot load the server's certificate: %w", err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if clientCA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(clientCA)
	if err != nil {
		return nil, fmt.Errorf("cannot read the authority of clients: %w", err)
	}
	c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %q", clientCA)
	}
	return c, nil
}
