// Package docs_test holds the documentation to the truth: it runs the commands, builds the
// programs, loads the YAML, and compares the tables with the code.
package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// block is a fenced block of a page.
type block struct {
	page, lang, text string
	line             int
	run              bool     // a Go program that the page wants run
	exit             int      // wanted exit code
	want, eventually []string // expressions that the output must match, at once or in time
}

var note = regexp.MustCompile(`^<!-- (want|eventually|exit): (.*) -->$`)

// read takes a page apart. What is wanted of a block stands in comments behind it, which
// readers do not see; '<!-- go run -->' stands in front.
func read(t *testing.T, page string) []*block {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []*block
	var open *block
	run := false
	for i, line := range strings.Split(string(b), "\n") {
		switch {
		case open != nil && line == "```":
			open = nil
		case open != nil:
			open.text += line + "\n"
		case strings.HasPrefix(line, "```"):
			open = &block{page: filepath.Base(page), lang: strings.TrimPrefix(line, "```"), line: i + 1, run: run}
			blocks = append(blocks, open)
			run = false
		case line == "<!-- go run -->":
			run = true
		default:
			blocks = wanted(t, page, i+1, line, blocks)
		}
	}
	if open != nil {
		t.Fatalf("%s:%d: the block has no end", page, open.line)
	}
	return blocks
}

func wanted(t *testing.T, page string, line int, text string, blocks []*block) []*block {
	t.Helper()
	m := note.FindStringSubmatch(text)
	if m == nil {
		if strings.HasPrefix(text, "<!--") {
			t.Fatalf("%s:%d: unknown comment %s", page, line, text)
		}
		return blocks
	}
	if len(blocks) == 0 {
		t.Fatalf("%s:%d: no block in front of %s", page, line, text)
	}
	last := blocks[len(blocks)-1]
	switch m[1] {
	case "want":
		last.want = append(last.want, m[2])
	case "eventually":
		last.eventually = append(last.eventually, m[2])
	case "exit":
		code, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatalf("%s:%d: %v", page, line, err)
		}
		last.exit = code
	}
	return blocks
}

// pages are all pages for users.
func pages(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("*.md")
	if err != nil || len(found) < 8 {
		t.Fatalf("%v, %v", found, err)
	}
	return append(found, "../README.md")
}

// languages are those that a block may have. What cannot run here is text, and why:
// 'git clone' and 'make demo' need the internet and minutes (the build server runs the latter);
// 'estop run' needs Kafka and ClickHouse servers (pipeline's tests run against them).
// The guards in Python and TypeScript have tests of their own in revoke/sdk.
var languages = map[string]bool{"sh": true, "go": true, "python": true, "ts": true, "yaml": true, "json": true, "text": true, "": true}

func TestEveryBlockSaysWhatItIs(t *testing.T) {
	for _, page := range pages(t) {
		for _, b := range read(t, page) {
			if !languages[b.lang] {
				t.Errorf("%s:%d: language %q", page, b.line, b.lang)
			}
		}
	}
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)(?:#[^)]*)?\)`)
	code := regexp.MustCompile("(?ms)^```.*?^```$")
	for _, page := range pages(t) {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(string(b), ""), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "bench/results") { // 'make bench' writes those
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}

func TestTheIndexListsEveryPage(t *testing.T) {
	index, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages(t) {
		if name := filepath.Base(page); name != "README.md" && !strings.Contains(string(index), "]("+name+")") {
			t.Errorf("docs/README.md does not list %s", name)
		}
	}
}
