package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
)

// startService starts a service whose address goes into a variable: service NAME.
func startService(ts *testscript.TestScript, _ bool, args []string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "served", r.Method, r.URL.Path) }))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.URL)
}

// startGate starts a gate whose addresses go into NAME and NAME_METRICS: gate NAME FLAGS…. It
// is told to end with the script, and must end well.
func startGate(ts *testscript.TestScript, _ bool, args []string) {
	cmd := exec.Command("estop", append([]string{"gate"}, append(args[1:], "--listen", "127.0.0.1:0", "--http.addr", "127.0.0.1:0")...)...)
	cmd.Env = append(os.Environ(), "ESTOP_DIR="+ts.Getenv("ESTOP_DIR"))
	cmd.Dir = ts.Getenv("WORK")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	lines := bufio.NewScanner(out)
	ended := make(chan error, 1)
	ts.Defer(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		if err := <-ended; err != nil {
			ts.Fatalf("the gate ended with %v\n%s", err, &stderr)
		}
	})
	for lines.Scan() {
		name, at, _ := strings.Cut(strings.TrimSpace(lines.Text()), "  ")
		switch name {
		case "listens":
			ts.Setenv(args[0], at)
		case "metrics":
			ts.Setenv(args[0]+"_METRICS", strings.TrimSuffix(at, "/metrics"))
			go func() {
				_, _ = io.Copy(io.Discard, out)
				ended <- cmd.Wait()
			}()
			return
		}
	}
	ended <- cmd.Wait()
	ts.Fatalf("the gate does not run\n%s", &stderr)
}

// askHTTP sends a request and wants a status and a text in the answer, at once or in time:
// http METHOD URL STATUS TEXT [HEADER]….
func askHTTP(ts *testscript.TestScript, _ bool, args []string) {
	within(ts, func() error {
		req, err := http.NewRequest(args[0], args[1], nil)
		ts.Check(err)
		for _, h := range args[4:] {
			name, value, _ := strings.Cut(h, ": ")
			req.Header.Add(name, value)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || fmt.Sprint(res.StatusCode) != args[2] || !strings.Contains(string(b), args[3]) {
			return fmt.Errorf("%s %v: %s, %w", res.Status, res.Header, b, err)
		}
		return nil
	})
}

// askEnvoy asks as Envoy does, and wants a status and a text in the answer, in time:
// envoy ADDR PRINCIPAL METHOD PATH STATUS TEXT.
func askEnvoy(ts *testscript.TestScript, _ bool, args []string) {
	conn, err := grpc.NewClient(args[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
	ts.Check(err)
	defer conn.Close()
	within(ts, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if h, err := health.NewHealthClient(conn).Check(ctx, &health.HealthCheckRequest{}); err != nil || h.Status != health.HealthCheckResponse_SERVING {
			return fmt.Errorf("not healthy: %v, %w", h, err)
		}
		resp, err := auth.NewAuthorizationClient(conn).Check(ctx, &auth.CheckRequest{Attributes: &auth.AttributeContext{
			Source:  &auth.AttributeContext_Peer{Principal: args[1]},
			Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{Method: args[2], Path: args[3]}},
		}})
		if err != nil {
			return err
		}
		status := "200"
		if d := resp.GetDeniedResponse(); d != nil {
			status = fmt.Sprint(int(d.GetStatus().GetCode()))
		}
		if status != args[4] || !strings.Contains(resp.GetDeniedResponse().GetBody(), args[5]) {
			return fmt.Errorf("got %v", resp)
		}
		return nil
	})
}

// within tries for a while.
func within(ts *testscript.TestScript, try func() error) {
	deadline := time.Now().Add(time.Minute)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
