package revoke

import (
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// filing is a ledger as one would write it without a thought of speed: the last message of each target.
type filing map[string]Revocation

// at returns the digests that filing has at a second.
func (f filing) at(asOf int64, tenant string) Digest {
	var t tally
	for subject, r := range f {
		if r.Until.UnixNano() > asOf*int64(time.Second) && (tenant == "" || r.Tenant == tenant) {
			t.add(elementOf(subject, r.ID, r.Until.UnixNano()))
		}
	}
	return t.digest()
}

func TestALedgerSaysWhatAListOfTheLastMessagesWould(t *testing.T) {
	tenants := []string{"acme", "globex", "initech"}
	rapid.Check(t, func(t *rapid.T) {
		l, list, begin, n := NewLedger(), filing{}, int64(1_800_000_000), 0
		now, kept := begin, int64(0)
		t.Repeat(map[string]func(*rapid.T){
			"note": func(t *rapid.T) {
				n++
				r := Revocation{
					ID: fmt.Sprint(n), Tenant: rapid.SampledFrom(tenants).Draw(t, "tenant"), Scope: Agent,
					Subject: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "subject"),
					Until:   time.Unix(now, rapid.Int64Range(-5e9, 20e9).Draw(t, "until")),
				}
				l.Note(r, uint64(n))
				list[Subject(r)] = r
			},
			"time":   func(t *rapid.T) { now += rapid.Int64Range(0, 10).Draw(t, "seconds") },
			"forget": func(t *rapid.T) { kept = now - 3; l.Forget(kept) },
			"": func(t *rapid.T) {
				for _, asOf := range []int64{max(kept, now-2), now, now + 1, now + 100} {
					v, ok := l.At(asOf)
					if !ok {
						t.Fatalf("%d is forgotten, after Forget(%d)", asOf, kept)
					}
					if all, _ := v.All(); all != list.at(asOf, "") {
						t.Fatalf("all at %d: %x, want %x", asOf, all, list.at(asOf, ""))
					}
					for _, tenant := range tenants {
						if got, want := v.Tenant(TenantKeyOf(tenant)), list.at(asOf, tenant); got != want {
							t.Fatalf("%s at %d: %x, want %x", tenant, asOf, got, want)
						}
					}
				}
			},
		})
	})
}

func TestWhatHasEndedLeavesNothingInALedger(t *testing.T) {
	l, now := NewLedger(), int64(1_800_000_000)
	for i := range 1000 {
		l.Note(Revocation{
			ID: fmt.Sprint(i), Tenant: fmt.Sprint("t", i%10), Scope: Agent, Subject: fmt.Sprint(i),
			Until: time.Unix(now+int64(i%60), 5),
		}, uint64(i+1))
	}
	l.Forget(now + 100)
	if len(l.targets)+len(l.tenants)+len(l.ends) != 0 || l.all.total != (tally{}) {
		t.Errorf("%d targets, %d tenants, %d seconds, %+v", len(l.targets), len(l.tenants), len(l.ends), l.all.total)
	}
	if _, ok := l.At(now + 99); ok {
		t.Error("a ledger answers about what it has forgotten")
	}
}

// The digests in docs/protocol.md, for those who write a guard in another language.
func TestTheDigestsOfTheProtocolsExample(t *testing.T) {
	r := sample(func(r *Revocation) { r.ID = ID("burst", "bot", "estop.calls", 3, 42, 0) })
	l := NewLedger()
	l.Note(r, 1)
	v, _ := l.At(r.IssuedAt.Unix())
	empty, _ := l.At(r.Until.Unix() + 1)
	all, _ := v.All()
	key, digest, nothing := TenantKeyOf("acme"), v.Tenant(TenantKeyOf("acme")), empty.Tenant(TenantKeyOf("acme"))
	for name, got := range map[string][]byte{"tenant": key[:], "one": digest[:], "none": nothing[:]} {
		docContains(t, name, hex.EncodeToString(got))
	}
	if all != digest {
		t.Errorf("all tenants %x, the only one %x", all, digest)
	}
}

func BenchmarkLedgerNote(b *testing.B) {
	l, r := NewLedger(), Revocation{ID: "id", Tenant: "acme", Scope: Agent, Until: time.Unix(1_800_000_000, 0)}
	names := make([]string, 100_000)
	for i := range names {
		names[i] = fmt.Sprint("agent-", i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		r.Subject = names[i%len(names)]
		l.Note(r, uint64(i))
		i++
	}
}
