package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/estop-project/estop/bench/chaos/check"
)

// planted is a bug that a build gets on purpose: a checkpoint no longer waits until Kafka has what calls led to, so an
// offset is committed before the outputs of its calls are safe. The source stays as it is; only the build reads it otherwise.
var planted = struct{ file, from, to string }{
	"pipeline/save.go", "go func() { o.wg.Wait(); close(done) }()", "close(done)",
}

// plant returns the source with the bug.
func plant(root string) (string, error) {
	source, err := os.ReadFile(filepath.Join(root, planted.file))
	if err != nil {
		return "", fmt.Errorf("cannot read what the bug is planted in: %w", err)
	}
	if n := strings.Count(string(source), planted.from); n != 1 {
		return "", fmt.Errorf("cannot plant the bug: %s has %q %d times, want once; plant it where a checkpoint waits for outputs now", planted.file, planted.from, n)
	}
	return strings.Replace(string(source), planted.from, planted.to, 1), nil
}

// BuildPlanted builds estop with the planted bug and returns the binary's path in dir.
func BuildPlanted(ctx context.Context, root, dir string) (string, error) {
	text, err := plant(root)
	if err != nil {
		return "", err
	}
	source, overlay, binary := filepath.Join(dir, "planted.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "estop-planted")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, planted.file): source}})
	if err != nil {
		return "", fmt.Errorf("cannot plant the bug: %w", err)
	}
	for path, content := range map[string][]byte{source: []byte(text), overlay: replace} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return "", fmt.Errorf("cannot plant the bug: %w", err)
		}
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", binary, "./cmd/estop")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build estop with the planted bug: %w: %s", err, out)
	}
	return binary, nil
}

// Trap is a schedule in which whoever commits before the outputs are safe loses some: Kafka refuses them for lack of a
// broker, and then all of the detect role dies. It needs TrapSpan.
func Trap() []Fault {
	return []Fault{
		{At: 2 * time.Second, For: 24 * time.Second, Kind: Refuse, Target: decisions},
		{At: 3 * time.Second, For: 20 * time.Second, Kind: Kill, Target: numbered(tierKafka, brokers)[brokers-1]},
		{At: 18 * time.Second, For: time.Second, Kind: Kill, Target: tierDetect},
	}
}

// TrapSpan is how long Trap takes.
const TrapSpan = 35 * time.Second

// Trapped reports whether a campaign found what Trap is for: breaches without a detection or a revocation.
func (out *Outcome) Trapped() bool {
	return slices.ContainsFunc(out.Violations, func(v check.Violation) bool { return v.Kind == check.NotDetected || v.Kind == check.NotRevoked })
}
