// A service for the test of the whole way: it reads orders from its input and says what it sees.

import { createInterface } from "node:readline";
import { Guard, Revoked } from "../src/index.js";

const [servers, keys, name] = process.argv.slice(2) as [string, string, string];
const guard = await Guard.connect({
  nats: { servers }, keys, name, tenants: ["acme"], maxStale: 3000, poll: 200, report: 500, version: "live 1", log: (what) => console.error(what),
});
await guard.synced;
console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  const [order, agent] = line.split(" ") as [string, string];
  const call = { tenant: "acme", agent };
  if (order === "check") console.log("checked", agent, guard.check(call).verdict);
  if (order !== "begin") continue;
  const flight = guard.begin(call);
  const cut = (): void => console.log("cut", agent, (flight.signal.reason as Revoked).decision.reason);
  if (flight.signal.aborted) {
    cut();
    continue;
  }
  console.log("began", agent, flight.decision.verdict);
  flight.signal.addEventListener("abort", () => { cut(); flight.end(); });
}
await guard.close();
