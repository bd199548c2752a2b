"""Risks: how high a detector says that the risk of an agent is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .jws import MAX_SKEW, Keys, Refused, integer, text
from .names import token as token_of
from .revocation import MAX_SUBJECT, MAX_TENANT

RISK_PREFIX = "estop.v1.risk"
_EVENT = "https://schemas.openid.net/secevent/caep/event-type/risk-level-change"
_MAX_TOKEN, _MAX_NAME, _MAX_REASON = 8 << 10, 256, 2048
_MAX_FOR = 30 * 24 * 3600 * 10**9  # ns
_MAX_TIME = 9_214_646_400 * 10**9  # ns: 2262-01-01
_LEVELS = {"LOW": "low", "MEDIUM": "medium", "HIGH": "high"}
_RANK = {"low": 1, "medium": 2, "high": 3}
_SUB_ID = {"tenant", "application", "user", "session", "chain", "global", "other"}


@dataclass(frozen=True, slots=True)
class Risk:
    """A detector's word on an agent. Times are Unix nanoseconds."""

    tenant: str
    agent: str
    source: str
    level: str  # low, medium or high
    score: int  # 0 to 100
    issued_at: int
    until: int
    reason: str


def read_risk(keys: Keys, subject: str, token: bytes, now: int) -> Risk:
    """A risk that is signed, on its own subject, and holds now."""
    if len(token) > _MAX_TOKEN:
        raise Refused("too_large", f"{len(token)} bytes")
    claims, key = keys.open(token, "estop-risk+jwt")
    r = _read(claims)
    key.may_tell(r.issued_at)
    if ".".join((RISK_PREFIX, token_of(r.tenant), token_of(r.agent), token_of(r.source))) != subject:
        raise Refused("underfilled", "it came on another subject")
    if r.issued_at - now > MAX_SKEW:
        raise Refused("not_yet_valid")
    if now >= r.until:
        raise Refused("expired")
    return r


def _read(claims: dict[str, Any]) -> Risk:
    text(claims, "jti", _MAX_NAME)
    events = claims.get("events")
    if "sub" in claims or "exp" in claims or not isinstance(events, dict) or events.keys() != {_EVENT}:
        raise Refused("malformed", "not one event of a risk")
    event, sub_id = events[_EVENT], claims.get("sub_id")
    if not isinstance(event, dict) or not isinstance(event.get("estop"), dict) or not isinstance(sub_id, dict):
        raise Refused("malformed", "event or sub_id")
    m = event["estop"]
    r = Risk(
        tenant=_name(sub_id, "tenant", MAX_TENANT), agent=_name(sub_id, "application", MAX_SUBJECT),
        source=text(m, "source", _MAX_NAME), level=_LEVELS.get(text(event, "current_level", _MAX_NAME), ""),
        score=integer(m, "score"), issued_at=integer(m, "issued_at"), until=integer(m, "until"),
        reason=text(event, "risk_reason", _MAX_REASON),
    )
    good = (r.tenant and r.agent and r.source and r.level and 0 <= r.score <= 100
            and text(event, "principal", _MAX_NAME) == "APPLICATION"
            and sub_id.get("format") == "complex" and sub_id.keys() & _SUB_ID == {"tenant", "application"}
            and 0 < r.issued_at < r.until <= r.issued_at + _MAX_FOR and r.until < _MAX_TIME
            and integer(claims, "iat") == r.issued_at // 10**9)
    if not good:
        raise Refused("malformed", "risk")
    return r


def _name(sub_id: dict[str, Any], member: str, most: int) -> str:
    m = sub_id.get(member)
    if not isinstance(m, dict) or m.get("format") != "opaque":
        raise Refused("malformed", member)
    return text(m, "id", most)


class Risks:
    """What is known of agents: the last risk of each source, until its end."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._known: dict[tuple[str, str], dict[str, Risk]] = {}

    def take(self, subject: str, token: bytes, now: int) -> None:
        """Takes a message, of the connection or of the stream; one that is not believed raises Refused."""
        r = read_risk(self._keys, subject, token, now)
        sources = self._known.setdefault((r.tenant, r.agent), {})
        old = sources.get(r.source)
        if old is None or r.issued_at > old.issued_at:
            sources[r.source] = r

    def of(self, tenant: str, agent: str, now: int) -> tuple[str, int]:
        """Level and score of an agent: of what holds now the highest. Where nothing does, the risk is
        unknown, which is never low."""
        holding = [r for r in self._known.get((tenant, agent), {}).values() if now < r.until]
        if not holding:
            return "unknown", 100
        worst = max(holding, key=lambda r: (_RANK[r.level], r.score))
        return worst.level, worst.score

    def sweep(self, now: int) -> None:
        """Forgets what has ended."""
        for name in list(self._known):
            kept = {s: r for s, r in self._known[name].items() if now < r.until}
            if kept:
                self._known[name] = kept
            else:
                del self._known[name]
