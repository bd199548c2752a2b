// Heartbeats, and how old what a guard knows is.

import { canonical, integer, Keys, maxSkew, Refused, text } from "./jws.js";
import { Ledger } from "./ledger.js";
import { tenantKey } from "./names.js";

const hour = 3_600_000_000_000n, window = 30_000_000_000n, maxStarts = 256;

/** A heartbeat. Times are Unix nanoseconds. */
interface Beat {
  start: string; number: bigint; issuedAt: bigint; interval: bigint; stream: bigint; sequence: bigint;
  digest: string; since: bigint; changed: Map<string, string>; others: Map<string, string>;
}

/** A heartbeat that is signed and of this moment. */
export function readBeat(keys: Keys, data: Uint8Array, now: bigint): Beat {
  const [c, key] = keys.open(data, "estop-beat+jwt");
  const digest = canonical(text(c, "digest", 64));
  const b: Beat = {
    start: text(c, "start", 256), number: integer(c, "beat", 0n), issuedAt: integer(c, "issued_at"),
    interval: integer(c, "interval"), stream: integer(c, "stream"), sequence: integer(c, "sequence", 0n),
    digest: digest.toString("hex"), since: integer(c, "since", 0n),
    changed: tenants(text(c, "changed", 4096)), others: tenants(text(c, "others", 4096)),
  };
  if (!text(c, "publisher", 256) || !b.start || b.issuedAt <= 0n || digest.length !== 16 || b.interval <= 0n || b.interval > hour) {
    throw new Refused("malformed", "heartbeat");
  }
  key.mayTell(b.issuedAt);
  if (now - b.issuedAt > maxSkew) throw new Refused("expired");
  if (b.issuedAt - now > maxSkew) throw new Refused("not_yet_valid");
  return b;
}

function tenants(packed: string): Map<string, string> {
  const hex = packed ? canonical(packed).toString("hex") : "", list = new Map<string, string>();
  if (hex.length % 64 || hex.length > 64 * 64) throw new Refused("malformed", "tenants");
  for (let i = 0; i < hex.length; i += 64) list.set(hex.slice(i, i + 32), hex.slice(i + 32, i + 64));
  return list;
}

/** One run of a publisher: its last heartbeat, and the least difference between arrival and issue. */
interface Start { number: bigint; heard: bigint; offset: bigint; previous: bigint; since: bigint }

const least = (a: bigint, b: bigint): bigint => (a < b ? a : b);
const most = (a: bigint, b: bigint): bigint => (a > b ? a : b);

/** Compares heartbeats with what is known. Moments of this guard are of a clock that nobody sets. */
export class Pulse {
  ledger = new Ledger();
  located = 0n; // greatest sequence number read
  beat: Beat | undefined;
  upTo = 0n; // so old is what is known
  private covered = 0n; // up to this sequence number nothing is missing here
  private issued = 0n; // when the heartbeat was, by this guard's clock
  private starts = new Map<string, Start>();
  private readonly mine: Set<string> | undefined;

  constructor(served: readonly string[]) {
    if (served.length) this.mine = new Set(["", ...served].map(tenantKey));
  }

  /** Refuses what was heard before. */
  admit(b: Beat, arrived: bigint): void {
    const apart = arrived - b.issuedAt;
    let s = this.starts.get(b.start);
    if (!s) {
      for (const [id, old] of this.starts) if (arrived - old.heard > 3n * maxSkew) this.starts.delete(id);
      if (this.starts.size >= maxStarts) throw new Refused("publishers");
      s = { number: b.number, heard: arrived, offset: apart, previous: apart, since: arrived };
      this.starts.set(b.start, s);
    } else if (b.number <= s.number) {
      throw new Refused("replayed");
    }
    s.number = b.number;
    s.heard = arrived;
    if (arrived - s.since > window) Object.assign(s, { previous: s.offset, offset: apart, since: arrived });
    s.offset = least(s.offset, apart);
    if (this.beat && b.stream < this.beat.stream) return; // of a publisher that has not noticed another stream yet
    if (this.beat && b.stream > this.beat.stream) this.covered = this.located = 0n;
    this.beat = b;
    this.issued = b.issuedAt + least(s.offset, s.previous);
    this.ledger.forget(b.issuedAt / 1_000_000_000n);
  }

  /** read says that the stream was read since the heartbeat came; without it, behind asks for a reading. */
  compare(read: boolean): "same" | "differs" | "ahead" | "behind" {
    const b = this.beat;
    const view = b && this.ledger.at(b.issuedAt / 1_000_000_000n);
    if (!b || !view) return "ahead";
    const unequal = this.located > b.sequence ? "ahead" : "differs";
    if (!this.mine) return view.digest() === b.digest ? "same" : unequal;
    let listed = 0;
    for (const list of [b.changed, b.others]) {
      for (const [tenant, digest] of list) {
        if (!this.mine.has(tenant)) continue;
        if (view.digest(tenant) !== digest) return unequal;
        if (list === b.changed) listed++;
      }
    }
    return !read && this.covered < b.since && listed < this.mine.size ? "behind" : "same";
  }

  /** Notes that what the last heartbeat tells of is here. */
  confirm(): void {
    if (!this.beat) return;
    this.covered = most(this.covered, this.beat.sequence);
    this.upTo = most(this.upTo, this.issued);
  }
}
