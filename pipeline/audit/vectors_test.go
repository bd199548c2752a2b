package audit

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/estop-project/estop/pipeline"
)

var update = flag.Bool("update", false, "write the test vectors anew")

// The vectors: bundles, and the public keys of a log and a witness.
var vectorFiles = []string{"one.json", "trails.json", "nobody.json"}

const vectors = "testdata/vectors"

// makeVectors writes bundles of a small log, which a witness has cosigned, and the keys.
func makeVectors(t *testing.T, dir string) {
	t.Helper()
	r, b := newRigged(t, 40), newBook(2, 500, 10, 20)
	r.fed(b)
	witness := filepath.Join(t.TempDir(), "witness.key")
	public, err := SaveKey(witness, WitnessRole, "witness.test")
	if err != nil {
		t.Fatal(err)
	}
	w := Witness{
		Watch: Watch{Files: folder(r.options.Dir), Log: r.key, State: filepath.Join(t.TempDir(), "seen")}, Key: witness,
		Out: WitnessPath(r.options.Dir, "witness"), Clock: func() time.Time { return start },
	}
	if _, _, err := w.Cosign(); err != nil {
		t.Fatal(err)
	}
	l, err := OpenCosigned(r.options.Dir, r.key)
	if err != nil {
		t.Fatal(err)
	}
	one, err := l.One(t.Context(), pipeline.TopicCalls, Place{topicID(pipeline.TopicCalls), 1, 100, 0}, b)
	if err != nil {
		t.Fatal(err)
	}
	trails, err := l.Trails(t.Context(), Request{
		Subject: Subject{"t1", "agent", "agent-3"}, Topics: both, From: start.Add(time.Minute), To: start.Add(3 * time.Minute),
	}, b)
	if err != nil {
		t.Fatal(err)
	}
	nobody, err := l.Trails(t.Context(), Request{Subject: Subject{"t1", "agent", "nobody"}, Topics: both}, b)
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(PublicPath(r.options.Key))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"one.json": encode(t, one.Bundle), "trails.json": encode(t, trails.Bundle), "nobody.json": encode(t, nobody.Bundle),
		"log.pub": log, "witness.pub": []byte(public + "\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheVectorsAreAccepted(t *testing.T) {
	if *update {
		makeVectors(t, vectors)
	}
	keys, err := LoadVerifiers(filepath.Join(vectors, "log.pub"), filepath.Join(vectors, "witness.pub"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range vectorFiles {
		data, err := os.ReadFile(filepath.Join(vectors, name))
		if err != nil {
			t.Fatal(err)
		}
		if v, err := verifyBytes(data, VerifyOptions{Log: keys[0], Witnesses: []note.Verifier{keys[1]}, Quorum: 1}); err != nil {
			t.Errorf("%s: %v\n%+v", name, err, v.Steps)
		}
	}
}

// python finds one that has the library for Ed25519.
func python(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("ESTOP_PYTHON"), "python3"} {
		if name == "" {
			continue
		}
		if err := exec.Command(name, "-c", "import cryptography").Run(); err == nil {
			return name
		}
	}
	t.Skip("no python3 with the package cryptography (pip install cryptography; ESTOP_PYTHON names another python)")
	return ""
}

// TestAVerifierThatSharesNoCodeAgrees runs the one in Python, which was written from
// docs/audit.md, on the vectors and on forgeries of them.
func TestAVerifierThatSharesNoCodeAgrees(t *testing.T) {
	interpreter := python(t)
	run := func(bundle string) (string, error) {
		out, err := exec.Command(interpreter, "testdata/verify.py", bundle, filepath.Join(vectors, "log.pub"), filepath.Join(vectors, "witness.pub")).CombinedOutput()
		return string(out), err
	}
	for _, name := range vectorFiles {
		out, err := run(filepath.Join(vectors, name))
		if err != nil || !strings.Contains(out, "genuine") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	random := rand.New(rand.NewPCG(21, 0))
	for _, name := range vectorFiles {
		data, err := os.ReadFile(filepath.Join(vectors, name))
		if err != nil {
			t.Fatal(err)
		}
		for i, forged := range forgeries(t, data, random) {
			path := filepath.Join(t.TempDir(), fmt.Sprint(i))
			if err := os.WriteFile(path, forged, 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := run(path); err == nil {
				t.Errorf("%s, forgery %d: accepted\n%s", name, i, out)
			}
		}
	}
}

// forgeries are bundles with another content each: a digit changed in what is proved.
func forgeries(t *testing.T, data []byte, random *rand.Rand) (all [][]byte) {
	t.Helper()
	var b Bundle
	if err := json.Unmarshal(data, &b); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c := b
		c.Chunk.Proof = append([]Hash(nil), b.Chunk.Proof...)
		c.Chunk.Proof[random.IntN(len(c.Chunk.Proof))][random.IntN(32)] ^= 1
		all = append(all, encode(t, &c))
	}
	c := b
	c.Tenant = "t2"
	if b.One != nil {
		all = append(all, encode(t, &c))
		return all
	}
	if len(b.Trails[0].Leaves) == 0 { // what it proves is that there is nothing: of somebody else it proves nothing
		c.Trails = append([]BundleTrail(nil), b.Trails...)
		c.Trails[0].Map = c.Trails[0].Map[1:]
		return append(all, encode(t, &c))
	}
	all = append(all, encode(t, &c))
	c = b
	c.Trails = append([]BundleTrail(nil), b.Trails...)
	leaves := c.Trails[0].Leaves
	c.Trails[0].Leaves = append(append([]BundleLeaf(nil), leaves[:3]...), leaves[4:]...)
	return append(all, encode(t, &c))
}
