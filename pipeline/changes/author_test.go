package changes

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/estop-project/estop/detector"
)

func needGit(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git")
	}
}

func me(t *testing.T) detector.Author {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return detector.Author{By: u.Username, From: detector.FromOwner}
}

// author of a change between what was noted and what is in the folder now, or was when meanwhile began.
func (r *rig) author(before *detector.Set, key string, meanwhile func()) detector.Author {
	r.t.Helper()
	was, is := map[string]state{}, inForce(r.load(), nil)
	if before != nil {
		was = inForce(before, nil)
	}
	if meanwhile != nil {
		meanwhile()
	}
	a := authors{Folders: Folders{Dir: r.path("."), BuiltIn: true, Version: "v1"}}
	return a.author(r.t.Context(), was[key], is[key])
}

func TestTheAuthorIsThatOfTheCommitIfTheFileIsAsCommitted(t *testing.T) {
	needGit(t)
	for _, format := range []string{"sha1", "sha256"} {
		t.Run(format, func(t *testing.T) {
			r := &rig{t: t, root: t.TempDir()}
			listed := "lists: {known: known.txt}\nmatch: {agent|in: $known}\n"
			r.write("a.yaml", text("a", "alert"))
			r.write("sub/l.yaml", text("l", "alert")+listed)
			r.write("sub/known.txt", "x\n")
			r.git("init", "-q", "--object-format="+format)
			if got := r.author(nil, "a", nil); got != me(t) {
				t.Errorf("without a commit: %+v", got)
			}
			r.git("add", "-A")
			r.git("commit", "-q", "-m", "first", "--author=Bob \x1b[31m<bob@example.org>")
			first := strings.TrimSpace(r.git("rev-parse", "HEAD"))
			bob := detector.Author{By: "Bob [31m <bob@example.org>", From: detector.FromGit, Commit: first}
			if got := r.author(nil, "a", nil); got != bob {
				t.Errorf("committed: %+v, want %+v", got, bob)
			}

			before := r.load()
			r.write("sub/known.txt", "x\ny\n")
			if got := r.author(before, "l", nil); got != me(t) {
				t.Errorf("a list that is not committed: %+v", got)
			}
			r.git("commit", "-q", "-a", "-m", "second")
			ada := detector.Author{By: "Ada <ada@example.org>", From: detector.FromGit, Commit: strings.TrimSpace(r.git("rev-parse", "HEAD"))}
			if got := r.author(before, "l", nil); got != ada {
				t.Errorf("a committed list: %+v, want %+v", got, ada)
			}
			if got := r.author(before, "a", nil); got != bob {
				t.Errorf("of another file's commit: %+v, want %+v", got, bob)
			}

			r.write("a.yaml", text("a", "observe"))
			if got := r.author(before, "a", nil); got != me(t) {
				t.Errorf("edited after its commit: %+v", got)
			}
			r.git("add", "-A")
			if got := r.author(before, "a", nil); got != me(t) {
				t.Errorf("edited and staged: %+v", got)
			}
			if got := r.author(before, "a", func() { r.write("a.yaml", text("a", "enforce")) }); got != (detector.Author{}) {
				t.Errorf("edited again before anybody looked: %+v, want nobody", got)
			}

			r.write("a.yaml", "")
			r.write("b.yaml", text("b", "alert"))
			if got := r.author(before, "a", nil); got != (detector.Author{}) {
				t.Errorf("taken away: %+v, want nobody", got)
			}
			r.git("add", "-A")
			r.git("commit", "-q", "-m", "third")
			if got := r.author(before, "a", nil); got.By != ada.By || got.Commit == ada.Commit {
				t.Errorf("taken away by a commit: %+v, want %+v with a commit of its own", got, ada)
			}
			if err := os.RemoveAll(r.path("sub")); err != nil {
				t.Fatal(err)
			}
			r.git("commit", "-q", "-a", "-m", "fourth")
			if got := r.author(before, "l", nil); got.By != ada.By || got.Commit != strings.TrimSpace(r.git("rev-parse", "HEAD")) {
				t.Errorf("taken away with its folder: %+v", got)
			}
		})
	}
}

func TestWithoutGitTheOwnerIsTheAuthor(t *testing.T) {
	needGit(t)
	r := &rig{t: t, root: t.TempDir()}
	r.write("a.yaml", text("a", "alert"))
	r.git("init", "-q")
	r.git("add", "-A")
	r.git("commit", "-q", "-m", "first")
	t.Setenv("PATH", t.TempDir())
	if got := r.author(nil, "a", nil); got != me(t) {
		t.Errorf("%+v", got)
	}
}

