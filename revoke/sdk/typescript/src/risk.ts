// Risks: how high a detector says that the risk of an agent is.

import { integer, isObject, Keys, maxSkew, Refused, text, type Members } from "./jws.js";
import { token } from "./names.js";
import { maxSubject, maxTenant } from "./revocation.js";

export const riskPrefix = "estop.v1.risk";
const riskEvent = "https://schemas.openid.net/secevent/caep/event-type/risk-level-change";
const maxToken = 8 << 10, maxName = 256, maxReason = 2048;
const maxFor = 30n * 24n * 3600n * 1_000_000_000n;
const maxTime = 9_214_646_400n * 1_000_000_000n; // 2262-01-01
const levels = new Map<string, Level>([["LOW", "low"], ["MEDIUM", "medium"], ["HIGH", "high"]]);
const ranks = ["unknown", "low", "medium", "high"];
const others = ["user", "session", "chain", "global", "other"]; // members of a sub_id that an agent's has not

export type Level = "low" | "medium" | "high";

/** A detector's word on an agent. Times are Unix nanoseconds. */
export interface Risk {
  readonly tenant: string; readonly agent: string; readonly source: string; readonly level: Level;
  /** 0 to 100. */
  readonly score: number;
  readonly issuedAt: bigint; readonly until: bigint; readonly reason: string;
}

/** A risk that is signed, on its own subject, and holds now. */
export function readRisk(keys: Keys, subject: string, data: Uint8Array, now: bigint): Risk {
  if (data.length > maxToken) throw new Refused("too_large");
  const [claims, key] = keys.open(data, "estop-risk+jwt");
  const r = read(claims);
  key.mayTell(r.issuedAt);
  if ([riskPrefix, token(r.tenant), token(r.agent), token(r.source)].join(".") !== subject) throw new Refused("underfilled");
  if (r.issuedAt - now > maxSkew) throw new Refused("not_yet_valid");
  if (now >= r.until) throw new Refused("expired");
  return r;
}

function read(claims: Members): Risk {
  text(claims, "jti", maxName);
  const events = claims["events"], subId = claims["sub_id"];
  const event = isObject(events) && Object.keys(events).length === 1 ? events[riskEvent] : undefined;
  if (Object.hasOwn(claims, "sub") || Object.hasOwn(claims, "exp") || !isObject(event) || !isObject(event["estop"]) || !isObject(subId)) {
    throw new Refused("malformed", "not one event of a risk");
  }
  const m = event["estop"], level = levels.get(text(event, "current_level", maxName)), score = integer(m, "score");
  const r = {
    tenant: nameOf(subId, "tenant", maxTenant), agent: nameOf(subId, "application", maxSubject), source: text(m, "source", maxName),
    score: Number(score), issuedAt: integer(m, "issued_at"), until: integer(m, "until"), reason: text(event, "risk_reason", maxReason),
  };
  const good = r.tenant && r.agent && r.source && score >= 0n && score <= 100n
    && text(event, "principal", maxName) === "APPLICATION"
    && subId["format"] === "complex" && !others.some((o) => Object.hasOwn(subId, o))
    && r.issuedAt > 0n && r.until > r.issuedAt && r.until - r.issuedAt <= maxFor && r.until < maxTime
    && integer(claims, "iat") === r.issuedAt / 1_000_000_000n;
  if (!good || !level) throw new Refused("malformed", "risk");
  return { ...r, level };
}

function nameOf(subId: Members, member: string, most: number): string {
  const m = subId[member];
  if (!isObject(m) || m["format"] !== "opaque") throw new Refused("malformed", member);
  return text(m, "id", most);
}

/** What is known of agents: the last risk of each source, until its end. */
export class Risks {
  private readonly known = new Map<string, Map<string, Risk>>();

  constructor(private readonly keys: Keys) {}

  /** Takes a message, of the connection or of the stream; one that is not believed throws Refused. */
  take(subject: string, data: Uint8Array, now: bigint): void {
    const r = readRisk(this.keys, subject, data, now), name = JSON.stringify([r.tenant, r.agent]);
    const sources = this.known.get(name) ?? new Map<string, Risk>(), old = sources.get(r.source);
    this.known.set(name, sources);
    if (!old || r.issuedAt > old.issuedAt) sources.set(r.source, r);
  }

  /** Of what holds now the highest. Where nothing does, the risk is unknown, which is never low. */
  of(tenant: string, agent: string, now: bigint): { level: Level | "unknown"; score: number } {
    let worst: Risk | undefined;
    for (const r of this.known.get(JSON.stringify([tenant, agent]))?.values() ?? []) {
      if (now >= r.until) continue;
      const apart = worst ? ranks.indexOf(r.level) - ranks.indexOf(worst.level) || r.score - worst.score : 1;
      if (apart > 0) worst = r;
    }
    return worst ?? { level: "unknown", score: 100 };
  }

  /** Forgets what has ended. */
  sweep(now: bigint): void {
    for (const [name, sources] of this.known) {
      for (const [source, r] of sources) if (now >= r.until) sources.delete(source);
      if (sources.size === 0) this.known.delete(name);
    }
  }
}
