"""Signed tokens: form, type, key and signature."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .names import base64url
from .rules import Rules

MAX_TOKEN = 16 << 10
MAX_SKEW = 120 * 10**9  # ns
_MAX_INT, _MIN_INT = 2**63 - 1, -(2**63)


class Refused(Exception):
    """A message that is not believed. `reason` is one of a few words, for counting."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Key:
    """A public key, what it may sign, and when; times are Unix seconds, 0 for no bound."""

    public: Ed25519PublicKey
    role: str = ""  # empty: everything
    name: str = ""  # of an operator
    not_before: int = 0
    not_after: int = 0

    def may_issue(self, initiator: str, by: str, issued_at: int) -> None:
        if not (self.role == ""
                or (self.role == "detector" and initiator == "policy")
                or (self.role == "operator" and initiator == "admin" and by == self.name)):
            raise Refused("role", f"{initiator} {by} of the {self.role} key {self.name}")
        self._covers(issued_at)

    def may_tell(self, issued_at: int) -> None:
        if self.role not in ("", "detector"):
            raise Refused("role", f"a heartbeat of the {self.role} key {self.name}")
        self._covers(issued_at)

    def _covers(self, issued_at: int) -> None:
        self.check_time(issued_at)
        if self.not_before and issued_at < self.not_before * 10**9:
            raise Refused("key_time")

    def check_time(self, now: int) -> None:
        if self.not_after and now > self.not_after * 10**9:
            raise Refused("key_time")


@dataclass(frozen=True)
class Keys:
    """The public keys that may sign, out of a JWK set."""

    by_id: dict[str, Key]
    issuer: str = "estop"
    audience: str = "estop-guards"
    rules: Rules = Rules()

    @classmethod
    def parse(cls, jwks: str | bytes, issuer: str = "estop", audience: str = "estop-guards") -> Keys:
        """Reads a JWK set. One with another kind of key, or with a demand that is not known here,
        is refused: leaving out a demand would trust more than its author meant."""
        doc = json.loads(jwks)
        if not isinstance(doc, dict) or not isinstance(doc.get("keys"), list) or not doc["keys"]:
            raise ValueError("not a JWK set with a key")
        if unknown := doc.keys() - {"keys", "estop"}:
            raise ValueError(f"the key set demands what this version does not know: {sorted(unknown)}")
        return cls(dict(_parse_key(k) for k in doc["keys"]), issuer, audience, Rules.parse(doc.get("estop")))

    def open(self, data: bytes, typ: str) -> tuple[dict[str, Any], Key]:
        """Checks form, type and signature, and returns the payload and who signed it."""
        if len(data) > MAX_TOKEN:
            raise Refused("too_large", f"{len(data)} bytes")
        parts = data.split(b".")
        if len(parts) != 3:
            raise Refused("malformed", "not three parts")
        head, payload, signature = (canonical(p) for p in parts)
        header = parse_json(head)
        if not all(isinstance(v, str) for v in header.values()) or header.keys() - {"alg", "kid", "typ"}:
            raise Refused("malformed", "header")
        if header.get("typ") != typ:
            raise Refused("type", str(header.get("typ")))
        if header.get("alg") != "EdDSA":
            raise Refused("algorithm", str(header.get("alg")))
        key = self.by_id.get(header.get("kid", ""))
        if key is None:
            raise Refused("unknown_key", str(header.get("kid")))
        try:
            key.public.verify(signature, parts[0] + b"." + parts[1])
        except InvalidSignature:
            raise Refused("signature") from None
        claims = parse_json(payload)
        if claims.get("iss") != self.issuer or not self.issuer:
            raise Refused("issuer", str(claims.get("iss")))
        if claims.get("aud") != self.audience:
            raise Refused("audience", str(claims.get("aud")))
        return claims, key


_KEY_MEMBERS = {"kty", "crv", "x", "kid", "alg", "use", "nbf", "exp", "estop"}


def _parse_key(jwk: Any) -> tuple[str, Key]:
    if not isinstance(jwk, dict) or jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519":
        raise ValueError("not a public Ed25519 key")
    use = jwk.get("estop", {})
    if not isinstance(use, dict) or ("estop" in jwk and not use.get("role")):
        raise ValueError("a key's role is missing")
    if unknown := (jwk.keys() - _KEY_MEMBERS) | (use.keys() - {"role", "name"}):
        raise ValueError(f"a key has what this version does not know: {sorted(unknown)}")
    try:
        x = text(jwk, "x", 64)
        public = Ed25519PublicKey.from_public_bytes(canonical(x.encode()))
        key = Key(public, text(use, "role", 256), text(use, "name", 256),
                  integer(jwk, "nbf", least=0), integer(jwk, "exp", least=0))
    except Refused as e:
        raise ValueError(f"a key cannot be read: {e}") from e
    thumbprint = base64url(hashlib.sha256(b'{"crv":"Ed25519","kty":"OKP","x":"%s"}' % x.encode()).digest())
    if jwk.get("kid", thumbprint) != thumbprint:
        raise ValueError("a key id is not the key's thumbprint")
    if (key.role == "operator") != bool(key.name) and key.role in ("operator", "detector"):
        raise ValueError("an operator's key needs a name, and no other key has one")
    if key.not_after and key.not_after < key.not_before:
        raise ValueError("a key's exp comes before its nbf")
    return thumbprint, key


def canonical(text: bytes) -> bytes:
    """Decodes base64url that has one way of being written: otherwise several tokens would carry
    one signature."""
    try:
        raw = base64.b64decode(text + b"=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Refused("malformed", "base64url") from None
    if not raw or base64url(raw).encode() != text:
        raise Refused("malformed", "base64url is not canonical")
    return raw


def parse_json(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw.decode())
    except (ValueError, RecursionError):
        raise Refused("malformed", "JSON") from None
    if not isinstance(value, dict):
        raise Refused("malformed", "not an object")
    return value


def text(members: dict[str, Any], name: str, most: int) -> str:
    """A member that is a text; empty where there is none."""
    value = members.get(name, "")
    if not isinstance(value, str):
        raise Refused("malformed", name)
    try:
        size = len(value.encode())
    except UnicodeEncodeError:  # half of a surrogate pair
        raise Refused("malformed", name) from None
    if size > most:
        raise Refused("malformed", f"{name} is too long")
    return value


def integer(members: dict[str, Any], name: str, least: int = _MIN_INT) -> int:
    """A member that is an integer of 64 bits; 0 where there is none."""
    value = members.get(name, 0)
    if type(value) is not int or not least <= value <= _MAX_INT:
        raise Refused("malformed", name)
    return value
