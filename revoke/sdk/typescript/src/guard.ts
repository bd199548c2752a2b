// A guard on NATS: it hears revocations, reads what it missed, and acknowledges.

import { readFile } from "node:fs/promises";
import { connect, createInbox, type ConnectionOptions, type Msg, type NatsConnection } from "@nats-io/transport-node";
import type { Call, Decision } from "./active.js";
import { Core, monotonic, type CoreOptions } from "./core.js";
import { Keys } from "./jws.js";
import { Ledger } from "./ledger.js";
import { ackPrefix, beatSubject, revokePrefix, token } from "./names.js";
import { Reporter, type Kind } from "./report.js";
import type { Revocation } from "./revocation.js";

const directGet = "$JS.API.DIRECT.GET.ESTOP_REVOKE", batch = 512, answer = 2000;

export interface GuardOptions extends CoreOptions {
  /** Of this guard, in acknowledgements; unique in the installation. */
  name: string;
  /** The file of public keys, or the keys. */
  keys: string | Keys;
  nats: ConnectionOptions;
  /** How often, in milliseconds, the stream is read. */
  poll?: number;
  /** Every how many milliseconds the register of guards hears of it, 0: never. */
  report?: number;
  /** What the report calls the program that the guard is in. */
  version?: string;
  /** Told what goes wrong. */
  log?: (what: string) => void;
}

/** Why a call must not go on, or not begin: the reason of its signal. */
export class Revoked extends Error {
  constructor(readonly decision: Decision) { super(`${decision.verdict}: ${decision.reason}`); }
}

/** A call that has begun. Its signal is aborted by a kill; call end when the call is over. */
export interface InFlight { decision: Decision; signal: AbortSignal; end(): void }

export class Guard {
  readonly synced: Promise<void>;
  private isSynced!: () => void;
  private readonly next = new Map<string, number>();
  private again = true;
  private due = true;
  private loaded = false;
  private closed = false;
  private wake: () => void = () => {};
  private following: Promise<void> = Promise.resolve();
  private readonly reporter: Reporter;
  private ticking: NodeJS.Timeout | undefined;
  private readonly denied = new Map<string, bigint>(); // id of which the first denied call is told: its end

  private constructor(private readonly nc: NatsConnection, readonly core: Core, private readonly o: GuardOptions) {
    this.synced = new Promise((resolve) => { this.isSynced = resolve; });
    this.reporter = new Reporter(core, o.name, o.report ?? 10_000, o.version ?? "");
  }

  /** Connects and begins to follow; synced says when the active set is loaded. */
  static async connect(o: GuardOptions): Promise<Guard> {
    const keys = o.keys instanceof Keys ? o.keys : Keys.parse(await readFile(o.keys));
    const core = new Core(keys, o);
    const nc = await connect({ maxReconnectAttempts: -1, reconnectTimeWait: 200, name: o.name, ...o.nats });
    const g = new Guard(nc, core, o);
    for (const subject of g.filters()) nc.subscribe(subject, { callback: (e, m) => { if (!e) g.take(m.subject, m.data, 0n); } });
    nc.subscribe(beatSubject, { callback: (e, m) => { if (!e && ["differs", "behind"].includes(core.hearBeat(m.data))) g.read(false); } });
    await nc.flush();
    void g.watchStatus();
    g.following = g.follow();
    g.startReports();
    return g;
  }

  /** Answers for one call. Do not cache the answer: it would outlive the kill. */
  check(call: Call): Decision {
    const decision = this.core.check(call), r = decision.revocation;
    if (this.reporter.every > 0 && r && decision.verdict === "deny" && !this.denied.has(r.id)) {
      this.denied.set(r.id, r.until);
      const at = Date.now();
      setImmediate(() => this.acknowledge(r, 0, at)); // not on the way of the call
    }
    return decision;
  }

  /** Checks a call and watches over it. A denied one has a signal that is aborted already. */
  begin(call: Call): InFlight {
    const stop = new AbortController();
    // It is watched before the check, so that nothing falls between.
    const leave = this.core.watch(call, (r) => {
      this.core.count("cancelled");
      stop.abort(new Revoked({ verdict: "deny", reason: r.reason, revocation: r }));
    });
    let under = true;
    this.reporter.inFlight++;
    const end = (): void => {
      if (!under) return;
      under = false;
      this.reporter.inFlight--;
      leave();
    };
    const decision = this.check(call);
    if (decision.verdict === "deny") {
      stop.abort(new Revoked(decision));
      end();
    }
    return { decision, signal: stop.signal, end };
  }

  async close(): Promise<void> {
    this.closed = true;
    this.wake();
    await this.following;
    clearInterval(this.ticking);
    if (this.reporter.every > 0) {
      this.report("bye");
      await this.nc.flush().catch(() => undefined); // the register notices that no more reports come
    }
    await this.nc.close();
  }

  private filters(): string[] {
    if (!this.core.tenants.length) return [revokePrefix + ".>"];
    return [`${revokePrefix}.~.>`, ...this.core.tenants.map((t) => `${revokePrefix}.${token(t)}.>`)];
  }

  private async watchStatus(): Promise<void> {
    for await (const s of this.nc.status()) if (s.type === "reconnect") this.read(true);
  }

  private read(again: boolean): void {
    this.again ||= again;
    this.due = true;
    this.wake();
  }

