"""Revocations, and what of a token is believed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .jws import MAX_SKEW, Key, Keys, Refused, integer, text
from .names import GLOBAL_SUBJECT
from .names import subject as subject_of
from .rules import MAX_APPROVALS

MAX_TENANT, MAX_SUBJECT = 256, 1024  # bytes
_MAX_NAME, _MAX_REASON = 256, 2048
_MAX_DURATION = 30 * 24 * 3600 * 10**9  # ns
_MAX_TIME = 9_214_646_400 * 10**9  # ns: 2262-01-01

_SESSION_REVOKED = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
_RESPONSE = "https://github.com/estop-project/estop/secevent/event-type/response"

# The member of sub_id that each scope has.
_MEMBERS = {"agent": "application", "identity": "user", "session": "session", "chain": "chain", "global": "global"}
_SUB_ID = {*_MEMBERS.values(), "tenant", "other"}
SCOPES = {*_MEMBERS, "tenant"}
STRENGTH = {"release": 0, "throttle": 1, "restrict": 2, "revoke": 3}


@dataclass(frozen=True, slots=True)
class Revocation:
    """What stops a target, or, with the action release, what ended that. Times are Unix nanoseconds."""

    id: str
    tenant: str
    scope: str
    subject: str
    action: str
    issued_at: int
    valid_after: int
    until: int
    reason: str
    releases: str
    shield: int
    detector: str
    detection: str
    initiator: str
    by: str
    key: Key
    approved_by: str = ""  # the second operator, if there is one

    @property
    def nats_subject(self) -> str:
        if self.scope == "global":
            return GLOBAL_SUBJECT
        return subject_of(self.tenant, self.scope, self.subject)

    @property
    def known(self) -> bool:
        return self.scope in SCOPES and self.action in STRENGTH

    @property
    def strength(self) -> int:
        """An action that is not known is as strong as the strongest."""
        return STRENGTH.get(self.action, 3)

    def breaks_glass(self, limit: int) -> bool:
        """Whether one operator may do it alone in an emergency."""
        return self.action != "release" and self.initiator == "admin" and self.until - self.issued_at <= limit

    def check_time(self, now: int) -> None:
        if self.issued_at - now > MAX_SKEW:
            raise Refused("not_yet_valid")
        if now >= self.until:
            raise Refused("expired")
        self.key.check_time(now)


def genuine(keys: Keys, token: bytes, nats_subject: str) -> Revocation:
    """What a token says if it is signed, well formed and on its own subject, whether or not it
    has ended. Its scope and action may be unknown."""
    r, approvals = _open(keys, token, "secevent+jwt")
    r.key.may_issue(r.initiator, r.by, r.issued_at)
    if keys.rules.two_person:
        try:
            r = replace(r, approved_by=_second(keys, r, approvals))
        except Refused as e:
            # Where one operator is enough, approvals that are not good do no harm.
            if keys.rules.want(r):
                raise Refused("unapproved", str(e)) from None
    _check(r)
    if r.nats_subject != nats_subject:
        raise Refused("subject")
    return r


def _second(keys: Keys, r: Revocation, approvals: list[str]) -> str:
    """The other operator who agreed to r. All approvals must be good, and of operators who are not
    the first."""
    if r.key.role != "operator" or not 0 < len(approvals) <= MAX_APPROVALS:
        raise Refused("unapproved", "it takes two operators")
    names = []
    for text_of in approvals:
        a, _ = _open(keys, text_of.encode(errors="surrogatepass"), "estop-approval+jwt")
        if a.key.role != "operator" or a.key.name == r.key.name:
            raise Refused("unapproved", "its approver is no other operator")
        a.key.may_issue(a.initiator, a.by, a.issued_at)
        # Of what two people sign, nothing may differ but who they are.
        if replace(a, by=r.by, key=r.key) != r:
            raise Refused("unapproved", "another order is approved")
        names.append(a.key.name)
    return names[0]


def _open(keys: Keys, token: bytes, typ: str) -> tuple[Revocation, list[str]]:
    """What a token of a type says, with its approvals, if its signature is good and it names its target."""
    claims, key = keys.open(token, typ)
    if "sub" in claims or "exp" in claims:
        raise Refused("malformed", "sub or exp")
    events = claims.get("events")
    if not isinstance(events, dict) or len(events) != 1:
        raise Refused("malformed", "not one event")
    uri, event = next(iter(events.items()))
    if not isinstance(event, dict) or not isinstance(event.get("estop"), dict):
        raise Refused("malformed", "event without estop")
    approvals = [] if claims.get("approvals") is None else claims["approvals"]
    if not isinstance(approvals, list) or not all(isinstance(a, str) for a in approvals):
        raise Refused("malformed", "approvals")
    r = _read(claims, event, event["estop"], key)
    if r.action in STRENGTH and uri != (_SESSION_REVOKED if r.action == "revoke" else _RESPONSE):
        raise Refused("malformed", "event of the other type")
    _check_sub_id(claims.get("sub_id"), r)
    return r, approvals


def _read(claims: dict[str, Any], event: dict[str, Any], m: dict[str, Any], key: Key) -> Revocation:
    why = event.get("reason_admin", {})
    if not isinstance(why, dict):
        raise Refused("malformed", "reason_admin")
    r = Revocation(
        id=text(claims, "jti", _MAX_NAME),
        tenant=text(m, "tenant", MAX_TENANT),
        scope=text(m, "scope", _MAX_NAME),
        subject=text(m, "subject", MAX_SUBJECT),
        action=text(m, "action", _MAX_NAME),
        issued_at=integer(m, "issued_at"),
        valid_after=integer(m, "valid_after", least=0),
        until=integer(m, "until"),
        reason=text(why, "en", _MAX_REASON),
        releases=text(m, "releases", _MAX_NAME),
        shield=integer(m, "shield", least=0),
        detector=text(m, "detector", _MAX_NAME),
        detection=text(m, "detection", _MAX_NAME),
        initiator=text(event, "initiating_entity", _MAX_NAME),
        by=text(m, "by", _MAX_NAME),
        key=key,
    )
    if integer(claims, "iat") != r.issued_at // 10**9:
        raise Refused("malformed", "iat and issued_at differ")
    return r


def _check_sub_id(sub_id: Any, r: Revocation) -> None:
    """sub_id names exactly the target: a member that is missing would mean everything."""
    want: dict[str, Any] = {"tenant": {"format": "opaque", "id": r.tenant}}
    if r.scope != "tenant":
        want[_MEMBERS.get(r.scope, "other")] = {"format": "opaque", "id": r.subject}
    if not isinstance(sub_id, dict) or not r.tenant or not r.subject or sub_id.get("format") != "complex":
        raise Refused("underfilled")
    if {k: v for k, v in sub_id.items() if k in _SUB_ID} != want:
        raise Refused("underfilled")


def _check(r: Revocation) -> None:
    wrong = {
        "no id": not r.id,
        "no scope": not r.scope,
        "no action": not r.action,
        "no reason": not r.reason,
        "initiator": r.initiator not in ("policy", "admin"),
        "another subject than the tenant": r.scope == "tenant" and r.subject != r.tenant,
        "another subject than everything": r.scope == "global" and (r.tenant, r.subject) != ("~", "~"),
        "issued_at": not 0 < r.issued_at < _MAX_TIME,
        "until": not r.issued_at < r.until <= r.issued_at + _MAX_DURATION,
        "valid_after": r.valid_after >= _MAX_TIME,
        "releases": bool(r.releases) and r.action != "release",
        "shield": r.shield != 0 and (r.action != "release" or r.shield > r.until),
    }
    for what, is_wrong in wrong.items():
        if is_wrong:
            raise Refused("malformed", what)
