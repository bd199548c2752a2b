package mcp_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/pipeline/gate/mcp"
	"github.com/estop-project/estop/revoke"
)

// rawEnv makes this binary a server that does as it is told, line by line.
const rawEnv = "MCP_TEST_RAW"

// serveRaw writes each line that it gets into a file, and obeys the notifications x/say, x/exit,
// x/die, x/child and x/stubborn.
func serveRaw(notes string) {
	f, err := os.OpenFile(notes, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		os.Exit(9)
	}
	in := bufio.NewReader(os.Stdin)
	stubborn := false
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			if line != "" {
				fmt.Fprint(f, line)
			}
			fmt.Fprintln(f, "end of input")
			for stubborn {
				time.Sleep(time.Hour)
			}
			os.Exit(0)
		}
		fmt.Fprint(f, line)
		var m struct {
			Method string
			Params struct {
				Text string
				Code int
			}
		}
		if json.Unmarshal([]byte(line), &m) != nil {
			continue
		}
		switch m.Method {
		case "x/say":
			fmt.Print(m.Params.Text)
		case "x/exit":
			os.Exit(m.Params.Code)
		case "x/die":
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		case "x/stubborn":
			stubborn = true
			signal.Ignore(syscall.SIGTERM)
			fmt.Fprintln(f, "stubborn now")
		case "x/child":
			c := exec.Command("sleep", "1000")
			c.Stdout = os.Stdout // it keeps the output open
			if c.Start() != nil {
				os.Exit(7)
			}
			fmt.Fprintf(f, "child %d\n", c.Process.Pid)
		}
	}
}

// raw is a client that says what it likes to a server that does so too.
type raw struct {
	*rig
	in    *io.PipeWriter
	out   chan string
	ended chan error
	stop  context.CancelFunc
}

func newRaw(t *testing.T, change ...func(*mcp.Options)) *raw {
	t.Helper()
	return newPatientRaw(t, time.Minute, change...) // a busy machine is slow to start a server
}

// newPatientRaw has a gate that gives its server so long to end.
func newPatientRaw(t *testing.T, grace time.Duration, change ...func(*mcp.Options)) *raw {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := &raw{rig: newRig(t, change...), out: make(chan string, 1000), ended: make(chan error, 1)}
	in, toGate := io.Pipe()
	fromGate, out := io.Pipe()
	r.in = toGate
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	go func() {
		r.ended <- r.gate.Run(ctx, caller, mcp.Stdio{
			Argv: []string{exe}, Env: append(os.Environ(), rawEnv+"="+r.notes), In: in, Out: out, Grace: grace,
		})
		out.Close()
	}()
	go func() {
		defer close(r.out)
		s := bufio.NewScanner(fromGate)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			r.out <- s.Text()
		}
	}()
	t.Cleanup(func() {
		toGate.Close()
		r.stop()
		<-r.ended
	})
	return r
}

func (r *raw) send(text string) {
	r.t.Helper()
	if _, err := io.WriteString(r.in, text); err != nil {
		r.t.Fatal(err)
	}
}

// say has the server say a text.
func (r *raw) say(text string) {
	r.t.Helper()
	b, err := json.Marshal(text)
	if err != nil {
		r.t.Fatal(err)
	}
	r.send(`{"method":"x/say","params":{"text":` + string(b) + "}}\n")
}

func (r *raw) next() string {
	r.t.Helper()
	select {
	case line := <-r.out:
		return line
	case <-time.After(15 * time.Second):
		r.t.Fatal("the client waited in vain")
		return ""
	}
}

// want compares what the client gets next.
func (r *raw) want(lines ...string) {
	r.t.Helper()
	for _, line := range lines {
		if d := cmp.Diff(line, r.next()); d != "" {
			r.t.Error(d)
		}
	}
}

// wantError wants an answer with an error, and returns its message.
func (r *raw) wantError(id string, code int) string {
	r.t.Helper()
	line := r.next()
	var m struct {
		ID    json.RawMessage
		Error struct {
			Code    int
			Message string
		}
	}
	if err := json.Unmarshal([]byte(line), &m); err != nil || string(m.ID) != id || m.Error.Code != code {
		r.t.Errorf("got %s, want error %d for %s", line, code, id)
	}
	return m.Error.Message
}

