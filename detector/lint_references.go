package detector

import (
	"net/url"
	"strings"

	"go.yaml.in/yaml/v3"
)

// references looks at where the detector sends its readers. A reference may be any text, so only what is meant
// as an address is held to be one.
func (l *linter) references() {
	n := l.values["references"]
	if n == nil {
		return
	}
	all := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		all = n.Content
	}
	first := map[string]int{}
	for _, r := range all {
		if line, twice := first[r.Value]; twice {
			l.warn(r, "duplicate-value", "take it out", "%q stands in the list already, on line %d", shorten(r.Value), line)
			continue
		}
		first[r.Value] = r.Line
		if meansAddress(r.Value) && !isAddress(r.Value) {
			l.warn(r, "broken-reference", "write it as in https://attack.mitre.org/techniques/T1530/", "%q is no address of a page", shorten(r.Value))
		}
	}
}

func meansAddress(text string) bool {
	scheme, _, found := strings.Cut(text, ":")
	scheme = strings.ToLower(scheme)
	return found && (scheme == "http" || scheme == "https") || strings.HasPrefix(text, "www.")
}

func isAddress(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && !strings.ContainsAny(text, " \t\n")
}
