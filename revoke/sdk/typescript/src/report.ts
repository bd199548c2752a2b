// What a guard says of itself to the register of guards.

import { randomBytes } from "node:crypto";
import { monotonic, type Core } from "./core.js";
import { token } from "./names.js";

const maxNames = 48 << 10; // bytes of tenants' names in one report

export type Kind = "hello" | "here" | "bye";

/** Makes the reports of one run of a guard. */
export class Reporter {
  readonly subject: string;
  inFlight = 0;
  private readonly start = randomBytes(16).toString("hex");
  private next = 0;

  constructor(private readonly core: Core, private readonly name: string, readonly every: number, private readonly version: string) {
    this.subject = `estop.v1.guard.${token(name)}`;
  }

  report(kind: Kind, synced: boolean, maxStale: number): string {
    const { core } = this, now = Date.now(), view = core.pulse.ledger.at(BigInt(Math.floor(now / 1000)));
    const age = Number(monotonic() - core.pulse.upTo);
    return JSON.stringify({
      kind, guard: this.name, start: this.start, number: this.next++, at: new Date(now).toISOString(), every_ns: this.every * 1e6,
      version: this.version, ...this.serves(), synced, stale: maxStale > 0 && age > maxStale * 1e6, age_ns: Math.max(0, age),
      max_stale_ns: Math.ceil(maxStale * 1e6), fails: maxStale > 0 ? "closed" : "open", sequence: Number(core.pulse.located),
      held: Number(view?.count() ?? 0n), digest: view?.digest() ?? "", in_flight: this.inFlight, counts: this.counts(),
    });
  }

  private serves(): object {
    if (!this.core.tenants.length) return { all: true };
    const tenants: string[] = [];
    let size = 0;
    for (const t of [...this.core.tenants].sort()) {
      size += Buffer.byteLength(t);
      if (size > maxNames) return { tenants, cut: true };
      tenants.push(t);
    }
    return { tenants };
  }

  private counts(): object {
    const of = (what: string): number => this.core.counts.get(what) ?? 0;
    const refused = [...this.core.counts].reduce((sum, [what, n]) => sum + (what.startsWith("refused: ") ? n : 0), 0);
    return {
      applied: of("applied"), refused, allowed: of("allow"), throttled: of("throttle"), restricted: of("restrict"), denied: of("deny"),
      cancelled: of("cancelled"), missed: 0, errors: of("ack errors") + of("read errors"),
    };
  }
}
