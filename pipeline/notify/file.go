package notify

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.yaml.in/yaml/v3"

	"github.com/estop-project/estop/revoke"
)

// The types of sinks.
var typeWords = []string{"webhook", "slack", "siem", "caep"}

// File is a file of sinks.
type File struct {
	Sinks []*Sink
	// Issuer is the URL that security event tokens come from, KeysDir the folder of the keys that
	// sign them; both are empty where no sink gets any.
	Issuer, KeysDir string
	Verify          time.Duration // from one verification of a stream to the next; 0: never
}

// LoadOptions say where a file of sinks finds what it does not say itself.
type LoadOptions struct {
	Version string // of estop, for the SIEM
	KeysDir string // where the file names no other folder
	Lookup  func(string) (string, bool)
}

// Load reads a file of sinks. The error, which wraps ErrFile, lists all that is wrong and where. Secrets
// are read from where the file says they are; keys are neither made nor read.
func Load(path string, opt LoadOptions) (*File, error) {
	if opt.Lookup == nil {
		opt.Lookup = os.LookupEnv
	}
	r := &reader{path: path, lookup: opt.Lookup}
	f := &File{KeysDir: opt.KeysDir, Verify: 24 * time.Hour}
	if doc := r.document(); doc != nil {
		r.file(f, doc, opt)
	}
	return f, r.err()
}

func (r *reader) file(f *File, doc *yaml.Node, opt LoadOptions) {
	var sinks *yaml.Node
	found := r.mapping(doc, "a file of sinks", keys{
		"sinks":       func(n *yaml.Node) { sinks = n },
		"transmitter": func(n *yaml.Node) { r.transmitter(f, n) },
	})
	switch {
	case found == nil:
		return
	case sinks == nil || sinks.Kind != yaml.SequenceNode || len(sinks.Content) == 0:
		r.bad(doc, "sinks is a list of at least one sink")
		return
	}
	names := map[string]bool{}
	for _, n := range sinks.Content {
		s := r.sink(f, n, opt)
		if s == nil {
			continue
		}
		if names[s.Name] {
			r.bad(n, "a sink is called %q already", s.Name)
		}
		names[s.Name] = true
		f.Sinks = append(f.Sinks, s)
	}
}

func (r *reader) transmitter(f *File, n *yaml.Node) {
	var keysDir string
	found := r.mapping(n, "the transmitter", keys{
		"issuer": r.text(&f.Issuer), "keys": r.text(&keysDir), "verify": r.duration(&f.Verify, 0, 366*24*time.Hour),
	})
	if keysDir != "" {
		f.KeysDir = r.beside(keysDir)
	}
	u, err := url.Parse(f.Issuer)
	if at := found["issuer"]; at != nil && (err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil) {
		r.bad(at, "the issuer is an https URL without query and fragment")
	}
}

// beside finds a file that is named as seen from this one.
func (r *reader) beside(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(r.path), path)
}

// sinkName goes into the names of metrics' labels and of consumer groups.
var sinkName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// draft is a sink while it is read.
type draft struct {
	*Sink
	node      *yaml.Node
	ca        string
	plaintext bool
	secrets   []string
	token     string
	format    string
	index     string
	audience  string
	alg       string
	stream    string
	events    []string
	subjects  map[revoke.Scope]Subject
	said      map[string]*yaml.Node
	oneTenant bool // no more than one passes the filter
}

func (r *reader) sink(f *File, n *yaml.Node, opt LoadOptions) *Sink {
	d := &draft{
		Sink: &Sink{Filter: defaultFilter(), Retry: defaultRetry(), Lanes: 4, Timeout: 10 * time.Second, header: http.Header{}},
		node: n, format: "json", alg: string(jose.RS256), events: []string{"session-revoked"}, subjects: map[revoke.Scope]Subject{},
	}
	d.Type = r.sinkType(n)
	if d.Type == "" {
		return nil
	}
	d.said = r.mapping(n, "a sink of type "+d.Type, r.sinkKeys(d))
	if !sinkName.MatchString(d.Name) {
		at := n
		if said := d.said["name"]; said != nil {
			at = said
		}
		r.bad(at, "a sink has a name of lower-case letters, digits and hyphens, up to 63")
	}
	before := len(r.mistakes)
	roots := r.roots(d)
	r.address(d)
	r.form(f, d, opt)
	if len(r.mistakes) > before {
		return nil
	}
	d.client = newClient(roots, d.Lanes)
	return d.Sink
}

// sinkType looks ahead, because the type decides which keys there are.
func (r *reader) sinkType(n *yaml.Node) string {
	if n.Kind != yaml.MappingNode {
		r.bad(n, "a sink is a mapping of keys to values")
		return ""
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "type" {
			var t string
			r.word(&t, typeWords)(n.Content[i+1])
			return t
		}
	}
	r.bad(n, "a sink has a type: %s", strings.Join(typeWords, ", "))
	return ""
}

