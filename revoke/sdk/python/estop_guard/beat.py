"""Heartbeats, and how old what a guard knows is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .jws import MAX_SKEW, Keys, Refused, canonical, integer, text
from .ledger import Ledger
from .names import tenant_key

_TENANTS, _MAX_NAME, _HOUR = 64, 256, 3600 * 10**9
_MAX_STARTS, _KEEP_START, _WINDOW = 256, 3 * MAX_SKEW, 30 * 10**9


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat. Times are Unix nanoseconds."""

    start: str
    number: int
    issued_at: int
    interval: int
    stream: int
    sequence: int
    digest: bytes
    since: int
    changed: dict[bytes, bytes]
    others: dict[bytes, bytes]


def read_beat(keys: Keys, token: bytes, now: int) -> Beat:
    """A heartbeat that is signed and of this moment."""
    c, key = keys.open(token, "estop-beat+jwt")
    digest = canonical(text(c, "digest", 64).encode())
    b = Beat(
        start=text(c, "start", _MAX_NAME), number=integer(c, "beat", 0), issued_at=integer(c, "issued_at"),
        interval=integer(c, "interval"), stream=integer(c, "stream"), sequence=integer(c, "sequence", 0),
        digest=digest, since=integer(c, "since", 0),
        changed=_tenants(text(c, "changed", 4096)), others=_tenants(text(c, "others", 4096)))
    if (not text(c, "publisher", _MAX_NAME) or not b.start or b.issued_at <= 0 or len(digest) != 16
            or not 0 < b.interval <= _HOUR):
        raise Refused("malformed", "heartbeat")
    key.may_tell(b.issued_at)
    if now - b.issued_at > MAX_SKEW:
        raise Refused("expired")
    if b.issued_at - now > MAX_SKEW:
        raise Refused("not_yet_valid")
    return b


def _tenants(packed: str) -> dict[bytes, bytes]:
    raw = canonical(packed.encode()) if packed else b""
    if len(raw) % 32 or len(raw) > 32 * _TENANTS:
        raise Refused("malformed", "tenants")
    return {raw[i:i + 16]: raw[i + 16:i + 32] for i in range(0, len(raw), 32)}


@dataclass(slots=True)
class _Start:
    """One run of a publisher: its last heartbeat, and the least difference between arrival and issue."""

    number: int
    heard: int
    offset: int
    previous: int
    since: int


class Pulse:
    """Compares heartbeats with what is known. Moments of this guard are of a clock that nobody sets."""

    def __init__(self, tenants: Iterable[str]) -> None:
        self.ledger = Ledger()
        self.located = 0  # greatest sequence number read
        self.covered = 0  # up to this one nothing is missing here
        self.beat: Beat | None = None
        self.issued = 0  # when it was, by this guard's clock
        self.expected = 0  # when the next one is missed
        self.up_to = 0  # so old is what is known
        self._starts: dict[str, _Start] = {}
        names = set(tenants)
        self._mine = {tenant_key(t) for t in names} | {tenant_key("")} if names else None

    def admit(self, b: Beat, arrived: int) -> None:
        """Refuses what was heard before."""
        apart = arrived - b.issued_at
        s = self._starts.get(b.start)
        if s is None:
            self._starts = {k: v for k, v in self._starts.items() if arrived - v.heard <= _KEEP_START}
            if len(self._starts) >= _MAX_STARTS:
                raise Refused("publishers")
            s = self._starts[b.start] = _Start(b.number, arrived, apart, apart, arrived)
        elif b.number <= s.number:
            raise Refused("replayed")
        s.number, s.heard = b.number, arrived
        if arrived - s.since > _WINDOW:
            s.previous, s.offset, s.since = s.offset, apart, arrived
        s.offset = min(s.offset, apart)
        if self.beat is not None and b.stream < self.beat.stream:
            return  # of a publisher that has not noticed yet that there is another stream
        if self.beat is not None and b.stream > self.beat.stream:
            self.covered = self.located = 0
        self.beat, self.issued = b, b.issued_at + min(s.offset, s.previous)
        self.expected = arrived + b.interval + b.interval // 2
        self.ledger.forget(b.issued_at // 10**9)

    def compare(self, read: bool) -> str:
        """same, differs, ahead, or behind: a reading must say. read says that one came after the heartbeat."""
        b = self.beat
        assert b is not None
        view = self.ledger.at(b.issued_at // 10**9)
        if view is None:
            return "ahead"
        unequal = "ahead" if self.located > b.sequence else "differs"
        if self._mine is None:
            return "same" if view.digest() == b.digest else unequal
        for listed in (b.changed, b.others):
            for tenant in listed.keys() & self._mine:
                if view.digest(tenant) != listed[tenant]:
                    return unequal
        if not read and self.covered < b.since and len(b.changed.keys() & self._mine) < len(self._mine):
            return "behind"
        return "same"

    def confirm(self) -> None:
        """Notes that what the last heartbeat tells of is here."""
        assert self.beat is not None
        self.covered = max(self.covered, self.beat.sequence)
        self.up_to = max(self.up_to, self.issued)
