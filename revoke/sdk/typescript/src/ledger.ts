// What the stream is known to hold, and its digests.

import { sha256, tenantKey } from "./names.js";
import type { Revocation } from "./revocation.js";

const keep = 240n; // s: heartbeats ask about no earlier moment
const second = 1_000_000_000n;
const all = "";

/** A number of messages and the sum of their elements. */
interface Tally { count: bigint; total: bigint }

function add(tallies: Map<string, Tally>, key: string, total: bigint, count: bigint): void {
  const t = tallies.get(key) ?? { count: 0n, total: 0n };
  tallies.set(key, { count: t.count + count, total: BigInt.asUintN(256, t.total + total) });
}

/** The last message of each target. For each second it keeps what ends in it. */
export class Ledger {
  private readonly last = new Map<string, { element: bigint; end: bigint; tenant: string }>();
  private readonly totals = new Map<string, Tally>();
  private readonly ends = new Map<bigint, Map<string, Tally>>();
  private horizon = -(2n ** 63n);

  get size(): number { return this.last.size; }

  holds(r: Revocation): boolean { return this.last.has(r.natsSubject); }

  note(r: Revocation): void {
    const old = this.last.get(r.natsSubject);
    if (old) this.count(old.element, old.end, old.tenant, -1n);
    this.last.delete(r.natsSubject);
    const end = (r.until + second - 1n) / second, tenant = tenantKey(r.scope === "global" ? "" : r.tenant);
    if (end <= this.horizon) return;
    const entry = { element: elementOf(r), end, tenant };
    this.last.set(r.natsSubject, entry);
    this.count(entry.element, end, tenant, 1n);
  }

  private count(element: bigint, end: bigint, tenant: string, sign: bigint): void {
    const ending = this.ends.get(end) ?? new Map<string, Tally>();
    this.ends.set(end, ending);
    for (const key of [all, tenant]) for (const tallies of [this.totals, ending]) add(tallies, key, sign * element, sign);
  }

  /** Drops what no heartbeat of this second or a later one asks about. */
  forget(asOf: bigint): void {
    if (asOf - keep <= this.horizon + keep / 4n) return;
    this.horizon = asOf - keep;
    for (const [s, tallies] of this.ends) {
      if (s > this.horizon) continue;
      for (const [key, t] of tallies) add(this.totals, key, -t.total, -t.count);
      this.ends.delete(s);
    }
    for (const [key, t] of this.totals) if (t.count === 0n) this.totals.delete(key);
    for (const [key, e] of this.last) if (e.end <= this.horizon) this.last.delete(key);
  }

  /** What is in force at a second; undefined where that is forgotten. The view is good until the ledger changes. */
  at(asOf: bigint): View | undefined {
    if (asOf < this.horizon) return undefined;
    const ended = new Map<string, Tally>();
    for (const [s, tallies] of this.ends) if (s <= asOf) for (const [key, t] of tallies) add(ended, key, t.total, t.count);
    return new View(this.totals, ended);
  }
}

export class View {
  constructor(private readonly totals: Map<string, Tally>, private readonly ended: Map<string, Tally>) {}

  count(tenant = all): bigint { return (this.totals.get(tenant)?.count ?? 0n) - (this.ended.get(tenant)?.count ?? 0n); }

  /** Of the tenant of a key, or of all; hexadecimal. */
  digest(tenant = all): string {
    const total = BigInt.asUintN(256, (this.totals.get(tenant)?.total ?? 0n) - (this.ended.get(tenant)?.total ?? 0n));
    const hex = this.count(tenant).toString(16).padStart(16, "0") + total.toString(16).padStart(64, "0");
    return sha256(Buffer.from(hex, "hex")).subarray(0, 16).toString("hex");
  }
}

function elementOf(r: Revocation): bigint {
  const s = Buffer.from(r.natsSubject), id = Buffer.from(r.id), b = Buffer.alloc(16 + s.length + id.length);
  b.writeUInt32BE(s.length, 0);
  s.copy(b, 4);
  b.writeUInt32BE(id.length, 4 + s.length);
  id.copy(b, 8 + s.length);
  b.writeBigUInt64BE(r.until, 8 + s.length + id.length);
  return BigInt("0x" + sha256(b).toString("hex"));
}
