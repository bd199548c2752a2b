package mcp

import (
	"encoding/json"
	"errors"
	"strings"
)

// members calls f for each member of an object, duplicates included, until f fails. The
// bytes must be valid JSON and an object.
func members(object []byte, f func(key string, value []byte) error) error {
	i := skipSpace(object, 1)
	for object[i] != '}' {
		end := valueEnd(object, i)
		key := text(object[i:end])
		i = skipSpace(object, end) // at the colon
		i = skipSpace(object, i+1)
		end = valueEnd(object, i)
		if err := f(key, object[i:end]); err != nil {
			return err
		}
		if i = skipSpace(object, end); object[i] == ',' {
			i = skipSpace(object, i+1)
		}
	}
	return nil
}

// elements calls f for each element of an array until f fails. The bytes must be valid JSON
// and an array.
func elements(array []byte, f func(value []byte) error) error {
	i := skipSpace(array, 1)
	for array[i] != ']' {
		end := valueEnd(array, i)
		if err := f(array[i:end]); err != nil {
			return err
		}
		if i = skipSpace(array, end); array[i] == ',' {
			i = skipSpace(array, i+1)
		}
	}
	return nil
}

func skipSpace(b []byte, i int) int {
	for b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r' {
		i++
	}
	return i
}

// valueEnd returns where the value that begins at i ends.
func valueEnd(b []byte, i int) int {
	for depth := 0; i < len(b); {
		switch b[i] {
		case '"':
			i = stringEnd(b, i)
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			depth--
			i++
		case ' ', '\t', '\n', '\r', ',', ':':
			i++
			continue
		default:
			i = wordEnd(b, i)
		}
		if depth == 0 {
			return i
		}
	}
	return i
}

func stringEnd(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// wordEnd is the end of a number, true, false or null.
func wordEnd(b []byte, i int) int {
	for i < len(b) && !strings.ContainsRune(" \t\r\n,:]}", rune(b[i])) {
		i++
	}
	return i
}

// text returns the text of a JSON string, or "" of anything else.
func text(value []byte) string {
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	var s string
	if err := json.Unmarshal(value, &s); err != nil {
		return ""
	}
	return s
}

// object reports whether a JSON value is an object.
func object(value []byte) bool { return len(value) > 0 && value[0] == '{' }

// member returns the value of an object's member; the last one where there are several, as
// most readers have it. It is for what is not decided by: see named for what is.
func member(obj []byte, name string) []byte {
	var found []byte
	if object(obj) {
		// f does not fail.
		_ = members(obj, func(key string, value []byte) error {
			if key == name {
				found = value
			}
			return nil
		})
	}
	return found
}

// errAmbiguous says that two readers may read a message in two ways.
var errAmbiguous = errors.New("ambiguous")

// named returns the values of members by name. A name that is there twice, or in a spelling
// that readers which heed no case take for it, is refused: the gate would decide by one and
// the server act on the other.
func named(obj []byte, names ...string) ([][]byte, error) {
	found := make([][]byte, len(names))
	if !object(obj) {
		return found, nil
	}
	err := members(obj, func(key string, value []byte) error {
		for i, name := range names {
			switch {
			case key == name && found[i] == nil:
				found[i] = value
			case strings.EqualFold(key, name):
				return errAmbiguous
			}
		}
		return nil
	})
	return found, err
}