  private take(subject: string, data: Uint8Array, sequence: bigint): void {
    const { result, revocation, stopped } = this.core.take(subject, data, sequence);
    if (result.startsWith("refused")) this.say(`${result} on ${subject}`);
    else if (revocation && (result === "applied" || (result === "duplicate" && !sequence))) this.acknowledge(revocation, stopped);
  }

  /** Says hello, and every while that the guard goes on; once more when it is synced. */
  private startReports(): void {
    if (this.reporter.every <= 0) return;
    this.report("hello");
    void this.synced.then(() => this.report("here"));
    this.ticking = setInterval(() => this.report("here"), this.reporter.every);
  }

  private report(kind: Kind): void {
    try {
      this.nc.publish(this.reporter.subject, this.reporter.report(kind, this.loaded, this.o.maxStale ?? 0));
    } catch (e) {
      this.say(`cannot report: ${String(e)}`);
    }
  }

  /** Tells that r is in force, or when it denied its first call. */
  private acknowledge(r: Revocation, stopped: number, deniedAt?: number): void {
    const at = deniedAt ?? Date.now();
    const ack = {
      ...(deniedAt === undefined ? {} : { first_denied_at: new Date(deniedAt).toISOString() }),
      revocation: r.id, guard: this.o.name, tenant: r.tenant, cancelled: stopped,
      applied_at: new Date(at).toISOString(), latency_ns: Number(BigInt(at) * 1_000_000n - r.issuedAt),
    };
    try {
      this.nc.publish(`${ackPrefix}.${token(this.o.name)}`, JSON.stringify(ack));
    } catch (e) { // who publishes hears of it by the missing word
      this.core.count("ack errors");
      this.say(`cannot acknowledge ${r.id}: ${String(e)}`);
    }
  }

  private say(what: string): void { this.o.log?.(`${this.o.name}: ${what}`); }

  /** Reads the stream: at the start, when something is missing, and at least every poll. */
  private async follow(): Promise<void> {
    let swept = monotonic();
    while (!this.closed) {
      this.due = false;
      try {
        await this.readOnce();
      } catch (e) {
        this.core.count("read errors");
        this.say(`cannot read revocations: ${String(e)}`);
      }
      if (monotonic() - swept > 60_000_000_000n) {
        swept = monotonic();
        this.core.active.sweep(this.core.clock());
        for (const [id, until] of this.denied) if (this.core.clock() >= until) this.denied.delete(id);
        if (this.core.full) {
          this.core.full = this.core.active.size >= this.core.maxActive;
          this.again = true;
        }
      }
      await this.pause(this.due ? 20 : this.o.poll ?? 2000);
    }
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wake = () => { clearTimeout(timer); setTimeout(resolve, 20); }; // one reading for all that comes at once
    });
  }

  private async readOnce(): Promise<void> {
    const { pulse } = this.core, began = monotonic(), beat = pulse.beat, again = this.again;
    this.again = false;
    try {
      await this.readOn(again);
      if (beat && pulse.beat === beat && pulse.compare(true) === "differs") await this.readOn(true);
    } catch (e) {
      this.again ||= again;
      throw e;
    }
    if (!beat && began > pulse.upTo) pulse.upTo = began;
    else if (beat && pulse.beat === beat && pulse.compare(true) === "same") pulse.confirm();
    this.core.synced = this.loaded = true;
    this.isSynced();
  }

  /** Reads from where it was read to, or all. What all of it holds takes the place of what was thought to be there;
   * what is in force stays so. */
  private async readOn(anew: boolean): Promise<void> {
    if (anew) {
      this.next.clear();
      this.core.pulse.ledger = new Ledger();
      this.core.pulse.located = 0n;
    }
    for (const subject of this.filters()) while (await this.page(subject)) { /* until a batch is empty */ }
  }

  /** Reads one batch, and reports whether there may be more. */
  private page(subject: string): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const inbox = createInbox();
      let last = 0, timer: NodeJS.Timeout;
      const finish = (act: () => void): void => { clearTimeout(timer); sub.unsubscribe(); act(); };
      const wait = (): void => { clearTimeout(timer); timer = setTimeout(() => finish(() => reject(new Error("no answer"))), answer); };
      const sub = this.nc.subscribe(inbox, { callback: (e, m) => {
        try {
          if (e) throw e;
          const more = this.message(subject, m, last);
          if (more === undefined) return finish(() => resolve(last > 0));
          last = more;
          wait();
        } catch (err) {
          finish(() => reject(err));
        }
      } });
      wait();
      const ask = { seq: this.next.get(subject) ?? 1, next_by_subj: subject, batch };
      try {
        this.nc.publish(directGet, JSON.stringify(ask), { reply: inbox });
      } catch (e) {
        finish(() => reject(e));
      }
    });
  }

  /** Takes one message of a batch and returns its sequence number; undefined at the end. */
  private message(subject: string, m: Msg, last: number): number | undefined {
    const h = m.headers, code = h?.code ?? 0;
    if (code && code !== 204 && code !== 404) throw new Error(`the stream answers ${code}`);
    const said = h?.get("Nats-Last-Sequence");
    if (code !== 404 && said && Number(said) !== last) throw new Error("a message of the stream was lost on the way");
    if (code || !h) return undefined;
    const sequence = Number(h.get("Nats-Sequence"));
    this.take(h.get("Nats-Subject"), m.data, BigInt(sequence));
    this.next.set(subject, sequence + 1);
    return sequence;
  }
}
