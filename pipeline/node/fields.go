package node

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// field is one setting of a Config that can be set by its key.
type field struct {
	key   string
	value reflect.Value
}

// fields returns the settings of c in the order of their keys.
func fields(c *Config) []field {
	var all []field
	addFields(&all, "", reflect.ValueOf(c).Elem())
	slices.SortFunc(all, func(a, b field) int { return strings.Compare(a.key, b.key) })
	return all
}

func addFields(all *[]field, prefix string, v reflect.Value) {
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag.Get("config")
		switch {
		case tag == "": // not a setting
		case v.Field(i).Kind() == reflect.Struct:
			addFields(all, prefix+tag+".", v.Field(i))
		default:
			*all = append(*all, field{prefix + tag, v.Field(i)})
		}
	}
}

// parse sets the field to what a text says. Its error says what the text is not.
func (f field) parse(text string) error {
	switch v := f.value.Interface().(type) {
	case string:
		f.value.SetString(text)
	case []string:
		f.setList(strings.Split(text, ","))
	case bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		f.value.SetBool(b)
	case time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is not a time such as 500ms, 10s or 24h", text)
		}
		f.value.SetInt(int64(d))
	case int, int16, int32, int64:
		n, err := strconv.ParseInt(text, 10, f.value.Type().Bits())
		if errors.Is(err, strconv.ErrRange) {
			return fmt.Errorf("%q is out of range", text)
		}
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		f.value.SetInt(n)
	default:
		panic(fmt.Sprintf("node: setting %s has a type that nobody reads: %T", f.key, v)) // a test sets them all
	}
	return nil
}

// setList sets a list to its entries without the white space and the empty ones.
func (f field) setList(entries []string) {
	list := []string{}
	for _, e := range entries {
		if e = strings.TrimSpace(e); e != "" {
			list = append(list, e)
		}
	}
	f.value.Set(reflect.ValueOf(list))
}

// isList reports whether the field takes several values.
func (f field) isList() bool { return f.value.Kind() == reflect.Slice }