// got waits until the server got a mark, and returns the lines that it got before it.
func (r *raw) got() []string {
	r.t.Helper()
	mark := `{"method":"x/mark","n":` + strconv.FormatInt(time.Now().UnixNano(), 10) + "}"
	r.send(mark + "\n")
	r.noted(mark)
	b, err := os.ReadFile(r.notes)
	if err != nil {
		r.t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(b), mark)
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

func tool(id, name string) string {
	return `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":"` + name + `"}}`
}

func TestWhatTheGateDoesNotUnderstandPassesByteForByte(t *testing.T) {
	r := newRaw(t)
	sent := []string{
		`{ "jsonrpc" : "2.0", "method":"notifications/initialized" , "x":[1e400, "\ud834", {"a":{}}]  }`,
		`{"jsonrpc":"2.0","id":"7","method":"vendor/thing","params":["tools/call"]}` + "\r",
		``, `  `, `5`, `"tools/call"`, `null`, `[]`, `[3, "x"]`,
		`{"jsonrpc":"2.0","id":1,"result":{"roots":[]}}`,
		`{"jsonrpc":"2.0","id":2,"error":{"code":1,"message":"no"}}`,
		`[{"method":"a"} ,{"method":"b"}]`,
		tool("1", "echo"), `{"params":{"name":"echo","arguments":{"method":"x","METHOD":"y"}},"method":"tools\/call","id":2.50}`,
	}
	for _, line := range sent {
		r.send(line + "\n")
	}
	if d := cmp.Diff(sent, r.got()); d != "" {
		t.Error(d)
	}
	said := []string{
		`not JSON at all`, ``, `{"id":99,"result":1}`, `{"id":null,"error":{}}`, `{"method":"sampling/createMessage","id":1}`,
		`{"result":{"content":[]},"id":1}`, `[{"id":"2","result":1}, {"method":"x"}]`, `{"id":2.5,"result":{}}`,
	}
	r.say(strings.Join(said, "\n") + "\n")
	r.want(said...)
	r.reported(2)
}

func TestWhatMayBeReadInTwoWaysIsRefused(t *testing.T) {
	r := newRaw(t)
	for _, c := range []struct{ line, id, why string }{
		{`{"id":1,"method":"ping","method":"tools/call","params":{"name":"x"}}`, "null", "twice or in another case"},
		{`{"id":1,"method":"ping","Method":"tools/call"}`, "null", "twice or in another case"},
		{`{"id":1,"metho\u0064":"ping","METHOD":"tools/call"}`, "null", "twice or in another case"},
		{`{"id":1,"method":"tools/call","params":{"name":"a"},"paramſ":{"name":"b"}}`, "null", "twice or in another case"},
		{`{"id":1,"Id":2,"method":"ping"}`, "null", "twice or in another case"},
		{`{"id":1,"method":"tools/call","params":{"name":"a","name":"b"}}`, "1", "twice or in another case"},
		{`{"id":1,"method":"tools/call","params":{"name":"a","NAME":"b"}}`, "1", "twice or in another case"},
		{`{"id":1,"method":["tools/call"]}`, "1", "not a text"},
		{`{"id":1,"method":"ping","x":` + "\r" + tool("2", "evil") + "\r}", "null", "carriage return"},
		{`[{"method":"a"},[` + tool("2", "evil") + `]]`, "null", "batch in a batch"},
		{`{"id":1,"method":"ping","x":"` + strings.Repeat("y", 1<<20) + `"}`, "null", "too large: more than 1048576 bytes"},
		{`{"id":"` + strings.Repeat("y", 2000) + `","method":"ping"}`, `"` + strings.Repeat("y", 2000) + `"`, "longer than 1024"},
	} {
		r2 := r
		if strings.Contains(c.why, "too large") {
			r2 = newRaw(t, func(o *mcp.Options) { o.MaxMessage = 1 << 20 })
		}
		r2.send(c.line + "\n")
		if msg := r2.wantError(c.id, -32600); !strings.Contains(strings.ReplaceAll(msg, "a batch stands in a batch", "batch in a batch"), c.why) {
			t.Errorf("%.80s: %s, want %s", c.line, msg, c.why)
		}
	}
	for _, line := range []string{`{"id":1,"method":"tools/call"`, `{'id':1,'method':'tools/call'}`, "\ufeff" + tool("1", "x"), `{"id":1,"method":"tools/call` + "\xff" + `"}`} {
		r.send(line + "\n")
		r.wantError("null", -32700)
	}
	if got := r.got(); len(got) > 0 {
		t.Errorf("the server got %q", got)
	}
	r.wantMetric("estop_gate_messages_refused_total", 15)
}

func TestOfABatchEachCallIsDecided(t *testing.T) {
	r := newRaw(t)
	r.kill(revoke.Restrict)
	r.send(`{"id":1,"method":"tools/list"}` + "\n")
	r.say(`{"id":1,"result":{"tools":[{"name":"read","annotations":{"readOnlyHint":true}},{"name":"write"}]}}` + "\n")
	r.next()
	batch := `[` + tool("2", "read") + `, {"method":"n"},` + tool(`"w"`, "write") + `,{"method":"tools/call","params":{"name":"write"}}]`
	r.send(batch + "\n")
	if line := r.next(); !strings.HasPrefix(line, `[{"jsonrpc":"2.0","id":"w","error":{"code":-32050,`) || !strings.HasSuffix(line, "}]") {
		t.Errorf("the client got %s", line)
	}
	got := r.got()
	if d := cmp.Diff(`[`+tool("2", "read")+`,{"method":"n"}]`, got[len(got)-1]); d != "" {
		t.Error(d)
	}
	r.send(`[` + tool("8", "write") + `,` + tool("9", "write") + "]\n")
	if line := r.next(); strings.Count(line, "-32050") != 2 {
		t.Errorf("the client got %s", line)
	}
	r.reported(4) // and 2 is not answered
}

func TestALateAnswerAndLateProgressAreDropped(t *testing.T) {
	r := newRaw(t)
	hold := `{"id":1,"method":"tools/call","params":{"name":"hold","_meta":{"progressToken":"t"}}}`
	r.send(hold + "\n" + tool(`"other"`, "hold") + "\n" + `{"id":3,"method":"ping"}` + "\n")
	r.got()
	r.kill(revoke.Revoke)
	cut := []string{r.next(), r.next()}
	if !strings.Contains(strings.Join(cut, ""), `"id":1,`) || !strings.Contains(strings.Join(cut, ""), `"id":"other",`) || !strings.Contains(cut[0], `"cut":true`) {
		t.Errorf("the client got %q", cut)
	}
	eventually(t, "both are cancelled", func() bool {
		return r.hasNote(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"estop: reads what it should not"}}`) &&
			r.hasNote(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"other","reason":"estop: reads what it should not"}}`)
	})
	// What is late comes alone, in another spelling, and in a batch.
	r.say(`{"method":"notifications/progress","params":{"progressToken":"t","progress":1}}` + "\n" +
		`{"id":1.0,"result":{"secret":1}}` + "\n" + `[{"id":"oth\u0065r","result":"secret"},{"id":3,"result":{}}]` + "\n")
	r.want(`[{"id":3,"result":{}}]`)
	r.wantMetric("estop_gate_late_answers_total", 3)
	r.wantMetric("estop_gate_calls_cut_total", 2)
}

