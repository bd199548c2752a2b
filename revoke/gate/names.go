package gate

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/estop-project/estop/revoke/guard"
)

// Names say from where a gate reads the names of a call. What is not Optional must be
// there, or the call is unidentified and denied: a call that lacks a name cannot be
// stopped by that name.
type Names struct {
	Tenant   Source
	Agent    Source
	Identity Source
	Session  Source
	Chain    Source // a list, root first; or the claim act of RFC 8693
	IssuedAt Source // of the credential: Unix seconds or RFC 3339
}

// Source is one place that a name is read from. The zero value is none.
type Source struct {
	Kind     Kind
	Key      string // of the header or the claim; the part of the SPIFFE ID; the value
	Optional bool
}

// Kind is a kind of Source.
type Kind string

// The kinds. Each gate offers some of them.
const (
	FromHeader    Kind = "header"    // a request header, or gRPC metadata
	FromPrincipal Kind = "principal" // the verified name of a client certificate: its URI, else its common name
	FromSPIFFE    Kind = "spiffe"    // the trust-domain or the path of the principal, which must be a SPIFFE ID
	FromClaim     Kind = "claim"     // a claim of a verified token, by a path with dots
	FromValue     Kind = "value"     // a fixed text
)

// SourceHelp explains the texts that ParseSource reads, for a gate that offers these kinds.
func SourceHelp(offered ...Kind) string {
	lines := map[Kind]string{
		FromHeader:    "  header:X-Agent       a request header\n",
		FromPrincipal: "  principal            the client certificate's URI, or its common name if it has none\n",
		FromSPIFFE:    "  spiffe:path          a part of the principal, which must be a SPIFFE ID\n  spiffe:trust-domain\n",
		FromClaim:     "  claim:jwt.sub        a claim of a verified token\n",
		FromValue:     "  value:acme           always the same\n",
	}
	help := "A name is read from one place:\n"
	for _, k := range offered {
		help += lines[k]
	}
	return help + "A call without the name is denied, unless ? follows: header:X-Session?"
}

// ParseSource reads a source as SourceHelp says. An empty text is no source.
func ParseSource(text string) (Source, error) {
	if text == "" {
		return Source{}, nil
	}
	rest, optional := strings.CutSuffix(text, "?")
	kind, key, _ := strings.Cut(rest, ":")
	s := Source{Kind(kind), key, optional}
	switch s.Kind {
	case FromPrincipal:
		if key != "" {
			return s, fmt.Errorf("%q: principal takes nothing behind it", text)
		}
		return s, nil
	case FromSPIFFE:
		if key != "trust-domain" && key != "path" {
			return s, fmt.Errorf("%q: neither spiffe:trust-domain nor spiffe:path", text)
		}
		return s, nil
	case FromHeader, FromClaim, FromValue:
		if key == "" {
			return s, fmt.Errorf("%q: say which one, as in %s:NAME", text, kind)
		}
		if s.Kind == FromHeader && !isToken(key) {
			return s, fmt.Errorf("%q: no name of a header", text)
		}
		return s, nil
	}
	return s, fmt.Errorf("%q is not one of header:NAME, principal, spiffe:trust-domain, spiffe:path, claim:PATH, value:TEXT", text)
}

// String returns the text that ParseSource reads.
func (s Source) String() string {
	text := string(s.Kind)
	if s.Key != "" {
		text += ":" + s.Key
	}
	if s.Optional {
		text += "?"
	}
	return text
}

// isToken reports whether name may be a header's name (RFC 9110).
func isToken(name string) bool {
	const others = "!#$%&'*+-.^_`|~"
	for _, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && !strings.ContainsRune(others, r) {
			return false
		}
	}
	return name != ""
}

// Check reports what is wrong with the names for a gate that offers these kinds.
func (n Names) Check(offered ...Kind) error {
	if n.Tenant.Kind == "" || n.Agent.Kind == "" {
		return errors.New("the sources of tenant and agent are mandatory: without them no call can be told from another")
	}
	for _, s := range n.all() {
		if s.Kind != "" && !slices.Contains(offered, s.Kind) {
			return fmt.Errorf("%q: this gate has no %s; it has %s", s, s.Kind, join(offered))
		}
	}
	return nil
}

func join(kinds []Kind) string {
	var all []string
	for _, k := range kinds {
		all = append(all, string(k))
	}
	return strings.Join(all, ", ")
}

func (n Names) all() []Source {
	return []Source{n.Tenant, n.Agent, n.Identity, n.Session, n.Chain, n.IssuedAt}
}

// Headers returns the names of the headers that are read.
func (n Names) Headers() []string {
	var all []string
	for _, s := range n.all() {
		if s.Kind == FromHeader {
			all = append(all, s.Key)
		}
	}
	return all
}

// Facts are what a gate knows of who calls.
type Facts struct {
	// Header returns the values of a header. nil: none is believed.
	Header func(name string) []string
	// Principal is the verified name of the client's certificate; empty: none.
	Principal string
	// Claims are those of a verified token, nested as in JSON.
	Claims map[string]any
}

// Call reads the names of a call. Its error says which one is missing or ambiguous.
func (n Names) Call(f Facts) (guard.Call, error) {
	var c guard.Call
	for _, name := range []struct {
		what string
		from Source
		to   *string
	}{
		{"tenant", n.Tenant, &c.Tenant}, {"agent", n.Agent, &c.Agent},
		{"identity", n.Identity, &c.Identity}, {"session", n.Session, &c.Session},
	} {
		v, err := name.from.text(f)
		if err != nil {
			return guard.Call{}, fmt.Errorf("%s: %w", name.what, err)
		}
		*name.to = v
	}
	var err error
	if c.Chain, err = n.Chain.list(f); err != nil {
		return guard.Call{}, fmt.Errorf("chain: %w", err)
	}
	if c.CredentialIssuedAt, err = n.IssuedAt.time(f); err != nil {
		return guard.Call{}, fmt.Errorf("time of issue: %w", err)
	}
	return c, nil
}

