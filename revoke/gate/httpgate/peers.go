package httpgate

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"

	"github.com/estop-project/estop/revoke/gate"
)

// Peers are the addresses from which headers with names are believed: those of the
// authenticator in front. What others send in these headers is no identity.
type Peers []netip.Prefix

// ParsePeers reads addresses and ranges of them: 10.0.0.7, 10.0.0.0/8, ::1.
func ParsePeers(texts []string) (Peers, error) {
	var peers Peers
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			a, failed := netip.ParseAddr(text)
			if failed != nil {
				return nil, fmt.Errorf("%q is neither an address nor a range of them such as 10.0.0.0/8", text)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		peers = append(peers, p.Masked())
	}
	return peers, nil
}

// trust reports whether the headers of a request are believed.
func (p Peers) trust(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	addr = addr.Unmap().WithZone("")
	for _, prefix := range p {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// facts are what is known of who sent a request.
func (p Peers) facts(r *http.Request) (gate.Facts, error) {
	var f gate.Facts
	if p.trust(r) {
		f.Header = func(name string) []string { return r.Header.Values(name) }
	}
	var err error
	f.Principal, err = gate.Principal(r.TLS)
	return f, err
}
