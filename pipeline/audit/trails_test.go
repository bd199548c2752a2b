package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"
)

// plainRoot computes the root of the map from its definition.
func plainRoot(entries []MapEntry, depth int) Hash {
	switch len(entries) {
	case 0:
		return Hash{}
	case 1:
		return mapLeaf(entries[0].Key, entries[0].Seq, entries[0].Last)
	}
	var sides [2][]MapEntry
	for _, e := range entries {
		side := bit(&e.Key, depth)
		sides[side] = append(sides[side], e)
	}
	return nodeHash(plainRoot(sides[0], depth+1), plainRoot(sides[1], depth+1))
}

// keyOf makes keys of which many share their first bits.
func keyOf(n uint64) (key Hash) {
	if n%3 == 0 {
		binary.BigEndian.PutUint64(key[24:], n)
		return key
	}
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, n))
}

func TestTheMapIsWhatItsDefinitionSaysAndProvesPresenceAndAbsence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newTrails()
		entries := map[Hash]MapEntry{}
		for _, n := range rapid.SliceOfN(rapid.Uint64Range(0, 60), 0, 80).Draw(t, "updates") {
			key := keyOf(n)
			i := m.find(key)
			m.all[i].seq++
			m.all[i].last = sha256.Sum256([]byte{byte(m.all[i].seq)})
			m.touch(i)
			entries[key] = MapEntry{key, m.all[i].seq, m.all[i].last}
			if n%4 == 0 {
				m.hash() // in between: only what changed after it is computed again
			}
		}
		var list []MapEntry
		for _, e := range entries {
			list = append(list, e)
		}
		root := m.hash()
		if root != plainRoot(list, 0) || m.count != len(list) {
			t.Fatalf("the root of %d entries differs", len(list))
		}
		for n := range uint64(80) {
			key := keyOf(n)
			proof := m.prove(key)
			got, err := proof.Check(root, key)
			want, there := entries[key]
			if err != nil || (got != nil) != there || there && *got != want {
				t.Fatalf("key %d: %v, %v, wanted %v", n, got, err, want)
			}
			if there {
				proof.End = nil
				if _, err := proof.Check(root, key); err == nil {
					t.Fatalf("key %d: a proof that it is not there", n)
				}
				proof.End = &MapEntry{key, want.Seq + 1, want.Last}
				if _, err := proof.Check(root, key); err == nil {
					t.Fatalf("key %d: a proof of another number", n)
				}
			}
		}
	})
}

func TestAProofOfAnotherKeysPathShowsNoAbsence(t *testing.T) {
	m := newTrails()
	for n := range uint64(50) {
		i := m.find(keyOf(n))
		m.all[i].seq = 1
		m.touch(i)
	}
	root := m.hash()
	for n := range uint64(50) {
		for other := range uint64(50) {
			if e, err := m.prove(keyOf(other)).Check(root, keyOf(n)); err == nil && e == nil {
				t.Fatalf("the proof of %d shows that %d is not there", other, n)
			}
		}
	}
}

func TestTreeProofsAreThoseOfRFC6962(t *testing.T) {
	for n := 1; n < 70; n++ {
		leaves := make([]Hash, n)
		for i := range leaves {
			leaves[i] = tlog.RecordHash([]byte{byte(i)})
		}
		for i := range leaves {
			if err := tlog.CheckRecord(treePath(leaves, i), int64(n), treeRoot(leaves), int64(i), leaves[i]); err != nil {
				t.Fatalf("leaf %d of %d: %v", i, n, err)
			}
		}
	}
}
