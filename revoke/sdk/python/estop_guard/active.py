"""The active set: what is in force, and what that means for a call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .revocation import MAX_SUBJECT, MAX_TENANT, SCOPES, Revocation
from .rules import weakens

UNIDENTIFIED = "unidentified: the call has no tenant or no agent"
UNSTOPPABLE = "unstoppable: a name of the call is longer than a revocation can carry"
NOT_SERVED = "this guard does not hear of the call's tenant"
NOT_SYNCED = "not synced: the active revocations are not loaded yet"
STALE = "stale: the stream of revocations is out of reach"
FULL = "full: there are more revocations than this guard may hold"

_VERDICTS = {"release": "allow", "throttle": "throttle", "restrict": "restrict"}
_ANY = "*"  # the kind of scopes that are not known: they stop whatever bears the name

Target = tuple[str, str, str]  # kind, tenant, subject


@dataclass(frozen=True, slots=True)
class Call:
    """What a guard must know of a call. One without tenant or agent is denied."""

    tenant: str
    agent: str
    identity: str = ""
    session: str = ""
    chain: Sequence[str] = ()
    credential_issued_at: int = 0  # ns; 0: not known

    def names(self) -> Iterator[Target]:
        """The targets that stop the call, each with each kind of scope."""
        yield "global", "~", "~"
        yield "tenant", self.tenant, self.tenant
        for agent in dict.fromkeys((self.agent, *self.chain)):
            if agent:
                yield "agent", self.tenant, agent
                yield "chain", self.tenant, agent
                yield _ANY, self.tenant, agent
        for kind, name in (("identity", self.identity), ("session", self.session)):
            if name:
                yield kind, self.tenant, name
                yield _ANY, self.tenant, name


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to a call, and why: allow, throttle, restrict or deny."""

    verdict: str
    reason: str = ""
    revocation: Revocation | None = None

    @property
    def allowed(self) -> bool:
        return self.verdict == "allow"


ALLOW = Decision("allow")


def target_of(r: Revocation) -> Target:
    return r.scope if r.scope in SCOPES else _ANY, r.tenant, r.subject


def in_force(r: Revocation, call: Call, now: int) -> bool:
    return (r.strength > 0 and now < r.until
            and (r.valid_after == 0 or call.credential_issued_at <= r.valid_after))


class ActiveSet:
    """The last message that holds for each target. Releases stay until their end, so that nothing
    older undoes them."""

    def __init__(self) -> None:
        self._held: dict[Target, Revocation] = {}

    def __len__(self) -> int:
        return len(self._held)

    def knows(self, r: Revocation) -> bool:
        return target_of(r) in self._held

    def apply(self, r: Revocation, now: int, guarded: bool = False) -> str:
        """Puts r in force: applied, duplicate or superseded. guarded says that it takes two operators
        to weaken anything."""
        key = target_of(r)
        old = self._held.get(key)
        if old is not None and now < old.until:
            if old.id == r.id:
                return "duplicate"
            if not _replaces(r, old, guarded):
                return "superseded"
        self._held[key] = r
        return "applied"

    def match(self, call: Call, now: int) -> Revocation | None:
        """The strongest one in force that the call meets."""
        best: Revocation | None = None
        for target in call.names():
            r = self._held.get(target)
            if r is not None and (best is None or r.strength > best.strength) and in_force(r, call, now):
                best = r
        return best

    def sweep(self, now: int) -> None:
        """Forgets what has ended."""
        for key in [k for k, r in self._held.items() if now >= r.until]:
            del self._held[key]


def decide(active: ActiveSet, call: Call, now: int) -> Decision:
    r = active.match(call, now)
    if r is None:
        return ALLOW
    return Decision(_VERDICTS.get(r.action, "deny"), r.reason, r)


def unsafe(call: Call) -> Decision | None:
    """The denial of a call that would walk past the switch."""
    if not call.tenant or not call.agent:
        return Decision("deny", UNIDENTIFIED)
    if _size(call.tenant) > MAX_TENANT or any(
            _size(name) > MAX_SUBJECT for name in (call.agent, call.identity, call.session, *call.chain)):
        return Decision("deny", UNSTOPPABLE)
    return None


def _size(name: str) -> int:
    return len(name.encode(errors="surrogatepass"))


def _replaces(new: Revocation, old: Revocation, guarded: bool) -> bool:
    later = _is_later(new, old)
    if not guarded or new.scope != old.scope:
        return later
    # What one operator has ordered does not hold against an earlier order that stops more, in
    # whatever order they come.
    if later:
        return new.approved_by != "" or not weakens(new, old)
    return old.approved_by == "" and weakens(old, new)


def _is_later(new: Revocation, old: Revocation) -> bool:
    if new.scope != old.scope:
        # Two scopes that are not known share a name: keep what stops more.
        return (new.strength, new.until) > (old.strength, old.until)
    if new.releases == old.id:
        return True
    if old.releases == new.id:
        return False
    return ((new.issued_at, new.strength, new.id.encode())
            > (old.issued_at, old.strength, old.id.encode()))
