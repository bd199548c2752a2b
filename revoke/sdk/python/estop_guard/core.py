"""What a guard knows, without a connection: it takes messages and answers for calls."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable

from .active import FULL, NOT_SERVED, NOT_SYNCED, STALE, ActiveSet, Call, Decision, decide, in_force, target_of, unsafe
from .beat import Pulse, read_beat
from .jws import Keys, Refused
from .revocation import Revocation, genuine

Stop = Callable[[Revocation], None]


class Core:
    """Check may be called from any thread, everything else from one."""

    def __init__(self, keys: Keys, tenants: Iterable[str] = (), *, max_stale: float = 0,
                 fail_closed_until_synced: bool = False, max_active: int = 1_000_000,
                 clock: Callable[[], int] = time.time_ns) -> None:
        self.keys, self.tenants, self.clock = keys, frozenset(tenants), clock
        self.max_stale, self.max_active = int(max_stale * 1e9), max_active
        self.active, self.pulse = ActiveSet(), Pulse(self.tenants)
        self.pulse.up_to = time.monotonic_ns()
        self.blocked = NOT_SYNCED if fail_closed_until_synced else ""
        self.full = False
        self.counts: Counter[str] = Counter()
        self._flights: dict[tuple[str, str, str], dict[int, tuple[Call, Stop]]] = {}
        self._next = 0

    def check(self, call: Call) -> Decision:
        d = unsafe(call)
        if d is None and self.tenants and call.tenant not in self.tenants:
            d = Decision("deny", NOT_SERVED)
        if d is None and (why := self._closed()):
            d = Decision("deny", why)
        if d is None:
            d = decide(self.active, call, self.clock())
        self.counts[d.verdict] += 1
        return d

    def _closed(self) -> str:
        if self.full:
            return FULL
        if self.blocked:
            return self.blocked
        if self.max_stale and time.monotonic_ns() - self.pulse.up_to > self.max_stale:
            return STALE
        return ""

    def take(self, subject: str, token: bytes, sequence: int = 0) -> tuple[str, Revocation | None, int]:
        """Takes a message, over core NATS or with its sequence number from the stream, and cancels
        the calls in flight that it stops. It returns what became of it, and how many those were."""
        try:
            r = genuine(self.keys, token, subject)
            if (not self.active.knows(r) and len(self.active) >= self.max_active
                    or not self.pulse.ledger.holds(r) and len(self.pulse.ledger) >= self.max_active):
                self.full = True  # what cannot be kept must not be allowed
                raise Refused("full")
            self.pulse.located = max(self.pulse.located, sequence)
            now = self.clock()
            try:
                r.check_time(now)
            except Refused:
                self.pulse.ledger.note(r)  # not in force by this clock, but in the stream
                raise
        except Refused as e:
            self.counts["refused: " + e.reason] += 1
            return "refused: " + e.reason, None, 0
        result = self.active.apply(r, now, self.keys.rules.guarded)
        if result != "superseded" or sequence:
            self.pulse.ledger.note(r)
        self.counts[result] += 1
        stopped = self._cancel(r, now) if result == "applied" and r.strength == 3 else 0
        return result, r, stopped

    def hear_beat(self, token: bytes) -> str:
        """Takes a heartbeat: same, differs, ahead, behind, or why it is refused."""
        try:
            self.pulse.admit(read_beat(self.keys, token, self.clock()), time.monotonic_ns())
        except Refused as e:
            self.counts["refused: " + e.reason] += 1
            return "refused: " + e.reason
        self.counts["beats"] += 1
        match = self.pulse.compare(read=False)
        if match == "same":
            self.pulse.confirm()
        return match

    def watch(self, call: Call, stop: Stop) -> Callable[[], None]:
        """Calls stop when a revocation of the call arrives, until the returned function is called."""
        self._next += 1
        number, targets = self._next, list(call.names())
        for target in targets:
            self._flights.setdefault(target, {})[number] = (call, stop)

        def end() -> None:
            for target in targets:
                flights = self._flights.get(target)
                if flights and flights.pop(number, None) and not flights:
                    del self._flights[target]
        return end

    def _cancel(self, r: Revocation, now: int) -> int:
        hit = [stop for call, stop in self._flights.get(target_of(r), {}).values() if in_force(r, call, now)]
        for stop in hit:
            stop(r)
        self.counts["cancelled"] += len(hit)
        return len(hit)
