package changes

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
	"unicode"

	"github.com/estop-project/estop/detector"
)

// The bounds of what git is asked.
const (
	gitWait   = 3 * time.Second
	maxAnswer = 4096 // bytes
	maxAuthor = 200  // characters
)

// gitSafe keeps git from running what the settings of the folder's repository name, and from the network.
var gitSafe = []string{
	"--no-pager", "--no-optional-locks", "--literal-pathspecs",
	"-c", "core.fsmonitor=false", "-c", "core.hooksPath=" + os.DevNull, "-c", "protocol.allow=never",
	"-c", "log.showSignature=false", "-c", "safe.bareRepository=explicit", "-c", "i18n.logOutputEncoding=UTF-8",
}

// lastCommit returns who wrote the last commit of a file. ok is false where that is not known: there is no git or no
// repository, or the file is not as it stands in HEAD. data is nil for a file that is gone.
func lastCommit(ctx context.Context, dir, name string, data []byte) (a detector.Author, ok bool, err error) {
	head, err := git(ctx, dir, "rev-parse", "--verify", "HEAD^{commit}")
	if err != nil {
		return a, false, timedOut(err)
	}
	head = strings.TrimSpace(head)
	blob, err := git(ctx, dir, "rev-parse", "--verify", head+":./"+name)
	if timedOut(err) != nil {
		return a, false, err
	}
	if committed := err == nil; committed != (data != nil) || committed && strings.TrimSpace(blob) != blobHash(data, len(head)) {
		return a, false, nil
	}
	out, err := git(ctx, dir, "log", "-1", "--format=%H%x00%an <%ae>", head, "--", name)
	if err != nil {
		return a, false, timedOut(err)
	}
	commit, by, found := strings.Cut(out, "\x00")
	if !found {
		return a, false, nil // of what is gone and was never there
	}
	return detector.Author{By: plain(by), From: detector.FromGit, Commit: commit}, true, nil
}

// blobHash is the name that git gives to content, in hexadecimal digits. git itself is not asked, for it would run
// the filters that the repository names.
func blobHash(data []byte, digits int) string {
	blob := append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...)
	if digits == hex.EncodedLen(sha256.Size) {
		sum := sha256.Sum256(blob)
		return hex.EncodeToString(sum[:])
	}
	sum := sha1.Sum(blob)
	return hex.EncodeToString(sum[:])
}

var errTimedOut = errors.New("git takes too long")

// timedOut leaves of an error of git only that it took too long: any other says that git does not know.
func timedOut(err error) error {
	if errors.Is(err, errTimedOut) {
		return err
	}
	return nil
}

// git returns what a git command answers, up to a bound.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, gitWait, errTimedOut)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", append(append([]string{"-C", dir}, gitSafe...), args...)...)
	cmd.Env = gitEnviron(os.Environ())
	cmd.WaitDelay = time.Second
	out := &bounded{}
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		return "", errors.Join(context.Cause(ctx), err)
	}
	return out.String(), nil
}

// gitEnviron leaves out what points git elsewhere, and estop's own passwords.
func gitEnviron(environ []string) []string {
	env := []string{"GIT_TERMINAL_PROMPT=0", "GIT_NO_LAZY_FETCH=1", "LC_ALL=C"}
	for _, e := range environ {
		if !strings.HasPrefix(e, "GIT_") && !strings.HasPrefix(e, "ESTOP_") && !strings.HasPrefix(e, "LC_ALL=") {
			env = append(env, e)
		}
	}
	return env
}

// bounded keeps the begin of what is written to it.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if room := maxAnswer - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// plain is a name that anybody may have chosen, in one line.
func plain(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(strings.TrimSpace(name), ""))
	if runes := []rune(name); len(runes) > maxAuthor {
		name = string(runes[:maxAuthor])
	}
	return name
}
