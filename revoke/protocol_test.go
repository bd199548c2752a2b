package revoke

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// The example in docs/protocol.md is what this package writes, byte for byte, and what
// whoever writes another guard tests against.
func TestTheProtocolsExampleIsGenuine(t *testing.T) {
	doc, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	token := mustSign(t, sample(func(r *Revocation) { r.ID = ID("burst", "bot", "estop.calls", 3, 42, 0) }))
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, payload, "", "  "); err != nil {
		t.Fatal(err)
	}
	key := jose.JSONWebKey{Key: testSigner.Verifier().Keys[testSigner.KID].Key, KeyID: testSigner.KID, Algorithm: "EdDSA", Use: "sig"}
	jwks, err := json.MarshalIndent(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key}}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"token": token, "payload": pretty.String(), "keys": string(jwks)} {
		if !strings.Contains(string(doc), want) {
			t.Errorf("docs/protocol.md lacks this %s:\n%s", name, want)
		}
	}
}
