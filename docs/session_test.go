package docs_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline/embedded/clickhouse/chtest"
	"github.com/estop-project/estop/pipeline/embedded/freeport"
	"github.com/estop-project/estop/pipeline/node/nodetest"
)

// patience bounds how long a page may wait for what comes in time.
const patience = 60 * time.Second

// up is how the pages start a node.
const up = "estop up --kafka.port 9092 --nats.port 4222 --clickhouse.port 8123"

// TestEveryCommandRuns runs the commands of each page from its top to its end, as a reader
// would: in one folder, against a node, which is the page's own or else a fresh one.
func TestEveryCommandRuns(t *testing.T) {
	library := chtest.Library(t)
	bin := t.TempDir()
	build(t, bin, "../cmd/estop")
	for _, tool := range []string{"kcat", "nats"} {
		if _, err := exec.LookPath(tool); err != nil {
			build(t, bin, "./testdata/"+tool)
		}
	}
	for _, page := range pages(t) {
		blocks := read(t, page)
		if !has(blocks, "sh") {
			continue
		}
		t.Run(filepath.Base(filepath.Dir(page))+"/"+filepath.Base(page), func(t *testing.T) {
			t.Parallel()
			s := newSession(t, bin, library)
			if !starts(blocks) {
				s.up(t, up)
				s.play(t, &block{page: filepath.Base(page), lang: "sh", text: "estop status\n", eventually: []string{"calls"}})
			}
			for _, b := range blocks {
				s.play(t, b)
			}
		})
	}
}

func build(t *testing.T, bin, pkg string) {
	t.Helper()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(bin, filepath.Base(pkg)), pkg).CombinedOutput(); err != nil {
		t.Fatalf("cannot build %s: %v\n%s", pkg, err, out)
	}
}

func has(blocks []*block, lang string) bool {
	for _, b := range blocks {
		if b.lang == lang {
			return true
		}
	}
	return false
}

func starts(blocks []*block) bool {
	for _, b := range blocks {
		if b.lang == "sh" && strings.HasPrefix(b.text, "estop up") {
			return true
		}
	}
	return false
}

// session is the terminal of one page's reader.
type session struct {
	dir   string
	env   []string
	ports *strings.Replacer // the ports of the pages to ones that are free
}

func newSession(t *testing.T, bin, library string) *session {
	t.Helper()
	var ports []string
	for _, p := range []string{"9092", "4222", "8123", "9464", "9465", "8480", "9191", "9192"} {
		ports = append(ports, p, freePort(t))
	}
	s := &session{dir: t.TempDir(), ports: strings.NewReplacer(ports...)}
	s.env = append(nodetest.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "ESTOP_LIBCHDB="+library)
	return s
}

func freePort(t *testing.T) string {
	t.Helper()
	port, err := freeport.Find()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(port)
}

// play does with a block what its reader would do.
func (s *session) play(t *testing.T, b *block) {
	t.Helper()
	switch {
	case b.lang == "sh" && strings.HasPrefix(b.text, "estop up"):
		s.up(t, strings.TrimSpace(b.text))
	case b.lang == "sh" && strings.HasPrefix(b.text, "estop gate ") && strings.Contains(b.text, "--listen"):
		s.gate(t, b.text)
	case b.lang == "sh":
		s.check(t, b, func() (string, int) { return s.sh(t, b.text) })
	case b.lang == "go" && b.run:
		s.check(t, b, func() (string, int) { return s.goRun(t, b.text) })
	}
}

// up starts a node in the background; it ends with the page.
func (s *session) up(t *testing.T, command string) {
	t.Helper()
	args := strings.Fields(s.ports.Replace(command))
	cmd := exec.Command(s.look(t, args[0]), append(args[1:], "--http.addr", s.ports.Replace("127.0.0.1:9464"))...)
	cmd.Dir, cmd.Env = s.dir, s.env
	nodetest.Start(t, cmd, filepath.Join(s.dir, "estop-data"))
}

// gate starts a gate in the background, as in a terminal of its own; it ends with the page.
func (s *session) gate(t *testing.T, command string) {
	t.Helper()
	cmd := exec.Command("bash", "-c", "exec "+s.ports.Replace(command))
	cmd.Dir, cmd.Env = s.dir, s.env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("%s\nended with %v\n%s", command, err, &out)
		}
	})
}

// look finds a command in the session's PATH, which begins with the folder of the binaries.
func (s *session) look(t *testing.T, name string) string {
	t.Helper()
	for _, e := range s.env {
		if path, ok := strings.CutPrefix(e, "PATH="); ok && filepath.IsAbs(path) {
			if found := filepath.Join(filepath.SplitList(path)[0], name); exists(found) {
				return found
			}
		}
	}
	t.Fatalf("no %s", name)
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (s *session) sh(t *testing.T, text string) (string, int) {
	t.Helper()
	cmd := exec.Command("bash", "-e", "-o", "pipefail", "-c", s.ports.Replace(text))
	cmd.Dir = s.dir
	return s.run(t, cmd)
}

func (s *session) goRun(t *testing.T, text string) (string, int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(s.ports.Replace(text)), 0o600); err != nil {
		t.Fatal(err)
	}
	// Built here, where the module is; run there, where the node's data is.
	program := strings.TrimSuffix(file, ".go")
	if out, err := exec.Command("go", "build", "-o", program, file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(program)
	cmd.Dir = s.dir
	return s.run(t, cmd)
}

// run runs a command and returns what it printed and its exit code. The output goes to a
// file, so that a command left in the background does not keep us waiting.
func (s *session) run(t *testing.T, cmd *exec.Cmd) (string, int) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, out, out
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// check runs a block, again and again where something is wanted in time, and compares.
func (s *session) check(t *testing.T, b *block, run func() (string, int)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		out, code := run()
		wrong := b.wrong(out, code)
		if wrong == "" {
			return
		}
		if len(b.eventually) == 0 || time.Now().After(deadline) {
			t.Fatalf("%s:%d: %s\n%s\nprinted\n%s", b.page, b.line, wrong, b.text, out)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (b *block) wrong(out string, code int) string {
	if code != b.exit {
		return fmt.Sprintf("exit code %d, want %d", code, b.exit)
	}
	for _, want := range append(b.want, b.eventually...) {
		if !regexp.MustCompile("(?m)" + want).MatchString(out) {
			return fmt.Sprintf("no match for %s", want)
		}
	}
	return ""
}