func (r *reader) sinkKeys(d *draft) keys {
	k := keys{
		"name": r.text(&d.Name), "type": func(*yaml.Node) {},
		"url": r.textOrSecret(&d.url), "ca": r.text(&d.ca), "plaintext": r.yes(&d.plaintext),
		"timeout": r.duration(&d.Timeout, 10*time.Millisecond, 5*time.Minute), "lanes": r.number(&d.Lanes, 1, 64),
		"retry": func(n *yaml.Node) { r.retry(&d.Retry, n) }, "filter": func(n *yaml.Node) { r.filter(d, n) },
	}
	switch d.Type {
	case "webhook":
		k["secret"] = r.secrets(&d.secrets)
		k["headers"] = func(n *yaml.Node) { r.headers(d.header, n) }
	case "siem":
		k["token"] = r.secret(&d.token)
		k["format"] = r.word(&d.format, []string{"json", "hec"})
		k["index"] = r.text(&d.index)
		k["headers"] = func(n *yaml.Node) { r.headers(d.header, n) }
	case "caep":
		k["token"] = r.secret(&d.token)
		k["audience"] = r.text(&d.audience)
		k["alg"] = r.word(&d.alg, algorithms)
		k["stream"] = r.text(&d.stream)
		k["events"] = r.words(&d.events, []string{"session-revoked", "risk-level-change"})
		k["subjects"] = func(n *yaml.Node) { r.subjects(d.subjects, n) }
	}
	return k
}

func (r *reader) textOrSecret(to *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind == yaml.MappingNode {
			r.secret(to)(n)
			return
		}
		r.text(to)(n)
	}
}

func (r *reader) secrets(to *[]string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		entries := []*yaml.Node{n}
		if n.Kind == yaml.SequenceNode {
			entries = n.Content
		}
		for _, e := range entries {
			var text string
			r.secret(&text)(e)
			*to = append(*to, text)
		}
	}
}

// ownHeaders are those that a sink sets itself.
var ownHeaders = []string{"Content-Type", "Content-Length", "Host", "User-Agent", "Idempotency-Key", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature", "Transfer-Encoding", "Connection"}

func (r *reader) headers(to http.Header, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		r.bad(n, "headers is a mapping of names to values")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := http.CanonicalHeaderKey(n.Content[i].Value)
		var value string
		r.textOrSecret(&value)(n.Content[i+1])
		switch {
		case !headerName.MatchString(name):
			r.bad(n.Content[i], "%q is no name of a header", name)
		case slices.Contains(ownHeaders, name):
			r.bad(n.Content[i], "the header %s is not free", name)
		case !headerValue.MatchString(value):
			r.bad(n.Content[i+1], "the value of the header %s is empty or has signs that a header cannot have", name)
		default:
			to[name] = []string{value}
		}
	}
}

var (
	headerName  = regexp.MustCompile(`^[A-Za-z0-9-]{1,100}$`)
	headerValue = regexp.MustCompile(`^[\x20-\x7e]{1,1000}$`)
)

func (r *reader) retry(to *Retry, n *yaml.Node) {
	r.mapping(n, "retry", keys{
		"first": r.duration(&to.First, time.Millisecond, time.Hour), "longest": r.duration(&to.Longest, time.Millisecond, time.Hour),
		"for": r.duration(&to.For, 0, 7*24*time.Hour),
	})
	if to.Longest < to.First {
		to.Longest = to.First
	}
}

func (r *reader) filter(d *draft, n *yaml.Node) {
	f := &d.Filter
	r.mapping(n, "a filter", keys{
		"kinds": r.list(func(text string, at *yaml.Node) {
			var kind string
			if r.word(&kind, kindWords())(at); kind != "" {
				f.Kinds = append(f.Kinds, Kind(kind))
			}
		}),
		"tenants":  r.list(func(text string, _ *yaml.Node) { f.Tenants = append(f.Tenants, text) }),
		"severity": r.word(&f.Severity, severityWords), "modes": r.words(&f.Modes, modeWords), "canaries": r.yes(&f.Canaries),
	})
	d.oneTenant = len(f.Tenants) == 1 && !strings.Contains(f.Tenants[0], "*")
}

func (r *reader) subjects(to map[revoke.Scope]Subject, n *yaml.Node) {
	k := keys{}
	for _, scope := range scopeWords {
		k[scope] = func(n *yaml.Node) {
			var s Subject
			var email string
			found := r.mapping(n, "a subject", keys{
				"format": r.word(&s.Format, formatWords), "iss": r.text(&s.Issuer), "sub": r.text(&s.Name), "email": r.text(&email),
			})
			switch {
			case found == nil:
				return
			case s.Format == formatIssSub && (s.Issuer == "" || s.Name == "" || email != ""):
				r.bad(n, "a subject of format iss_sub has iss and sub, and nothing else")
			case s.Format == formatEmail && (email == "" || s.Name != "" || s.Issuer != ""):
				r.bad(n, "a subject of format email has email, and nothing else")
			case s.Format == "":
				r.bad(n, "a subject has a format: %s", strings.Join(formatWords, " or "))
			default:
				s.Name += email
				to[revoke.Scope(scope)] = s
			}
		}
	}
	r.mapping(n, "subjects", k)
}

