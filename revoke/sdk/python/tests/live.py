"""A service for the test of the whole way: it reads orders from its input and says what it sees."""

import asyncio
import sys

from estop_guard import Call, Guard, Revoked


async def work(guard: Guard, agent: str) -> None:
    try:
        async with guard.begin(Call("acme", agent)) as decision:
            print("began", agent, decision.verdict, flush=True)
            await asyncio.sleep(60)
    except Revoked as e:
        print("cut", agent, e.decision.reason, flush=True)


async def main(url: str, keys: str, name: str) -> None:
    guard = await Guard.connect(url, keys, name, tenants=["acme"], max_stale=3, poll=0.2, report=0.5, version="live 1")
    await guard.synced()
    print("ready", flush=True)
    running = set()
    while line := await asyncio.to_thread(sys.stdin.readline):
        order, _, agent = line.strip().partition(" ")
        if order == "begin":
            task = asyncio.create_task(work(guard, agent))
            running.add(task)
            task.add_done_callback(running.discard)
        elif order == "check":
            print("checked", agent, guard.check(Call("acme", agent)).verdict, flush=True)
        elif order == "refused":
            print("refused", guard.core.counts["refused: unknown_key"], flush=True)
    await guard.close()


asyncio.run(main(*sys.argv[1:]))
