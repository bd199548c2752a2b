// The guard passes the test vectors of the protocol.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Core } from "../src/core.js";
import { Keys } from "../src/jws.js";
import { tenantKey, token } from "../src/names.js";

const vectors = JSON.parse(readFileSync(process.env["ESTOP_VECTORS"]!, "utf8"));

test("names", () => {
  for (const n of vectors.names) assert.equal(token(n.name), n.token);
  for (const t of vectors.tenants) assert.equal(tenantKey(t.name), t.key);
});

for (const c of vectors.cases) {
  test(c.name, () => {
    let now = 0n;
    const core = new Core(Keys.parse(JSON.stringify(c.keys ?? vectors.keys)), { tenants: c.serves, clock: () => now });
    c.steps.forEach((step: any, i: number) => {
      now = BigInt(step.now);
      const want = [step.reason ? `${step.outcome}: ${step.reason}` : step.outcome, step.by ?? ""];
      assert.deepEqual(play(core, step), want, `step ${i}`);
    });
  });
}

test("keys that demand what is not known are refused", () => {
  assert.throws(() => Keys.parse(JSON.stringify({ ...vectors.keys, estop: { two_person: ["release"] } })));
  assert.throws(() => Keys.parse(JSON.stringify({ keys: [{ ...vectors.keys.keys[0], only_on: "Monday" }] })));
});

function play(core: Core, step: any): [string, string] {
  if (step.message) {
    return [core.take(step.message.subject, Buffer.from(step.message.token), BigInt(step.message.sequence ?? 0)).result, ""];
  }
  if (step.beat) {
    const match = core.hearBeat(Buffer.from(step.beat));
    return [match.startsWith("refused") ? match : core.pulse.compare(true), ""];
  }
  if (step.call) {
    const d = core.check({ ...step.call, credentialIssuedAt: BigInt(step.call.credential_issued_at ?? 0) });
    return [d.verdict, d.revocation?.id ?? ""];
  }
  const want = step.digest, view = core.pulse.ledger.at(BigInt(want.as_of))!;
  const key = want.tenant ? tenantKey(want.tenant) : undefined;
  return [view.digest(key) === want.digest && view.count(key) === BigInt(want.count) ? "same" : "differs", ""];
}