func TestASymbolicLinkLeadsToTheFileThatWasChanged(t *testing.T) {
	needGit(t)
	elsewhere := &rig{t: t, root: t.TempDir()}
	elsewhere.write("a.yaml", text("a", "alert"))
	elsewhere.git("init", "-q")
	elsewhere.git("add", "-A")
	elsewhere.git("commit", "-q", "-m", "first")
	r := &rig{t: t, root: t.TempDir()}
	r.write("b.yaml", text("b", "alert"))
	if err := os.Symlink(elsewhere.path("a.yaml"), r.path("a.yaml")); err != nil {
		t.Fatal(err)
	}
	if got := r.author(nil, "a", nil); got.By != "Ada <ada@example.org>" {
		t.Errorf("%+v", got)
	}
}

func TestAFileOfTheCatalogIsOfTheBinary(t *testing.T) {
	for _, c := range []struct {
		folders Folders
		file    string
		want    detector.Author
	}{
		{Folders{BuiltIn: true, Version: "v7"}, "catalog/a.yaml", detector.Author{By: "estop v7", From: detector.FromBuiltIn}},
		{Folders{Dir: "x"}, "catalog/a.yaml", detector.Author{From: detector.FromConfig}},
		{Folders{BuiltIn: true}, "own/a.yaml", detector.Author{From: detector.FromConfig}},
	} {
		a := authors{Folders: c.folders}
		if got := a.author(t.Context(), state{there: true, file: c.file}, state{}); got != c.want {
			t.Errorf("%s of %+v: %+v, want %+v", c.file, c.folders, got, c.want)
		}
	}
}

// Whoever may write the folder must not have estop run their programs, which a repository's settings and attributes
// can name.
func TestTheFolderCannotMakeGitRunAnything(t *testing.T) {
	needGit(t)
	r := &rig{t: t, root: t.TempDir()}
	r.write("a.yaml", text("a", "alert"))
	r.write(".gitattributes", "* filter=evil diff=evil\n")
	r.git("init", "-q")
	r.git("add", "-A")
	r.git("commit", "-q", "-m", "first")
	ran := filepath.Join(r.root, "ran")
	evil := filepath.Join(r.root, "evil")
	if err := os.WriteFile(evil, []byte("#!/bin/sh\ntouch "+ran+"\necho '[GNUPG:] SIG_CREATED ' >&2\necho '-----BEGIN PGP SIGNATURE-----'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{
		"core.fsmonitor", "core.pager", "pager.log", "core.sshCommand", "gpg.program", "filter.evil.clean", "filter.evil.smudge",
		"filter.evil.process", "diff.evil.textconv", "diff.evil.command", "diff.external", "alias.log", "alias.rev-parse", "core.editor",
	} {
		value := evil
		if strings.HasPrefix(key, "alias.") {
			value = "!" + evil
		}
		r.git("config", key, value)
	}
	r.git("config", "core.hooksPath", r.root)
	r.write("a.yaml", text("a", "observe"))
	r.git("-c", "filter.evil.process=", "-c", "filter.evil.clean=cat", "commit", "-q", "-a", "-S", "-m", "signed")
	r.git("config", "log.showSignature", "true")
	if err := os.Remove(ran); err != nil && !errors.Is(err, os.ErrNotExist) { // setting up may have run it
		t.Fatal(err)
	}
	if got := r.author(nil, "a", nil); got.By != "Ada <ada@example.org>" {
		t.Errorf("%+v", got)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("it ran")
	}
}

func TestAGitThatHangsIsAskedOnce(t *testing.T) {
	bin := t.TempDir()
	asked := filepath.Join(bin, "asked")
	if err := os.WriteFile(filepath.Join(bin, "git"), []byte("#!/bin/sh\necho x >> "+asked+"\nexec sleep 60\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	r := &rig{t: t, root: t.TempDir()}
	r.write("a.yaml", text("a", "alert"))
	r.write("b.yaml", text("b", "alert"))
	a := authors{Folders: Folders{Dir: r.path(".")}}
	is := inForce(r.load(), nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, key := range []string{"a", "b"} {
		if got := a.author(ctx, state{}, is[key]); got != me(t) {
			t.Errorf("%s: %+v", key, got)
		}
	}
	b, err := os.ReadFile(asked)
	if err != nil || string(b) != "x\n" {
		t.Errorf("asked %q, %v", b, err)
	}
}

func TestGitIsToldNeitherSecretsNorOtherRepositories(t *testing.T) {
	for _, e := range gitEnviron([]string{"GIT_DIR=/x", "GIT_EXTERNAL_DIFF=x", "ESTOP_KAFKA_SASL_PASSWORD=x", "HOME=/h", "LC_ALL=de_DE"}) {
		switch e {
		case "GIT_TERMINAL_PROMPT=0", "GIT_NO_LAZY_FETCH=1", "LC_ALL=C", "HOME=/h":
		default:
			t.Errorf("git is told %s", e)
		}
	}
}
