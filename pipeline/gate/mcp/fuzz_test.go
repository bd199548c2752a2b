package mcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// loose reads a message as a server may that heeds no case and takes the last of two.
type loose struct {
	ID     json.RawMessage
	Method string
	Params json.RawMessage
}

func FuzzWhatPassesIsReadByAServerAsByTheGate(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{}}}`, `{"id":1,"method":"a","METHOD":"b"}`,
		`[{"method":"a"},3,[]]`, "{\"method\":\"a\"\r}", ` { "m\u0065thod" : "tools\/call" , "params":{"n\u0061me":"\ud834"}}`, `{"paramſ":{}}`, `"\u2028"`, `{"id":null,"error":{}}`,
		`{"params":{"name":null,"uri":1},"method":"resources/read"}`, `[[{"method":"tools/call"}]]`, `{"a":[{"b":"\\\""},-1.5e+3,true]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list, batch, err := split(b)
		if err != nil {
			return
		}
		all := []json.RawMessage{b}
		if batch {
			if err := json.Unmarshal(b, &all); err != nil || len(all) != len(list) {
				t.Fatalf("a batch of %d is read as one of %d: %v", len(all), len(list), err)
			}
		}
		for i, m := range list {
			if !object(bytes.TrimSpace(all[i])) {
				continue
			}
			var l loose
			if err := json.Unmarshal(all[i], &l); err != nil {
				t.Fatalf("%s: %v", all[i], err)
			}
			// Where the method stands at null it is refused.
			if l.Method != m.method || string(l.ID) != string(m.id) || string(l.Params) != string(m.params) {
				t.Fatalf("%s is read as %q %q %q and %q %q %q", all[i], m.method, m.id, m.params, l.Method, l.ID, l.Params)
			}
			target, err := m.target()
			if err != nil || m.method != methodCall {
				continue
			}
			var params struct{ Name any }
			_ = json.Unmarshal(l.Params, &params) // not every value is an object
			if name, ok := params.Name.(string); ok && name != target {
				t.Fatalf("%s calls %q, the gate decides %q", all[i], name, target)
			}
		}
	})
}

func FuzzNoAnswerOfAServerIsInvented(f *testing.F) {
	for _, s := range []string{
		`{"id":1,"result":{"tools":[{"name":"a","annotations":{"readOnlyHint":true}},5]}}`, `[{"id":1},{"method":"notifications/progress","params":{"progressToken":"t"}}]`,
		`[]`, `{}`, `{"id":1}x`, `{"id":"1","error":null}`, `{"method":5,"id":{}}`, ` [ 1 , {"id":2 , "result" : { } } ] `,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		g := &Gate{metrics: newMetrics(nil)}
		k := newBook(g)
		for _, id := range []string{"1", `"1"`, "2"} {
			r, err := k.open(&message{id: []byte(id), method: methodList, params: []byte(`{"_meta":{"progressToken":"t"}}`)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if id == "2" {
				k.drop(r)
			}
		}
		got := k.hear(b)
		if len(got) > len(b) || (len(got) > 0 && json.Valid(b) && !json.Valid(got)) {
			t.Fatalf("%q became %q", b, got)
		}
	})
}

func FuzzEventsAndLinesLoseNothing(f *testing.F) {
	f.Add([]byte("data: {\"id\":1}\n\n: x\r\n\r\nid: 1\ndata:a\ndata: b\n\nend"), 64)
	f.Fuzz(func(t *testing.T, b []byte, most int) {
		if most < 1 || most > 1<<16 {
			return
		}
		var all []byte
		s := events{newLines(iotest.OneByteReader(bytes.NewReader(b)), most), most}
		for {
			raw, data, err := s.next()
			if len(raw) > most {
				t.Fatalf("an event of %d bytes, at most %d", len(raw), most)
			}
			if len(data) > len(raw) {
				t.Fatalf("%q has the data %q", raw, data)
			}
			all = append(all, raw...)
			if errors.Is(err, errTooLarge) {
				return
			}
			if err == io.EOF {
				break
			}
		}
		if !bytes.Equal(all, b) {
			t.Fatalf("%q became %q", b, all)
		}
	})
}

func TestALineThatIsTooLongIsPassedOver(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	l := newLines(strings.NewReader("a\n"+long+"\nb\n"+strings.Repeat("y", 1000)+"\nc"), 1000)
	var got []string
	for {
		line, err := l.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			got = append(got, err.Error())
			continue
		}
		got = append(got, string(line))
	}
	want := "a\n|it is too large|b\n|it is too large|c"
	if s := strings.Join(got, "|"); s != want {
		t.Errorf("got %q, want %q", s, want)
	}
	if cap(l.buf) > 4096 {
		t.Errorf("the buffer has %d bytes", cap(l.buf))
	}
}