func TestTheResultOfATaskIsACallToo(t *testing.T) {
	r := newRaw(t)
	r.send(`{"id":1,"method":"tasks/result","params":{"taskId":"t-1"}}` + "\n")
	r.got()
	r.kill(revoke.Revoke)
	r.wantError("1", mcp.CodeStopped)
	r.send(`{"id":2,"method":"tasks/result","params":{"taskId":"t-1"}}` + "\n")
	r.wantError("2", mcp.CodeStopped)
	if got := r.reported(2)[0]; string(got.Action) != "tasks/result" || string(got.Resource) != "mcp://tools/" {
		t.Errorf("reported %s on %s", got.Action, got.Resource)
	}
}

func TestIdsOfEveryKindAreKeptAsTheyAreWritten(t *testing.T) {
	r := newRaw(t)
	r.kill(revoke.Revoke)
	for _, id := range []string{`1`, `-7.50e0`, `12345678901234567890123`, `""`, `"<a> & \u0041"`, `null`, `true`, `{"a": 1}`, `[1]`} {
		r.send(tool(id, "x") + "\n")
		if line := r.next(); !strings.HasPrefix(line, `{"jsonrpc":"2.0","id":`+id+`,"error":`) {
			t.Errorf("the answer to %s is %s", id, line)
		}
	}
}

func TestAnIdThatIsInUseIsRefused(t *testing.T) {
	r := newRaw(t)
	r.send(`{"id":1,"method":"ping"}` + "\n" + tool("1.0", "x") + "\n")
	if msg := r.wantError("1.0", -32600); !strings.Contains(msg, "its id is in use") {
		t.Error(msg)
	}
	r.say(`{"id":1,"result":{}}` + "\n")
	r.want(`{"id":1,"result":{}}`)
	r.send(tool("1", "x") + "\n")
	r.got()
	r.kill(revoke.Revoke)
	r.next()
	r.release()
	r.send(tool("1", "x") + "\n")
	r.wantError("1", -32600) // the answer of the first may still come
}

