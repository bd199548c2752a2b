// The guard passes the test vectors of the protocol.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Core } from "../src/core.js";
import { Keys, Refused } from "../src/jws.js";
import { tenantKey, token } from "../src/names.js";
import { Risks } from "../src/risk.js";

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

test("key sets", () => {
  assert.ok(vectors.key_sets.length > 0);
  for (const k of vectors.key_sets) {
    const parse = (): Keys => Keys.parse(JSON.stringify(k.keys));
    if (k.taken) assert.doesNotThrow(parse, k.name);
    else assert.throws(parse, k.name);
  }
});

test("a key with what is not known is refused", () => {
  assert.throws(() => Keys.parse(JSON.stringify({ keys: [{ ...vectors.keys.keys[0], only_on: "Monday" }] })));
});

test("there are risks", () => assert.ok(vectors.risks.length > 0));

for (const c of vectors.risks) {
  test(`risk: ${c.name}`, () => {
    const risks = new Risks(Keys.parse(JSON.stringify(vectors.keys)));
    c.steps.forEach((step: any, i: number) => {
      assert.deepEqual(ask(risks, step), [step.outcome, step.reason ?? "", step.score ?? 0], `step ${i}`);
    });
  });
}

function ask(risks: Risks, step: any): [string, string, number] {
  const now = BigInt(step.now);
  if (step.agent) {
    const { level, score } = risks.of(step.agent.tenant, step.agent.agent, now);
    return [level, "", score];
  }
  try {
    risks.take(step.message.subject, Buffer.from(step.message.token), now);
  } catch (e) {
    if (!(e instanceof Refused)) throw e;
    return ["refused", e.reason, 0];
  }
  return ["believed", "", 0];
}

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
