"""A guard on NATS: it hears revocations, reads what it missed, and acknowledges."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from .active import Call, Decision
from .core import Core
from .jws import Keys
from .names import ACK_PREFIX, BEAT_SUBJECT, REVOKE_PREFIX, token
from .report import Reporter
from .revocation import Revocation

_DIRECT_GET = "$JS.API.DIRECT.GET.ESTOP_REVOKE"
_BATCH, _ANSWER = 512, 2.0
log = logging.getLogger("estop_guard")


class Revoked(Exception):
    """The call must not go on, or not begin."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(f"{decision.verdict}: {decision.reason}")
        self.decision = decision


class Guard:
    """Answers for calls. Make it with connect; it belongs to the event loop that made it."""

    def __init__(self, nc: Client, core: Core, name: str, poll: float, report: Reporter) -> None:
        self._nc, self.core, self.name, self._poll = nc, core, name, poll
        self._reporter, self._loop, self._reporting = report, asyncio.get_running_loop(), report.every > 0
        self._denied: dict[str, int] = {}  # id of which the first denied call is told: its end
        self._wake, self._synced, self._again = asyncio.Event(), asyncio.Event(), False
        self._next: dict[str, int] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def connect(cls, servers: str | list[str], keys: Keys | str | Path, name: str, *, tenants: Iterable[str] = (),
                      max_stale: float = 0, fail_closed_until_synced: bool = False, poll: float = 2.0,
                      report: float = 10.0, version: str = "", **nats_options: Any) -> Guard:
        """Connects and begins to follow. tenants are those whose calls come here; none: all of them.

        max_stale is how many seconds old the guard's knowledge may be before it denies all calls; 0: never.
        report is every how many seconds the register of guards hears of it, 0: never; version is what the
        report calls the program that it is in."""
        if not isinstance(keys, Keys):
            keys = Keys.parse(Path(keys).read_bytes())
        core = Core(keys, tenants, max_stale=max_stale, fail_closed_until_synced=fail_closed_until_synced)
        again: list[Guard] = []

        async def reconnected() -> None:
            for guard in again:
                guard._again = True
                guard._wake.set()

        nc = await nats.connect(servers, max_reconnect_attempts=-1, reconnected_cb=reconnected,
                                **{"reconnect_time_wait": 0.2, "name": name, **nats_options})
        guard = cls(nc, core, name, poll, Reporter(core, name, report, version))
        again.append(guard)
        for subject in guard._filters():
            await nc.subscribe(subject, cb=guard._hear)
        await nc.subscribe(BEAT_SUBJECT, cb=guard._hear_beat)
        await nc.flush()
        guard._tasks.append(asyncio.create_task(guard._follow()))
        if guard._reporting:
            guard._tasks.append(asyncio.create_task(guard._report()))
        return guard

    async def synced(self) -> None:
        """Waits until the active set is loaded."""
        await self._synced.wait()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._reporting and self._nc.is_connected:
            await self._say("bye")
            await self._nc.flush()
        await self._nc.close()

    def check(self, call: Call) -> Decision:
        """Answers for one call. Do not cache the answer: it would outlive the kill."""
        decision = self.core.check(call)
        r = decision.revocation
        if self._reporting and r is not None and decision.verdict == "deny" and r.id not in self._denied:
            self._denied[r.id] = r.until
            at = time.time_ns()
            self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._acknowledge(r, 0, denied_at=at)))
        return decision

    @asynccontextmanager
    async def begin(self, call: Call) -> AsyncIterator[Decision]:
        """Checks a call and watches over it: a revocation cancels what runs within, which then raises
        Revoked. A call that is denied raises it at once."""
        task = asyncio.current_task()
        assert task is not None
        killed: list[Revocation] = []

        def stop(r: Revocation) -> None:
            if not killed:
                killed.append(r)
                task.cancel()

        # It is watched before the check, so that nothing falls between.
        end = self.core.watch(call, stop)
        self._reporter.in_flight += 1
        try:
            decision = self.check(call)
            if decision.verdict == "deny":
                raise Revoked(decision)
            yield decision
            if killed:
                await asyncio.sleep(0)  # let the cancellation arrive here rather than later
        except asyncio.CancelledError:
            if killed and task.uncancel() == 0:
                raise Revoked(Decision("deny", killed[0].reason, killed[0])) from None
            raise
        finally:
            self._reporter.in_flight -= 1
            end()

    def _filters(self) -> list[str]:
        if not self.core.tenants:
            return [REVOKE_PREFIX + ".>"]
        return [f"{REVOKE_PREFIX}.~.>"] + [f"{REVOKE_PREFIX}.{token(t)}.>" for t in sorted(self.core.tenants)]

    async def _hear(self, msg: Msg) -> None:
        await self._take(msg.subject, msg.data, 0)

    async def _take(self, subject: str, data: bytes, sequence: int) -> None:
        result, r, stopped = self.core.take(subject, data, sequence)
        if result.startswith("refused"):
            if result != "refused: expired":
                log.warning("%s: %s on %s", self.name, result, subject)
        elif r is not None and (result == "applied" or result == "duplicate" and not sequence):
            await asyncio.sleep(0)  # calls in flight are cancelled before the word is given
            await self._acknowledge(r, stopped)

    async def _acknowledge(self, r: Revocation, stopped: int, denied_at: int = 0) -> None:
        """Tells that r is in force, or when it denied its first call."""
        at = denied_at or time.time_ns()
        when = datetime.fromtimestamp(at / 1e9, UTC).isoformat()
        ack: dict[str, Any] = {"revocation": r.id, "guard": self.name, "tenant": r.tenant, "cancelled": stopped,
                               "applied_at": when, "latency_ns": at - r.issued_at}
        if denied_at:
            ack["first_denied_at"] = when
        try:
            await self._nc.publish(f"{ACK_PREFIX}.{token(self.name)}", json.dumps(ack).encode())
        except Exception as e:  # who publishes hears of it by the missing word
            self.core.counts["ack errors"] += 1
            log.error("%s: cannot acknowledge %s: %s", self.name, r.id, e)

    async def _report(self) -> None:
        """Says hello, and every while that the guard goes on; once more when it is synced."""
        await self._say("hello")
        synced = self._synced.is_set()
        while True:
            if synced:
                await asyncio.sleep(self._reporter.every)
            else:
                try:
                    await asyncio.wait_for(self._synced.wait(), self._reporter.every)
                    synced = True
                except TimeoutError:
                    pass
            await self._say("here")

    async def _say(self, kind: str) -> None:
        try:
            report = self._reporter.report(kind, self._synced.is_set())
            await self._nc.publish(self._reporter.subject, json.dumps(report).encode())
        except Exception as e:  # the register notices that no more reports come
            log.warning("%s: cannot report: %s", self.name, e)

    async def _hear_beat(self, msg: Msg) -> None:
        if self.core.hear_beat(msg.data) in ("differs", "behind"):
            self._wake.set()

    async def _follow(self) -> None:
        """Reads the stream: at the start, when something is missing, and at least every poll."""
        swept, self._again = time.monotonic(), True
        while True:
            self._wake.clear()
            began = time.monotonic_ns()
            try:
                await self._read(began)
            except Exception as e:
                self.core.counts["read errors"] += 1
                log.warning("%s: cannot read revocations: %s", self.name, e)
            if time.monotonic() - swept > 60:
                swept = time.monotonic()
                self.core.active.sweep(self.core.clock())
                self._denied = {k: until for k, until in list(self._denied.items()) if self.core.clock() < until}
                if self.core.full:
                    self.core.full, self._again = len(self.core.active) >= self.core.max_active, True
            try:
                await asyncio.wait_for(self._wake.wait(), self._poll)
                await asyncio.sleep(0.02)  # one reading for all that comes at once
            except TimeoutError:
                pass

    async def _read(self, began: int) -> None:
        core, again, self._again = self.core, self._again, False
        beat = core.pulse.beat
        try:
            await self._read_on(anew=again)
            if beat is not None and core.pulse.beat is beat and core.pulse.compare(read=True) == "differs":
                await self._read_on(anew=True)
        except BaseException:
            self._again = self._again or again
            raise
        if beat is None:
            core.pulse.up_to = max(core.pulse.up_to, began)
        elif core.pulse.beat is beat and core.pulse.compare(read=True) == "same":
            core.pulse.confirm()
        core.blocked = ""
        self._synced.set()

    async def _read_on(self, anew: bool) -> None:
        """Reads from where it was read to, or all. What all of it holds takes the place of what was thought
        to be there; what is in force stays so."""
        if anew:
            self._next.clear()
            self.core.pulse.ledger, self.core.pulse.located = type(self.core.pulse.ledger)(), 0
        for subject in self._filters():
            while await self._page(subject):
                pass

    async def _page(self, subject: str) -> bool:
        """Reads one batch, and reports whether there may be more."""
        inbox = self._nc.new_inbox()
        sub = await self._nc.subscribe(inbox)
        try:
            ask = {"seq": self._next.get(subject, 1), "next_by_subj": subject, "batch": _BATCH}
            await self._nc.publish(_DIRECT_GET, json.dumps(ask).encode(), reply=inbox)
            last = count = 0
            while True:
                msg = await sub.next_msg(_ANSWER)
                headers = msg.headers or {}
                status = headers.get("Status", "")
                if status and status[:3] not in ("204", "404"):
                    raise RuntimeError(f"the stream answers {status}")
                if not status[:3] == "404" and int(headers.get("Nats-Last-Sequence", last)) != last:
                    raise RuntimeError("a message of the stream was lost on the way")
                if status:
                    return count > 0
                last, count = int(headers["Nats-Sequence"]), count + 1
                await self._take(headers["Nats-Subject"], msg.data, last)
                self._next[subject] = last + 1
        finally:
            await sub.unsubscribe()