func TestARequestThatTheClientGivesUpIsOver(t *testing.T) {
	r := newRaw(t)
	cancel := `{"method":"notifications/cancelled","params":{"requestId":1}}`
	r.send(tool("1", "x") + "\n" + cancel + "\n")
	r.reported(1)
	if got := r.got(); got[len(got)-1] != cancel {
		t.Errorf("the server got %q", got)
	}
	r.kill(revoke.Revoke)
	r.say(`{"id":1,"result":{}}` + "\n" + `{"id":5,"result":{}}` + "\n")
	r.want(`{"id":5,"result":{}}`)
}

func TestAServerThatSaysTooMuchFailsWhatWaits(t *testing.T) {
	r := newRaw(t, func(o *mcp.Options) { o.MaxMessage = 1 << 12 })
	r.send(tool("1", "x") + "\n")
	for range 5 { // x/say of a part each
		r.say(strings.Repeat("y", 1000))
	}
	r.say("\n")
	if msg := r.wantError("1", mcp.CodeServer); !strings.Contains(msg, "larger than 4096 bytes") {
		t.Error(msg)
	}
	r.say("{}\n")
	r.want("{}")
}

func TestUnansweredRequestsAreBounded(t *testing.T) {
	r := newRaw(t)
	var b bytes.Buffer
	for i := range 4097 {
		fmt.Fprintf(&b, "{\"id\":%d,\"method\":\"ping\"}\n", i)
	}
	r.send(b.String())
	if msg := r.wantError("4096", -32600); !strings.Contains(msg, "too many") {
		t.Error(msg)
	}
}

func TestTheServersExitCodeIsPassedOnAndWhatWaitsFails(t *testing.T) {
	r := newRaw(t)
	r.send(tool("1", "x") + "\n" + `{"method":"x/exit","params":{"code":3}}` + "\n")
	if msg := r.wantError("1", mcp.CodeServer); !strings.Contains(msg, "has ended") {
		t.Error(msg)
	}
	err := <-r.ended
	var exited mcp.Exited
	if !errors.As(err, &exited) || exited.Code != 3 {
		t.Errorf("got %v", err)
	}
	r.ended <- nil
}

func TestAServerThatDiesOfASignalIsSaid(t *testing.T) {
	r := newRaw(t)
	r.send(`{"method":"x/die"}` + "\n")
	err := <-r.ended
	var exited mcp.Exited
	if !errors.As(err, &exited) || exited.Code != 128+int(syscall.SIGKILL) {
		t.Errorf("got %v", err)
	}
	r.ended <- nil
}

func TestTheEndOfTheClientEndsTheServer(t *testing.T) {
	r := newRaw(t)
	r.send(tool("1", "x")) // without a line break
	r.in.Close()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	r.ended <- nil
	b, _ := os.ReadFile(r.notes)
	if want := tool("1", "x") + "end of input\n"; string(b) != want {
		t.Errorf("the server got %q", b)
	}
}

func TestNothingThatTheServerStartedSurvives(t *testing.T) {
	r := newPatientRaw(t, 300*time.Millisecond)
	r.send(`{"method":"x/stubborn"}` + "\n" + `{"method":"x/child"}` + "\n")
	r.noted("stubborn now")
	var pid int
	eventually(t, "a child", func() bool {
		b, _ := os.ReadFile(r.notes)
		_, rest, _ := strings.Cut(string(b), "\nchild ")
		n, err := fmt.Sscan(rest, &pid)
		return n == 1 && err == nil
	})
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("it ended as it was told, and that is %v", err)
	}
	r.ended <- nil
	eventually(t, "the child is gone", func() bool { return !alive(pid) })
}

// alive reports whether a process runs; one that is dead and not yet buried does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(b), ") Z ")
}

func TestACommandThatIsNotThereIsSaid(t *testing.T) {
	r := newRig(t)
	err := r.gate.Run(t.Context(), caller, mcp.Stdio{Argv: []string{"/no/such/server"}, In: strings.NewReader(""), Out: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "cannot start MCP server") || !strings.Contains(err.Error(), "/no/such/server") {
		t.Errorf("got %v", err)
	}
}
