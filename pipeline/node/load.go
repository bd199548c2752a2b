package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/estop-project/estop/detector"
)

// EnvPrefix begins the name of every environment variable that configures estop.
const EnvPrefix = "ESTOP_"

// Load reads the file (none if path is empty), the environment and the flags that were
// set, each stronger than the one before, and checks the result. The error lists all that
// is wrong and where it was said: FILE:LINE:COLUMN, the variable or the flag.
func Load(path string, environ []string, flags *pflag.FlagSet) (Config, error) {
	c := Default()
	l := newLoader(&c)
	if path != "" {
		l.file(path)
	}
	l.environ(environ)
	if flags != nil {
		l.flags(flags)
	}
	c.from = l.from
	for _, p := range c.problems() {
		if !l.refused[p.key] {
			l.bad("%s%s", l.prefix(p.key), p.text)
		}
	}
	return c, l.err()
}

// loader sets the fields of a Config from one source after the other.
type loader struct {
	fields  map[string]field
	keys    []string
	from    map[string]string // by key: where it was said last
	refused map[string]bool   // keys whose value could not be read
	errs    []error
}

func newLoader(c *Config) *loader {
	l := &loader{fields: map[string]field{}, from: map[string]string{}, refused: map[string]bool{}}
	for _, f := range fields(c) {
		l.fields[f.key] = f
		l.keys = append(l.keys, f.key)
	}
	return l
}

func (l *loader) bad(format string, args ...any) {
	l.errs = append(l.errs, fmt.Errorf(format, args...))
}

// prefix begins an error about a key with the place and, unless the place says it, the key.
func (l *loader) prefix(key string) string {
	switch from := l.from[key]; {
	case from == "":
		return key + ": "
	case strings.HasPrefix(from, "--"), strings.HasPrefix(from, EnvPrefix):
		return from + ": "
	default:
		return from + ": " + key + ": "
	}
}

// set takes over what was said of a key.
func (l *loader) set(key, from string, parse func(field) error) {
	l.from[key] = from
	delete(l.refused, key)
	if err := parse(l.fields[key]); err != nil {
		l.bad("%s%w", l.prefix(key), err)
		l.refused[key] = true
	}
}

// err is everything that was found wrong.
func (l *loader) err() error {
	switch len(l.errs) {
	case 0:
		return nil
	case 1:
		return l.errs[0]
	}
	return fmt.Errorf("%d mistakes in the configuration:\n%w", len(l.errs), errors.Join(l.errs...))
}

// environ takes over the variables that are keys. A variable that is nearly one is a
// mistake; other variables are left alone, since other programs read them.
func (l *loader) environ(environ []string) {
	names := map[string]string{}
	for _, key := range l.keys {
		names[EnvName(key)] = key
	}
	var known []string
	for name := range names {
		known = append(known, name)
	}
	slices.Sort(known)
	for _, e := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, EnvPrefix) {
			continue
		}
		if key, ok := names[name]; ok {
			if isServiceLink(key, value) {
				continue
			}
			l.set(key, name, func(f field) error { return f.parse(value) })
		} else if near, distance := detector.Nearest(name, known); near != "" && distance <= 2 {
			l.bad("%s: no setting has this name (did you mean %s?)", name, near)
		}
	}
}

// isServiceLink recognises what Kubernetes puts into the environment of every container
// for a service that is called estop-kafka: ESTOP_KAFKA_PORT=tcp://10.0.0.1:9092.
func isServiceLink(key, value string) bool {
	return strings.HasSuffix(key, ".port") && strings.Contains(value, "://")
}

// EnvName returns the environment variable of a key.
func EnvName(key string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// KeyOfFlag is the annotation of a flag that names its key, where that is not the flag's name.
const KeyOfFlag = "estop-key"

// flags takes over the flags that were set and are keys.
func (l *loader) flags(flags *pflag.FlagSet) {
	flags.Visit(func(f *pflag.Flag) {
		key := f.Name
		if named := f.Annotations[KeyOfFlag]; len(named) == 1 {
			key = named[0]
		}
		if _, ok := l.fields[key]; !ok {
			return
		}
		l.set(key, "--"+f.Name, func(to field) error {
			if list, ok := f.Value.(pflag.SliceValue); ok && to.isList() {
				to.setList(list.GetSlice())
				return nil
			}
			return to.parse(f.Value.String())
		})
	})
}
