"""What the stream is known to hold, and its digests."""

from __future__ import annotations

import hashlib

from .names import tenant_key
from .revocation import Revocation

_KEEP = 240  # s: heartbeats ask about no earlier moment
_ALL = b""
_SPACE = 1 << 256


class _Tally:
    """A number of messages and the sum of their elements."""

    __slots__ = ("count", "total")

    def __init__(self, count: int = 0, total: int = 0) -> None:
        self.count, self.total = count, total

    def add(self, element: int, count: int = 1) -> None:
        self.count += count
        self.total = (self.total + element) % _SPACE

    def digest(self) -> bytes:
        return hashlib.sha256(self.count.to_bytes(8, "big") + self.total.to_bytes(32, "big")).digest()[:16]


class Ledger:
    """The last message of each target. For each second it keeps what ends in it, so that a digest as
    of any second of the last minutes costs no walk."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, int, bytes]] = {}  # NATS subject: element, end, tenant
        self._totals: dict[bytes, _Tally] = {}
        self._ends: dict[int, dict[bytes, _Tally]] = {}
        self._horizon = -(1 << 63)

    def __len__(self) -> int:
        return len(self._last)

    def holds(self, r: Revocation) -> bool:
        return r.nats_subject in self._last

    def note(self, r: Revocation) -> None:
        subject = r.nats_subject
        tenant = tenant_key("" if r.scope == "global" else r.tenant)
        if old := self._last.pop(subject, None):
            self._count(*old, -1)
        end = -(-r.until // 10**9)
        if end > self._horizon:
            entry = _element(subject, r.id, r.until), end, tenant
            self._last[subject] = entry
            self._count(*entry, 1)

    def _count(self, element: int, end: int, tenant: bytes, sign: int) -> None:
        ending = self._ends.setdefault(end, {})
        for key in (_ALL, tenant):
            for tallies in (self._totals, ending):
                tallies.setdefault(key, _Tally()).add(sign * element, sign)

    def forget(self, as_of: int) -> None:
        """Drops what no heartbeat of the second as_of or a later one asks about."""
        if as_of - _KEEP <= self._horizon + _KEEP // 4:
            return
        self._horizon = as_of - _KEEP
        for second in [s for s in self._ends if s <= self._horizon]:
            for key, tally in self._ends.pop(second).items():
                self._totals[key].add(-tally.total, -tally.count)
        self._totals = {k: t for k, t in self._totals.items() if t.count}
        self._last = {s: e for s, e in self._last.items() if e[1] > self._horizon}

    def at(self, as_of: int) -> View | None:
        """What is in force at a second; None where that is forgotten."""
        if as_of < self._horizon:
            return None
        ended: dict[bytes, _Tally] = {}
        for second, tallies in self._ends.items():
            if second <= as_of:
                for key, tally in tallies.items():
                    ended.setdefault(key, _Tally()).add(tally.total, tally.count)
        return View(self._totals, ended)


class View:
    """A ledger as of a second, good until the ledger changes."""

    def __init__(self, totals: dict[bytes, _Tally], ended: dict[bytes, _Tally]) -> None:
        self._totals, self._ended = totals, ended

    def digest(self, tenant: bytes = _ALL) -> bytes:
        """Of the tenant of a key; without one, of all."""
        return self._tally(tenant).digest()

    def count(self, tenant: bytes = _ALL) -> int:
        return self._tally(tenant).count

    def _tally(self, key: bytes) -> _Tally:
        t = self._totals.get(key, _Tally())
        left = _Tally(t.count, t.total)
        if ended := self._ended.get(key):
            left.add(-ended.total, -ended.count)
        return left


def _element(subject: str, id: str, until: int) -> int:
    s, i = subject.encode(), id.encode()
    return int.from_bytes(hashlib.sha256(
        len(s).to_bytes(4, "big") + s + len(i).to_bytes(4, "big") + i + until.to_bytes(8, "big")).digest(), "big")