// roots are the authorities that a sink's certificate may come from; nil: those of the system.
func (r *reader) roots(d *draft) *x509.CertPool {
	if d.ca == "" {
		return nil
	}
	pem, err := readFile(r.beside(d.ca), maxFile)
	pool := x509.NewCertPool()
	if err == nil && !pool.AppendCertsFromPEM(pem) {
		err = fmt.Errorf("no certificate is in it")
	}
	if err != nil {
		r.bad(d.said["ca"], "cannot read the authority: %v", err)
	}
	return pool
}

func (r *reader) address(d *draft) {
	at := d.said["url"]
	if at == nil {
		r.bad(d.node, "a sink has a url")
		return
	}
	if d.url == "" {
		return // said already
	}
	u, err := url.Parse(d.url)
	switch {
	case err != nil || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http"):
		r.bad(at, "the url is not https://HOST/PATH")
	case u.User != nil:
		r.bad(at, "a url carries no user and no password: use token or headers")
	case u.Fragment != "":
		r.bad(at, "a url has no fragment")
	case u.Scheme == "http" && !d.plaintext && !isLoopback(u.Hostname()):
		r.bad(at, "http is not encrypted: use https, or say 'plaintext: true' where the network is trusted")
	default:
		d.hostname = u.Host
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// minSecret is the least length of a key of HMAC.
const minSecret = 16

func (r *reader) form(f *File, d *draft, opt LoadOptions) {
	if d.token != "" && !headerValue.MatchString(d.token) {
		r.bad(d.said["token"], "the token has signs that a header cannot have")
	}
	switch d.Type {
	case "webhook":
		w := &webhook{}
		for _, secret := range d.secrets {
			key, err := webhookKey(secret)
			if secret != "" && (err != nil || len(key) < minSecret) {
				r.bad(d.said["secret"], "the secret is not at least %d bytes, or has whsec_ in front and no base64 behind it", minSecret)
			}
			w.keys = append(w.keys, key)
		}
		d.form = w
	case "slack":
		d.form = slack{}
	case "siem":
		if d.format != "hec" && d.index != "" {
			r.bad(d.said["index"], "an index is of the format hec")
		}
		scheme := "Bearer "
		if d.format == "hec" {
			scheme = "Splunk "
		}
		if d.token != "" {
			d.header.Set("Authorization", scheme+d.token)
		}
		d.form = &siem{version: opt.Version, hec: d.format == "hec", index: d.index}
	case "caep":
		r.caep(f, d)
	}
}

func (r *reader) caep(f *File, d *draft) {
	if f.Issuer == "" {
		r.bad(d.node, "a sink of type caep needs 'transmitter: {issuer: https://…}' above the sinks")
	}
	if d.audience == "" {
		r.bad(d.node, "a sink of type caep has an audience: the receiver's name for itself")
	}
	if len(d.subjects) == 0 {
		r.bad(d.node, "a sink of type caep has subjects: how the receiver knows an %s", strings.Join(scopeWords, ", "))
	}
	for scope, s := range d.subjects {
		r.subject(d, scope, &s)
	}
	if d.token != "" {
		d.header.Set("Authorization", "Bearer "+d.token)
	}
	c := &caep{issuer: f.Issuer, audience: d.audience, stream: d.stream, alg: d.alg, subjects: d.subjects}
	if c.stream == "" {
		c.stream = d.Name
	}
	for _, word := range d.events {
		c.events = append(c.events, caepWords[word])
	}
	d.form = c
}

// subject holds that two agents can never be the same subject.
func (r *reader) subject(d *draft, scope revoke.Scope, s *Subject) {
	at := d.said["subjects"]
	parts, err := pieces(s.Name)
	switch {
	case err != nil:
		r.bad(at, "the subject of %s: %v", scope, err)
	case scope != revoke.Tenant && !s.names("subject"):
		r.bad(at, "the subject of %s does not hold {subject}: one kill would stop them all", scope)
	case scope == revoke.Tenant && !s.names("tenant") && !s.names("subject"):
		r.bad(at, "the subject of tenant does not hold {tenant}: one kill would stop them all")
	case scope != revoke.Tenant && !s.names("tenant") && !d.oneTenant:
		r.bad(at, "the subject of %s does not hold {tenant}, so %ss of two tenants would be one: put it in, or filter by one tenant", scope, scope)
	}
	for i := 2; i < len(parts)-2; i += 2 {
		if parts[i] == "" {
			r.bad(at, "the subject of %s has nothing between two names", scope)
		}
	}
}
