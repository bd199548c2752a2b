package revoke

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	// BeatSubject is the NATS subject of heartbeats. It belongs to no stream.
	BeatSubject = "estop.v1.beat"
	// BeatType is the type of a heartbeat's token: neither is ever taken for the other.
	BeatType = "estop-beat+jwt"
	// BeatTenants is how many tenants each of the two lists of a heartbeat holds at most.
	BeatTenants = 64
	// MaxInterval bounds how far apart heartbeats may be.
	MaxInterval = time.Hour
)

// Beat is a heartbeat: a publisher's signed word that it lives, and what the stream holds.
// All its digests are of Sequence, without what ended until the second in which it was issued.
type Beat struct {
	Publisher string
	Start     string // id of this run of the publisher
	Number    uint64 // from 0 in each run
	IssuedAt  time.Time
	Interval  time.Duration // the next one comes within it

	Stream   time.Time // when the stream was created: another one counts anew
	Sequence uint64    // last of the stream when the beat was issued, or later
	Count    uint64    // messages in force, of all tenants
	All      Digest    // of all tenants
	// Since bounds what is not listed: of a tenant that is not in Changed nothing has changed after it.
	Since   uint64
	Changed []TenantDigest // the tenants that changed last
	Others  []TenantDigest // of the rest, some by turns
}

// TenantDigest is the digest of one tenant.
type TenantDigest struct {
	Tenant TenantKey
	Digest Digest
}

// AsOf is the second of the beat's digests.
func (b Beat) AsOf() int64 { return b.IssuedAt.Unix() }

// beatClaims is the payload of a heartbeat's token.
type beatClaims struct {
	Issuer    string `json:"iss"`
	Audience  string `json:"aud"`
	Publisher string `json:"publisher"`
	Start     string `json:"start"`
	Number    uint64 `json:"beat"`
	IssuedAt  int64  `json:"issued_at"` // ns
	Interval  int64  `json:"interval"`  // ns
	Stream    int64  `json:"stream"`    // ns
	Sequence  uint64 `json:"sequence"`
	Count     uint64 `json:"count"`
	All       string `json:"digest"`
	Since     uint64 `json:"since"`
	Changed   string `json:"changed"`
	Others    string `json:"others"`
}

// SignBeat returns b as a compact JWS. It refuses what VerifyBeat would (ErrInvalid).
func (s Signer) SignBeat(b Beat) (string, error) {
	if err := b.validate(); err != nil {
		return "", fmt.Errorf("cannot sign heartbeat: %w: %w", ErrInvalid, err)
	}
	payload, err := json.Marshal(beatClaims{
		Issuer: s.Issuer, Audience: audienceOr(s.Audience), Publisher: b.Publisher, Start: b.Start, Number: b.Number,
		IssuedAt: b.IssuedAt.UnixNano(), Interval: int64(b.Interval), Stream: nanos(b.Stream), Sequence: b.Sequence,
		Count: b.Count, All: encode(b.All[:]), Since: b.Since, Changed: packed(b.Changed), Others: packed(b.Others),
	})
	if err != nil {
		return "", fmt.Errorf("cannot sign heartbeat: %w", err)
	}
	token, err := s.jws(payload, BeatType)
	if err != nil {
		return "", fmt.Errorf("cannot sign heartbeat: %w", err)
	}
	return token, nil
}

// VerifyBeat returns what a heartbeat says if a trusted key signed it, it is for this audience,
// and it was issued within MaxSkew of now. That it was not heard before is the caller's to check.
func (v Verifier) VerifyBeat(token []byte, now time.Time) (Beat, error) {
	b, err := v.readBeat(token)
	if err != nil {
		return Beat{}, fmt.Errorf("cannot verify heartbeat: %w", err)
	}
	switch age := now.Sub(b.IssuedAt); {
	case age > MaxSkew:
		return Beat{}, fmt.Errorf("cannot verify heartbeat: %w: issued %v ago", ErrExpired, age)
	case age < -MaxSkew:
		return Beat{}, fmt.Errorf("cannot verify heartbeat: %w: in %v", ErrNotYetValid, -age)
	}
	return b, nil
}

