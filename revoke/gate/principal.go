package gate

import (
	"crypto/tls"
	"errors"
)

// Principal returns the name that a client's verified certificate gives it: its URI, else
// its common name. Empty: the client has shown no certificate, or one that nobody verified.
func Principal(s *tls.ConnectionState) (string, error) {
	if s == nil || len(s.VerifiedChains) == 0 {
		return "", nil
	}
	cert := s.VerifiedChains[0][0]
	switch {
	case len(cert.URIs) > 1:
		return "", errors.New("the client's certificate has more than one URI")
	case len(cert.URIs) == 1:
		return cert.URIs[0].String(), nil
	case cert.Subject.CommonName != "":
		return cert.Subject.CommonName, nil
	}
	return "", errors.New("the client's certificate has neither a URI nor a common name")
}
