package revoke

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func goodReport() Report {
	return Report{Kind: Here, Guard: "gate-1", Start: "s", At: time.Unix(1, 0), Every: time.Second, Fails: FailsOpen}
}

func TestAReportOfTooManyTenantsIsCutAndStillRead(t *testing.T) {
	r := goodReport()
	var many []string
	for i := range 100_000 {
		many = append(many, fmt.Sprintf("tenant-\x01-%d", i))
	}
	r.Serve(false, many)
	if !r.Cut || len(r.Tenants) < 1000 {
		t.Fatalf("%d tenants, cut %v", len(r.Tenants), r.Cut)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseReport(b)
	if err != nil || !got.Cut || len(got.Tenants) != len(r.Tenants) || !got.Serves(many[0]) || got.Serves(many[99_999]) {
		t.Fatalf("%d bytes: %v", len(b), err)
	}
	r.Serve(true, nil)
	if r.Cut || !r.Serves("any") {
		t.Error("a guard of all tenants is cut")
	}
}

func TestAWrongReportIsRefused(t *testing.T) {
	for name, change := range map[string]func(*Report){
		"no name":       func(r *Report) { r.Guard = "" },
		"long name":     func(r *Report) { r.Guard = strings.Repeat("x", MaxSubject+1) },
		"no start":      func(r *Report) { r.Start = "" },
		"long start":    func(r *Report) { r.Start = strings.Repeat("x", 65) },
		"other kind":    func(r *Report) { r.Kind = "hallo" },
		"rare":          func(r *Report) { r.Every = 2 * time.Hour },
		"negative":      func(r *Report) { r.Every = -1 },
		"empty tenant":  func(r *Report) { r.Tenants = []string{""} },
		"long tenant":   func(r *Report) { r.Tenants = []string{strings.Repeat("x", MaxTenant+1)} },
		"long digest":   func(r *Report) { r.Digest = strings.Repeat("0", 33) },
		"long version":  func(r *Report) { r.Version = strings.Repeat("0", 300) },
		"long failmode": func(r *Report) { r.Fails = FailMode(strings.Repeat("0", 300)) },
	} {
		r := goodReport()
		change(&r)
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseReport(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseReport(make([]byte, MaxReport+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func FuzzParseReport(f *testing.F) {
	b, err := json.Marshal(goodReport())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"kind":"bye","guard":"g","start":"1","tenants":["a"],"counts":{"denied":1}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseReport(b)
		if err != nil {
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseReport(again); err != nil && !errors.Is(err, ErrTooLarge) {
			t.Errorf("it reads %q and not what it makes of it: %v", b, err)
		}
	})
}
