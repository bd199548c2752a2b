package sdk_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/pipeline/embedded/freeport"
	natsd "github.com/estop-project/estop/pipeline/embedded/nats"
	"github.com/estop-project/estop/revoke"
)

// pythonDriver serves one agent with what the README defines: once to be cut, and once more.
const pythonDriver = `
import ast, asyncio, sys
from types import SimpleNamespace

async def work(request):
    print("working", flush=True)
    await asyncio.sleep(300)

async def main():
    scope = {"work": work}
    await eval(compile(open(sys.argv[1]).read(), "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), scope)
    await scope["guard"].synced()
    request = SimpleNamespace(tenant="acme", agent="bot", session="s1")
    for _ in range(2):
        print(*await scope["order"](request), flush=True)
    await scope["guard"].close()

asyncio.run(main())
`

func TestTheReadmeOfPythonStopsWhatIsKilled(t *testing.T) {
	bin := python(t)
	k := newKillable(t)
	dir := t.TempDir()
	example := k.example(t, "python/README.md", "python")
	write(t, filepath.Join(dir, "example.py"), example)
	write(t, filepath.Join(dir, "driver.py"), pythonDriver)
	c := command(bin, filepath.Join(dir, "driver.py"), filepath.Join(dir, "example.py"))
	s := serve(t, c)
	s.says("working")
	k.kill(t)
	s.says("403 test")
	s.says("403 test")
}

// typescriptDriver does the same; the README's call is cut by an exception, and the next is answered.
const typescriptDriver = `
await guard.synced;
await order("acme", "bot").then(
  () => console.log("not cut"),
  (e) => console.log("cut", (e as { decision?: { reason: string } }).decision?.reason),
);
const next = await order("acme", "bot");
console.log(next.status, await next.text());
await guard.close();
`

func TestTheReadmeOfTypeScriptStopsWhatIsKilled(t *testing.T) {
	dir := typescript(t)
	k := newKillable(t)
	working := make(chan struct{}, 1)
	orders := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		working <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(orders.Close)
	example := k.example(t, "typescript/README.md", "ts")
	example = replace(t, example, "https://example.com/orders", orders.URL)
	write(t, filepath.Join(dir, "test", "readme.ts"), example+typescriptDriver)
	run(t, filepath.Join(dir, "node_modules", ".bin", "tsc"), "-p", dir)
	s := serve(t, exec.Command("node", filepath.Join(dir, "dist", "test", "readme.js")))
	select {
	case <-working:
	case <-time.After(time.Minute):
		t.Fatal("the example's call does not begin")
	}
	k.kill(t)
	s.says("cut test")
	s.says("403 test")
}

// killable is a real server with an operator who may stop the agent of the examples.
type killable struct {
	url, keys string
	client    *revoke.Client
}

func newKillable(t *testing.T) killable {
	t.Helper()
	port, err := freeport.Find()
	if err != nil {
		t.Fatal(err)
	}
	server, err := natsd.Start(natsd.Options{Dir: t.TempDir(), Password: password, Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop() })
	nc, err := nats.Connect(server.DetectorURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	signer := newKey(t)
	keys := filepath.Join(t.TempDir(), "keys.jwks")
	if err := revoke.SaveVerifier(keys, signer.Verifier()); err != nil {
		t.Fatal(err)
	}
	client := newClient(t, t.Context(), nc, signer, 1)
	t.Cleanup(func() { client.Close() })
	return killable{server.URL(), keys, client}
}

func (k killable) kill(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := k.client.Kill(ctx, revoke.Revocation{
		Tenant: "acme", Scope: revoke.Agent, Subject: "bot", Action: revoke.Revoke, Until: time.Now().Add(time.Hour), Reason: "test",
	}); err != nil {
		t.Fatal(err)
	}
}

// example is the block of the README in the language, with the addresses of the test.
func (k killable) example(t *testing.T, readme, language string) string {
	t.Helper()
	b, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(b), "```"+language+"\n")
	block, _, closed := strings.Cut(rest, "```\n")
	if !found || !closed {
		t.Fatalf("%s has no block of %s", readme, language)
	}
	return replace(t, replace(t, block, "nats://127.0.0.1:4222", k.url), "keys.jwks", k.keys)
}

// replace refuses to replace nothing: then the README says something else than the test believes.
func replace(t *testing.T, text, old, by string) string {
	t.Helper()
	if strings.Count(text, old) != 1 {
		t.Fatalf("the example has not one %q:\n%s", old, text)
	}
	return strings.Replace(text, old, by, 1)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