func (v Verifier) readBeat(token []byte) (Beat, error) {
	payload, key, err := v.open(token, BeatType)
	if err != nil {
		return Beat{}, err
	}
	var c beatClaims
	d := json.NewDecoder(bytes.NewReader(payload))
	if err := d.Decode(&c); err != nil {
		return Beat{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := v.addressed(c.Issuer, c.Audience); err != nil {
		return Beat{}, err
	}
	b, err := c.beat()
	if err != nil {
		return Beat{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return b, key.mayTell(b.IssuedAt)
}

func (c beatClaims) beat() (Beat, error) {
	b := Beat{
		Publisher: c.Publisher, Start: c.Start, Number: c.Number,
		IssuedAt: moment(c.IssuedAt), Interval: time.Duration(c.Interval),
		Stream: moment(c.Stream), Sequence: c.Sequence, Count: c.Count, Since: c.Since,
	}
	all, err := decodeCanonical([]byte(c.All))
	if err != nil || copy(b.All[:], all) != DigestSize || len(all) != DigestSize {
		return b, errors.New("digest")
	}
	if b.Changed, err = unpacked(c.Changed); err != nil {
		return b, fmt.Errorf("changed: %w", err)
	}
	if b.Others, err = unpacked(c.Others); err != nil {
		return b, fmt.Errorf("others: %w", err)
	}
	return b, b.validate()
}

func (b Beat) validate() error {
	switch {
	case b.Publisher == "" || len(b.Publisher) > maxName:
		return errors.New("publisher")
	case b.Start == "" || len(b.Start) > maxName:
		return errors.New("start")
	case !inRange(b.IssuedAt):
		return errors.New("issued_at")
	case b.Interval <= 0 || b.Interval > MaxInterval:
		return errors.New("interval")
	case len(b.Changed) > BeatTenants || len(b.Others) > BeatTenants:
		return errors.New("too many tenants")
	}
	return nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// packed writes each tenant as its key and its digest, one after the other.
func packed(list []TenantDigest) string {
	b := make([]byte, 0, len(list)*2*DigestSize)
	for _, t := range list {
		b = append(b, t.Tenant[:]...)
		b = append(b, t.Digest[:]...)
	}
	return encode(b)
}

func unpacked(text string) ([]TenantDigest, error) {
	if text == "" {
		return nil, nil
	}
	b, err := decodeCanonical([]byte(text))
	if err != nil {
		return nil, err
	}
	const size = 2 * DigestSize
	if len(b)%size != 0 || len(b) > BeatTenants*size {
		return nil, fmt.Errorf("%d bytes", len(b))
	}
	list := make([]TenantDigest, 0, len(b)/size)
	for ; len(b) > 0; b = b[size:] {
		list = append(list, TenantDigest{TenantKey(b[:DigestSize]), Digest(b[DigestSize:size])})
	}
	return list, nil
}

// fill sets the digests of b out of what the stream holds: all tenants together,
// those that changed last, and of the rest the ones after the key turn. It returns the key from
// which the next beat goes on.
func (b *Beat) fill(l *Ledger, turn TenantKey) TenantKey {
	v, _ := l.At(b.AsOf())
	b.All, b.Count = v.All()
	latest, rest := l.split(BeatTenants)
	for _, a := range latest {
		t := v.of(a)
		b.Changed = append(b.Changed, TenantDigest{a.key, t.digest()})
	}
	for _, a := range rest {
		b.Since = max(b.Since, a.changed)
	}
	for _, a := range following(rest, turn, BeatTenants) {
		t := v.of(a)
		b.Others = append(b.Others, TenantDigest{a.key, t.digest()})
		turn = a.key
	}
	return turn
}
