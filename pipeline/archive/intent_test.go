package archive

import (
	"testing"

	"pgregory.net/rapid"
)

func TestIntentReadsBackAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := intent{rapid.StringMatching(`[A-Za-z0-9_-]{22}`).Draw(t, "log"), rapid.Int64Min(-1).Draw(t, "end")}
		got, err := parseIntent(want.String())
		if err != nil || got != want {
			t.Fatalf("%+v is written %q and read %+v, %v", want, want, got, err)
		}
	})
}

func TestMetadataOfOthersIsNoIntent(t *testing.T) {
	f := func(metadata string, wantErr bool) {
		t.Helper()
		got, err := parseIntent(metadata)
		if (err != nil) != wantErr || got.end != -1 {
			t.Errorf("parseIntent(%q) = %+v, %v", metadata, got, err)
		}
	}
	f("", false)
	f("kgo-1234", false)
	f("end=7", false)
	f("estop-archive/2 log=x end=7", true)
	f("estop-archive/1 log=x end=-7", true)
	f("estop-archive/1 log=x end=", true)
	f("estop-archive/1 log=x end=9999999999999999999", true)
}

func FuzzParseIntent(f *testing.F) {
	f.Add("estop-archive/1 log=abc end=12")
	f.Add("estop-archive/1  end= log")
	f.Fuzz(func(t *testing.T, metadata string) {
		got, err := parseIntent(metadata)
		if err != nil {
			return
		}
		if again, err := parseIntent(got.String()); err != nil || again != got {
			t.Fatalf("%q is read %+v, and that again %+v, %v", metadata, got, again, err)
		}
	})
}
