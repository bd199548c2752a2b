"""What a guard says of itself to the register of guards."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import Any

from .core import Core
from .names import token

GUARD_PREFIX = "estop.v1.guard"
_MAX_NAMES = 48 << 10  # bytes of tenants' names in one report


class Reporter:
    """Makes the reports of one run of a guard: hello, here, bye."""

    def __init__(self, core: Core, name: str, every: float, version: str) -> None:
        self.core, self.name, self.every, self.version = core, name, every, version
        self.subject = f"{GUARD_PREFIX}.{token(name)}"
        self.in_flight = 0
        self._start, self._next = secrets.token_hex(16), 0

    def report(self, kind: str, synced: bool) -> dict[str, Any]:
        core, now = self.core, time.time_ns()
        view = core.pulse.ledger.at(now // 10**9)
        age = max(0, time.monotonic_ns() - core.pulse.up_to)
        number, self._next = self._next, self._next + 1
        return {
            "kind": kind, "guard": self.name, "start": self._start, "number": number,
            "at": datetime.fromtimestamp(now / 1e9, UTC).isoformat(), "every_ns": int(self.every * 1e9), "version": self.version,
            **self._serves(), "synced": synced, "stale": bool(core.max_stale and age > core.max_stale), "age_ns": age,
            "max_stale_ns": core.max_stale, "fails": "closed" if core.max_stale else "open", "sequence": core.pulse.located,
            "held": view.count() if view else 0, "digest": view.digest().hex() if view else "", "in_flight": self.in_flight,
            "counts": self._counts(),
        }

    def _serves(self) -> dict[str, Any]:
        if not self.core.tenants:
            return {"all": True}
        names, size = [], 0
        for tenant in sorted(self.core.tenants):
            if (size := size + len(tenant.encode())) > _MAX_NAMES:
                return {"tenants": names, "cut": True}
            names.append(tenant)
        return {"tenants": names}

    def _counts(self) -> dict[str, int]:
        c = self.core.counts
        return {
            "applied": c["applied"], "refused": sum(n for what, n in list(c.items()) if what.startswith("refused: ")),
            "allowed": c["allow"], "throttled": c["throttle"], "restricted": c["restrict"], "denied": c["deny"],
            "cancelled": c["cancelled"], "missed": 0, "errors": c["ack errors"] + c["read errors"],
        }
