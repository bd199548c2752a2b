package mcp

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline/gate/gatetest"
	"github.com/estop-project/estop/revoke"
)

// A server must not get a call after it was cut off: its cancellation would have come first, and
// the call would run.
func TestACallThatIsCutOffBeforeItIsWrittenIsNotWritten(t *testing.T) {
	rig := gatetest.New(t)
	g, err := New(Options{Guard: rig.Guard(), Server: "s"})
	if err != nil {
		t.Fatal(err)
	}
	var client, server bytes.Buffer
	s := &session{
		g: g, who: &Caller{Tenant: gatetest.Tenant, Agent: "bot"}, book: newBook(g),
		client: &writer{w: &client}, server: &writer{w: &server}, hangUp: func() {},
	}
	s.server.mu.Lock() // the server does not read
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.fromClient([]byte(`[{"id":1,"method":"tools/call","params":{"name":"x"}},{"id":2,"method":"ping"}]` + "\n"))
	}()
	wait := func(what string, f func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("waited in vain: %s", what)
			}
		}
	}
	wait("both are in the book", func() bool { return len(s.book.unanswered()) == 2 })
	rig.Kill(revoke.Revoke, revoke.Agent, "bot")
	wait("the client has its answer", func() bool {
		s.client.mu.Lock()
		defer s.client.mu.Unlock()
		return strings.Contains(client.String(), `"id":1,"error"`)
	})
	s.server.mu.Unlock()
	<-done
	wait("the server is told", func() bool {
		s.server.mu.Lock()
		defer s.server.mu.Unlock()
		return strings.Contains(server.String(), "notifications/cancelled")
	})
	if got := server.String(); strings.Contains(got, "tools/call") || !strings.Contains(got, `{"id":2,"method":"ping"}`) {
		t.Errorf("the server got %s", got)
	}
}
