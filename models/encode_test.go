package models

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// stateful is what every type with an encoding does.
type stateful interface {
	encoding.BinaryAppender
	DecodeBinary(b []byte) (rest []byte, err error)
}

// kind is one stateful type: how it is made, one step of it, and what a step shows.
type kind struct {
	name  string
	fresh func() stateful
	other func() stateful // with other parameters; nil if there are none
	step  func(s stateful, a, b uint64) string
}

func pointer[T any](v T) *T { return &v }

// at is a time near now, which moves on with the steps, sometimes late and sometimes after
// a gap.
func at(a uint64) int64 { return int64(a%4096)*250e6 - 512e9 }

var kinds = []kind{
	{
		name:  "Window",
		fresh: func() stateful { return pointer(NewWindow(10*time.Second, 7)) },
		other: func() stateful { return pointer(NewWindow(10*time.Second, 8)) },
		step: func(s stateful, a, b uint64) string {
			w := s.(*Window)
			v := float64(b % 100)
			if b%31 == 0 {
				v = float64(b) / 3
			}
			return fmt.Sprint(w.Add(at(a), v), w.Sum(at(a)), w.Sum(at(a)-3e9))
		},
	}, {
		name:  "Distinct",
		fresh: func() stateful { return pointer(NewDistinct(10*time.Second, 7, 12)) },
		other: func() stateful { return pointer(NewDistinct(10*time.Second, 7, 13)) },
		step: func(s stateful, a, b uint64) string {
			d := s.(*Distinct)
			d.Add(at(a), mix(b%64))
			return fmt.Sprint(d.Count(at(a)), d.Exact())
		},
	}, {
		name:  "CountBaseline",
		fresh: func() stateful { return pointer(NewCountBaseline(CountPrior{3, 10, 50})) },
		other: func() stateful { return pointer(NewCountBaseline(CountPrior{3, 10, 51})) },
		step: func(s stateful, a, b uint64) string {
			c := s.(*CountBaseline)
			p := c.LogTail(float64(b % 100))
			c.Learn(float64(a % 40))
			return fmt.Sprint(p, c.Mean(), c.slots, c.Quantile(0.99))
		},
	}, {
		name:  "Novelty",
		fresh: func() stateful { return pointer(NewNovelty(0.3, 2, 20)) },
		other: func() stateful { return pointer(NewNovelty(0.3, 3, 20)) },
		step: func(s stateful, a, b uint64) string {
			v := s.(*Novelty)
			h := mix(min(a, b) % 50)
			p := v.LogProb(h)
			v.Learn(h)
			return fmt.Sprint(p, v.LogNew(), v.Kinds(), v.Draws(), v.Seen(mix(b%50)))
		},
	}, {
		name:  "EDetector",
		fresh: func() stateful { return new(EDetector) },
		step: func(s stateful, a, b uint64) string {
			d := s.(*EDetector)
			d.Mul(float64(b%100)/20 - 2.5)
			if a%3 == 0 {
				d.Close()
			}
			return fmt.Sprint(d.Log())
		},
	},
}

func encoded(t interface{ Fatal(...any) }, s stateful) []byte {
	b, err := s.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDecodedStateBehavesAsTheOriginal(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				now := uint64(0)
				step := rapid.Custom(func(t *rapid.T) [2]uint64 {
					return [2]uint64{rapid.Uint64Range(0, 60).Draw(t, "a"), rapid.Uint64().Draw(t, "b")}
				})
				play := func(steps [][2]uint64, on ...stateful) {
					for _, s := range steps {
						if now += s[0] / 15; s[0] == 60 {
							now += 100
						}
						want := k.step(on[0], now-s[0]%5, s[1])
						for _, other := range on[1:] {
							if got := k.step(other, now-s[0]%5, s[1]); got != want {
								t.Fatalf("after decoding a step gives %s, want %s", got, want)
							}
						}
					}
				}
				a := k.fresh()
				now = 100
				play(rapid.SliceOfN(step, 0, 120).Draw(t, "before"), a)
				code := encoded(t, a)
				b := k.fresh()
				rest, err := b.DecodeBinary(append(bytes.Clone(code), "next"...))
				if err != nil || string(rest) != "next" {
					t.Fatalf("decoding gives rest %q, error %v", rest, err)
				}
				play(rapid.SliceOfN(step, 0, 120).Draw(t, "after"), a, b)
			})
		})
	}
}

func TestDecodingRefusesOtherParametersVersionsAndCutBytes(t *testing.T) {
	for _, k := range kinds {
		s := k.fresh()
		for i := range uint64(100) {
			k.step(s, 100+i/4, i*i*0x9E3779B97F4A7C15)
		}
		code := encoded(t, s)
		if k.other != nil {
			if _, err := k.other().DecodeBinary(code); !errors.Is(err, ErrParameters) {
				t.Errorf("%s: other parameters give %v", k.name, err)
			}
		}
		if _, err := k.fresh().DecodeBinary(append([]byte{99}, code[1:]...)); !errors.Is(err, ErrEncoding) {
			t.Errorf("%s: another version gives %v", k.name, err)
		}
		before := encoded(t, k.fresh())
		for n := range code {
			f := k.fresh()
			if _, err := f.DecodeBinary(code[:n]); !errors.Is(err, ErrEncoding) {
				t.Errorf("%s: %d of %d bytes give %v", k.name, n, len(code), err)
			} else if !bytes.Equal(encoded(t, f), before) {
				t.Errorf("%s: a failed decoding changed the receiver", k.name)
			}
		}
	}
}

func TestEncodingIsSmallWhereLittleHappened(t *testing.T) {
	for i, limit := range []int{10, 10, 15, 25, 3} {
		if n := len(encoded(t, kinds[i].fresh())); n > limit {
			t.Errorf("an empty %s takes %d bytes", kinds[i].name, n)
		}
	}
	w := NewWindow(time.Hour, 60)
	w.Add(1_700_000_000e9, 3)
	if n := len(encoded(t, &w)); n > 20 {
		t.Errorf("a window with one call takes %d bytes", n)
	}
}

// fuzzDecode holds that no bytes panic, and that what is accepted works, is encoded again,
// and decodes to the same.
func fuzzDecode(f *testing.F, k kind) {
	s := k.fresh()
	f.Add(encoded(f, s))
	for i := range uint64(200) {
		k.step(s, 100+i/8, i*i*0x9E3779B97F4A7C15)
		if i%40 == 5 {
			f.Add(encoded(f, s))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, again := k.fresh(), k.fresh()
		rest, err := s.DecodeBinary(b)
		if err != nil {
			if !errors.Is(err, ErrEncoding) && !errors.Is(err, ErrParameters) {
				t.Fatalf("unknown error %v", err)
			}
			return
		}
		if !bytes.HasSuffix(b, rest) {
			t.Fatal("the rest is no part of the input")
		}
		if _, err := again.DecodeBinary(encoded(t, s)); err != nil {
			t.Fatalf("what was accepted is refused after encoding: %v", err)
		}
		for i := range uint64(40) {
			k.step(s, i*7, i*i)
		}
	})
}

func FuzzDecodeWindow(f *testing.F)        { fuzzDecode(f, kinds[0]) }
func FuzzDecodeDistinct(f *testing.F)      { fuzzDecode(f, kinds[1]) }
func FuzzDecodeCountBaseline(f *testing.F) { fuzzDecode(f, kinds[2]) }
func FuzzDecodeNovelty(f *testing.F)       { fuzzDecode(f, kinds[3]) }
func FuzzDecodeEDetector(f *testing.F)     { fuzzDecode(f, kinds[4]) }
