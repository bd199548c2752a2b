// What a guard knows, without a connection: it takes messages and answers for calls.

import { ActiveSet, inForce, targetOf, targets, unsafe, type Call, type Decision } from "./active.js";
import { Pulse, readBeat } from "./beat.js";
import { Keys, Refused } from "./jws.js";
import { checkTime, genuine, type Revocation } from "./revocation.js";

export interface CoreOptions {
  /** Whose calls come here; none: those of all tenants. */
  tenants?: readonly string[];
  /** How many milliseconds old the guard's knowledge may be before it denies all calls; 0: it never is too old. */
  maxStale?: number;
  failClosedUntilSynced?: boolean;
  /** How many revocations the guard may hold: with more it denies all calls. */
  maxActive?: number;
  clock?: () => bigint;
}

export interface Taken { result: string; revocation?: Revocation; stopped: number }

interface Watched { call: Call; stop: (r: Revocation) => void }

export const monotonic = (): bigint => process.hrtime.bigint();

export class Core {
  readonly active = new ActiveSet();
  readonly pulse: Pulse;
  readonly tenants: readonly string[];
  readonly counts = new Map<string, number>();
  readonly maxActive: number;
  readonly clock: () => bigint;
  synced: boolean;
  full = false;
  private readonly maxStale: bigint;
  private readonly flights = new Map<string, Set<Watched>>();

  constructor(readonly keys: Keys, o: CoreOptions = {}) {
    this.tenants = o.tenants ?? [];
    this.maxStale = BigInt(Math.ceil((o.maxStale ?? 0) * 1e6));
    this.maxActive = o.maxActive ?? 1_000_000;
    this.clock = o.clock ?? (() => BigInt(Date.now()) * 1_000_000n);
    this.synced = !o.failClosedUntilSynced;
    this.pulse = new Pulse(this.tenants);
    this.pulse.upTo = monotonic();
  }

  check(call: Call): Decision {
    const why = unsafe(call) || this.closed(call);
    const d: Decision = why ? { verdict: "deny", reason: why } : this.active.decide(call, this.clock());
    this.count(d.verdict);
    return d;
  }

  private closed(call: Call): string {
    if (this.tenants.length && !this.tenants.includes(call.tenant)) return "this guard does not hear of the call's tenant";
    if (this.full) return "full: there are more revocations than this guard may hold";
    if (!this.synced) return "not synced: the active revocations are not loaded yet";
    const stale = this.maxStale && monotonic() - this.pulse.upTo > this.maxStale;
    return stale ? "stale: the stream of revocations is out of reach" : "";
  }

  /** Takes a message, over core NATS or with its sequence number from the stream, and cancels the calls that it stops. */
  take(subject: string, token: Uint8Array, sequence = 0n): Taken {
    try {
      const r = genuine(this.keys, token, subject), now = this.clock();
      if ((!this.active.knows(r) && this.active.size >= this.maxActive)
        || (!this.pulse.ledger.holds(r) && this.pulse.ledger.size >= this.maxActive)) {
        this.full = true; // what cannot be kept must not be allowed
        throw new Refused("full");
      }
      if (sequence > this.pulse.located) this.pulse.located = sequence;
      try {
        checkTime(r, now);
      } catch (e) {
        this.pulse.ledger.note(r); // not in force by this clock, but in the stream
        throw e;
      }
      const result = this.active.apply(r, now, this.keys.rules.guarded);
      if (result !== "superseded" || sequence) this.pulse.ledger.note(r);
      this.count(result);
      return { result, revocation: r, stopped: result === "applied" && r.strength === 3 ? this.cancel(r, now) : 0 };
    } catch (e) {
      return { result: this.refuse(e), stopped: 0 };
    }
  }

  /** Takes a heartbeat: same, differs, ahead, behind, or why it is refused. */
  hearBeat(token: Uint8Array): string {
    try {
      this.pulse.admit(readBeat(this.keys, token, this.clock()), monotonic());
    } catch (e) {
      return this.refuse(e);
    }
    const match = this.pulse.compare(false);
    if (match === "same") this.pulse.confirm();
    return match;
  }

  /** Calls stop when a revocation of the call arrives, until the returned function is called. */
  watch(call: Call, stop: (r: Revocation) => void): () => void {
    const w = { call, stop }, names = targets(call);
    for (const t of names) this.flights.set(t, (this.flights.get(t) ?? new Set()).add(w));
    return () => {
      for (const t of names) {
        const set = this.flights.get(t);
        if (set?.delete(w) && set.size === 0) this.flights.delete(t);
      }
    };
  }

  private cancel(r: Revocation, now: bigint): number {
    const hit = [...(this.flights.get(targetOf(r)) ?? [])].filter((w) => inForce(r, w.call, now));
    for (const w of hit) w.stop(r);
    return hit.length;
  }

  private refuse(e: unknown): string {
    if (!(e instanceof Refused)) throw e;
    this.count("refused: " + e.reason);
    return "refused: " + e.reason;
  }

  count(what: string): void { this.counts.set(what, (this.counts.get(what) ?? 0) + 1); }
}
