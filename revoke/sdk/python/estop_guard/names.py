"""How names are written in NATS subjects."""

from __future__ import annotations

import base64
import hashlib
import re

REVOKE_PREFIX = "estop.v1.revoke"
ACK_PREFIX = "estop.v1.ack"
GLOBAL_SUBJECT = REVOKE_PREFIX + ".~.global.~"  # no tenant's name has the token ~
BEAT_SUBJECT = "estop.v1.beat"

_PLAIN = re.compile(rb"[A-Za-z0-9_-]{1,96}\Z")


def token(name: str) -> str:
    """One token of a NATS subject for any name; different names have different tokens."""
    raw = name.encode()
    if _PLAIN.match(raw):
        return name
    if len(raw) <= 96:
        return "=" + base64url(raw)
    return "~" + base64url(hashlib.sha256(raw).digest())


def subject(tenant: str, scope: str, target: str) -> str:
    """The NATS subject of a target."""
    return ".".join((REVOKE_PREFIX, token(tenant), token(scope), token(target)))


def tenant_key(tenant: str) -> bytes:
    """What stands for a tenant in heartbeats."""
    return hashlib.sha256(tenant.encode()).digest()[:16]


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