// text returns the one value of a source, empty only where there is no source or it is
// optional.
func (s Source) text(f Facts) (string, error) {
	v, err := s.value(f)
	if err != nil {
		return "", err
	}
	text, ok := v.(string)
	if v != nil && !ok {
		return "", fmt.Errorf("%s is no text", s)
	}
	switch {
	case text == "" && s.Kind != "" && !s.Optional:
		return "", fmt.Errorf("no %s", s)
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return "", fmt.Errorf("%s is not UTF-8", s)
	case s.Kind == FromHeader && strings.ContainsRune(text, ','):
		// Proxies join headers of one name by commas.
		return "", fmt.Errorf("more than one %s", s)
	}
	return text, nil
}

// value returns what is at the source, nil if nothing is.
func (s Source) value(f Facts) (any, error) {
	switch s.Kind {
	case FromValue:
		return s.Key, nil
	case FromHeader:
		return s.header(f)
	case FromPrincipal:
		return f.Principal, nil
	case FromSPIFFE:
		return s.spiffe(f.Principal)
	case FromClaim:
		return claim(f.Claims, s.Key), nil
	}
	return nil, nil
}

func (s Source) header(f Facts) (any, error) {
	if f.Header == nil {
		return nil, nil
	}
	switch all := f.Header(s.Key); len(all) {
	case 0:
		return nil, nil
	case 1:
		return strings.TrimSpace(all[0]), nil
	}
	return nil, fmt.Errorf("more than one %s", s)
}

func (s Source) spiffe(principal string) (any, error) {
	if principal == "" {
		return nil, nil
	}
	id, err := url.Parse(principal)
	if err != nil || id.Scheme != "spiffe" || id.Host == "" || id.Path == "" || id.RawQuery != "" || id.Fragment != "" || id.User != nil {
		return nil, fmt.Errorf("the principal %.100q is no SPIFFE ID", principal)
	}
	if s.Key == "path" {
		return strings.TrimPrefix(id.Path, "/"), nil
	}
	return id.Host, nil
}

// claim follows a path with dots. A key may itself have dots, as claims that are URLs do.
func claim(in map[string]any, path string) any {
	if v, ok := in[path]; ok {
		return v
	}
	for i := range path {
		if path[i] != '.' {
			continue
		}
		inner, ok := in[path[:i]].(map[string]any)
		if !ok {
			continue
		}
		if v := claim(inner, path[i+1:]); v != nil {
			return v
		}
	}
	return nil
}

// maxChain bounds a delegation chain.
const maxChain = 64

// list returns a delegation chain, root first.
func (s Source) list(f Facts) ([]string, error) {
	v, err := s.value(f)
	if err != nil {
		return nil, err
	}
	var chain []string
	switch v := v.(type) {
	case nil:
	case string:
		for member := range strings.SplitSeq(v, ",") {
			chain = append(chain, strings.TrimSpace(member))
		}
		if v == "" {
			chain = nil
		}
	case []any:
		for _, member := range v {
			text, _ := member.(string)
			chain = append(chain, text)
		}
	case map[string]any:
		chain = actors(v)
	default:
		return nil, fmt.Errorf("%s is no list", s)
	}
	switch {
	case len(chain) == 0 && s.Kind != "" && !s.Optional:
		return nil, fmt.Errorf("no %s", s)
	case len(chain) > maxChain:
		return nil, fmt.Errorf("%s has more than %d members", s, maxChain)
	case slices.ContainsFunc(chain, badMember):
		return nil, fmt.Errorf("%s has an empty member or one that is no text", s)
	}
	return chain, nil
}

func badMember(m string) bool {
	return m == "" || !utf8.ValidString(m) || strings.ContainsRune(m, 0)
}

// actors returns the members of a claim act, which has the current actor outermost.
func actors(act map[string]any) []string {
	var chain []string
	for act != nil && len(chain) <= maxChain {
		sub, _ := act["sub"].(string)
		chain = append(chain, sub)
		act, _ = act["act"].(map[string]any)
	}
	slices.Reverse(chain)
	return chain
}

func (s Source) time(f Facts) (time.Time, error) {
	v, err := s.value(f)
	if err != nil {
		return time.Time{}, err
	}
	switch v := v.(type) {
	case float64:
		return seconds(s, v)
	case string:
		if n, err := strconv.ParseFloat(v, 64); err == nil {
			return seconds(s, n)
		}
		if t, err := time.Parse(time.RFC3339, v); err == nil {
			return t, nil
		}
		if v != "" {
			return time.Time{}, fmt.Errorf("%s is neither Unix seconds nor RFC 3339", s)
		}
	case nil:
	default:
		return time.Time{}, fmt.Errorf("%s is no time", s)
	}
	if s.Kind != "" && !s.Optional {
		return time.Time{}, fmt.Errorf("no %s", s)
	}
	return time.Time{}, nil
}

// seconds takes times from 1970 to 2262, which nanoseconds can hold.
func seconds(s Source, n float64) (time.Time, error) {
	if !(n > 0 && n < 9.2e9) {
		return time.Time{}, fmt.Errorf("%s is no time", s)
	}
	return time.Unix(int64(n), 0), nil
}
