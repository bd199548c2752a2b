package revoke

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The keys of an installation with two operators.
var (
	detectorKey = roleKey("seed of the detector's own key..", DetectorRole, "")
	ada         = roleKey("seed of the key of operator ada.", OperatorRole, "ada")
	adaAgain    = roleKey("seed of the 2nd key of op. ada..", OperatorRole, "ada")
	bob         = roleKey("seed of the key of operator bob.", OperatorRole, "bob")
	eve         = roleKey("seed of a key that nobody trusts", OperatorRole, "eve")
)

func roleKey(seed string, role Role, name string) Signer {
	s := fixedSigner(seed)
	s.Role, s.Name = role, name
	return s
}

func trust(rules Rules, signers ...Signer) Verifier {
	v := Verifier{Keys: make(map[string]PublicKey), Issuer: DefaultIssuer, Rules: rules}
	for _, s := range signers {
		v.Keys[s.KID] = s.public()
	}
	return v
}

func ordered(by string) Revocation {
	r := sample()
	r.Initiator, r.By = Admin, by
	if by == "" {
		r.Initiator = Policy
	}
	return r
}

func TestAKeySignsOnlyWhatItsRoleDecides(t *testing.T) {
	legacy := fixedSigner("seed of a key from before roles.")
	auditor := roleKey("seed of a role that is not known", "auditor", "")
	v := trust(Rules{}, detectorKey, ada, legacy, auditor)
	for name, c := range map[string]struct {
		signer Signer
		r      Revocation
		want   error
	}{
		"a detector decides":                    {detectorKey, ordered(""), nil},
		"a detector as a person":                {detectorKey, ordered("ada"), ErrRole},
		"an operator decides":                   {ada, ordered("ada"), nil},
		"an operator in another's name":         {ada, ordered("bob"), ErrRole},
		"an operator as a detector":             {ada, ordered(""), ErrRole},
		"a key without a role, as a person":     {legacy, ordered("anybody"), nil},
		"a key without a role, as a detector":   {legacy, ordered(""), nil},
		"a key of a role that is not known yet": {auditor, ordered(""), ErrRole},
		"a key that is not trusted":             {eve, ordered("eve"), ErrUnknownKey},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := c.signer.Sign(c.r)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Verify([]byte(token), issued); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func TestAKeySignsOnlyInItsTime(t *testing.T) {
	second := issued.Truncate(time.Second)
	for name, c := range map[string]struct {
		before, after time.Time
		now           time.Time
		want, genuine error
	}{
		"without bounds":                    {time.Time{}, time.Time{}, issued, nil, nil},
		"within them":                       {second.Add(-time.Hour), second.Add(time.Hour), issued, nil, nil},
		"issued before it began":            {second.Add(time.Hour), time.Time{}, issued, ErrKeyTime, ErrKeyTime},
		"issued after it ended":             {time.Time{}, second.Add(-time.Second), issued, ErrKeyTime, ErrKeyTime},
		"ended since it was issued":         {time.Time{}, second.Add(time.Minute), issued.Add(2 * time.Minute), ErrKeyTime, nil},
		"in its last moment":                {time.Time{}, second.Add(time.Minute), second.Add(time.Minute), nil, nil},
		"a revocation that has ended first": {time.Time{}, second.Add(time.Minute), issued.Add(48 * time.Hour), ErrExpired, nil},
	} {
		t.Run(name, func(t *testing.T) {
			v := trust(Rules{}, detectorKey)
			k := v.Keys[detectorKey.KID]
			k.NotBefore, k.NotAfter = c.before, c.after
			v.Keys[detectorKey.KID] = k
			token, err := detectorKey.Sign(ordered(""))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Verify([]byte(token), c.now); !errors.Is(err, c.want) {
				t.Errorf("Verify: %v, want %v", err, c.want)
			}
			// What the stream holds does not change with the clock: digests agree.
			if _, err := v.Genuine([]byte(token)); !errors.Is(err, c.genuine) {
				t.Errorf("Genuine: %v, want %v", err, c.genuine)
			}
		})
	}
}

func TestOnlyADetectorsKeySendsHeartbeats(t *testing.T) {
	b := Beat{Publisher: "p", Start: "s", IssuedAt: issued, Interval: time.Second, Stream: issued}
	v := trust(Rules{}, detectorKey, ada, testSigner)
	for _, c := range []struct {
		signer Signer
		want   error
	}{{detectorKey, nil}, {testSigner, nil}, {ada, ErrRole}} {
		token, err := c.signer.SignBeat(b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.VerifyBeat([]byte(token), issued); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.signer.Role, err, c.want)
		}
	}
}

func TestTheSetOfKeysIsReadBackAsItWasWritten(t *testing.T) {
	v := trust(Rules{TwoPerson: []Demand{TwoForRelease, TwoForGlobal}, BreakGlass: true}, detectorKey, ada, bob, testSigner)
	k := v.Keys[bob.KID]
	k.NotBefore, k.NotAfter = issued.Truncate(time.Second), issued.Truncate(time.Second).Add(time.Hour)
	v.Keys[bob.KID] = k
	path := filepath.Join(t.TempDir(), "keys.jwks")
	if err := SaveVerifier(path, v); err != nil {
		t.Fatal(err)
	}
	got, err := LoadVerifier(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(v, got); d != "" {
		t.Error(d)
	}
	private := filepath.Join(t.TempDir(), "ada.jwk")
	if err := SaveSigner(private, ada); err != nil {
		t.Fatal(err)
	}
	s, err := LoadSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(ada, s); d != "" {
		t.Error(d)
	}
}

func TestASetOfKeysThatSaysWhatIsNotKnownIsRefused(t *testing.T) {
	v := trust(Rules{TwoPerson: []Demand{TwoForRelease}}, ada)
	b, err := v.marshal()
	if err != nil {
		t.Fatal(err)
	}
	good := string(b)
	for name, change := range map[string][2]string{
		"a demand written wrongly":    {`"release"`, `"releases"`},
		"a rule that is not known":    {`"two_person"`, `"three_person"`},
		"an operator without a name":  {`"name": "ada"`, `"name": ""`},
		"a detector with a name":      {`"role": "operator"`, `"role": "detector"`},
		"a name without a role":       {`"role": "operator",`, ``},
		"an end before the beginning": {`"kty"`, `"nbf": 20, "exp": 10, "kty"`},
		"a time that is none":         {`"kty"`, `"exp": "tomorrow", "kty"`},
		"a key id of another key":     {ada.KID, bob.KID},
		"rules that are none": {`"estop": {
    "two_person": [
      "release"
    ]
  }`, `"estop": 7`},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(good, change[0]) {
				t.Fatalf("%q is not in\n%s", change[0], good)
			}
			if v, err := ParseVerifier([]byte(strings.Replace(good, change[0], change[1], 1))); !errors.Is(err, ErrKeyFile) {
				t.Errorf("%v, %v; want ErrKeyFile", v, err)
			}
		})
	}
	if _, err := ParseVerifier(b); err != nil {
		t.Errorf("as it was written: %v", err)
	}
}
