package shard_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline/shard"
)

// limit2 is limit under another name.
var limit2 = replace(limit, "id: limit", "id: other")

func replace(text string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(text) }

// cut leaves out the lines that begin with a key.
func cut(text, key string) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, key+":") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// saved are states that a shard with every kind of feature wrote.
func saved(t testing.TB) map[string][]byte {
	t.Helper()
	p := newPair(every(t), small)
	calls := number(burst(60, "agent-0", 0, 3*time.Second), burst(12, "agent-1", time.Hour, 10*time.Millisecond))
	for i := range calls {
		p.take(&calls[i])
	}
	p.save()
	return p.states
}

func TestAStateOfAnUnknownVersionIsRefused(t *testing.T) {
	for name, value := range saved(t) {
		_, key, _ := strings.Cut(name, "/")
		for _, value := range [][]byte{nil, append([]byte{value[0] + 1}, value[1:]...), append([]byte{0}, value[1:]...)} {
			err := shard.New(every(t), small).Restore(shard.EntityState{Key: key, Value: value})
			if !errors.Is(err, shard.ErrStateVersion) {
				t.Errorf("%q in version %v: %v, want %v", key, value[:min(1, len(value))], err, shard.ErrStateVersion)
			}
		}
	}
}

func TestACutStateIsAnError(t *testing.T) {
	for name, value := range saved(t) {
		_, key, _ := strings.Cut(name, "/")
		for n := 1; n < len(value); n++ {
			if err := shard.New(every(t), small).Restore(shard.EntityState{Key: key, Value: value[:n]}); err == nil {
				t.Fatalf("%q cut to %d of %d bytes is taken for whole", key, n, len(value))
			}
		}
	}
}

// Whatever bytes the state topic holds, they are refused or judged with; nothing panics,
// and what is detected can be written.
func FuzzRestore(f *testing.F) {
	for name, value := range saved(f) {
		_, key, _ := strings.Cut(name, "/")
		f.Add(key, value)
	}
	f.Add("", []byte{1})
	f.Add("\x09t1\x00a", []byte{1, 0, 0, 0})
	p := every(f)
	calls := number(burst(12, "agent-0", 0, 50*time.Millisecond), burst(30, "agent-0", time.Minute, 4*time.Second), burst(12, "agent-0", time.Hour, 10*time.Millisecond))
	for i := range calls {
		calls[i].src.Offset += 1 << 40
	}
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		run := newPair(p, small)
		errCalls := run.calls.Restore(shard.EntityState{Key: key, Value: value})
		errExchange := run.exchange.Restore(shard.EntityState{Key: key, Value: value})
		if (errCalls == nil) != (errExchange == nil) {
			t.Fatalf("one shard says %v, the other %v", errCalls, errExchange)
		}
		for i := range calls {
			run.take(&calls[i])
		}
		if _, err := json.Marshal(run.found); err != nil {
			t.Fatalf("a detection cannot be written: %v", err)
		}
		if _, err := json.Marshal(run.samples); err != nil {
			t.Fatalf("a sample cannot be written: %v", err)
		}
	})
}
