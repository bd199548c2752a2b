// The active set: what is in force, and what that means for a call.

import { knownScope, maxSubject, maxTenant, type Revocation } from "./revocation.js";
import { weakens } from "./rules.js";

export type Verdict = "allow" | "throttle" | "restrict" | "deny";

/** What a guard must know of a call. One without tenant or agent is denied. */
export interface Call {
  tenant: string; agent: string; identity?: string; session?: string; chain?: readonly string[];
  /** Unix nanoseconds; none: not known. */
  credentialIssuedAt?: bigint;
}

/** The answer to a call, and why. */
export interface Decision { verdict: Verdict; reason: string; revocation?: Revocation }

const verdicts = new Map<string, Verdict>([["release", "allow"], ["throttle", "throttle"], ["restrict", "restrict"]]);
const any = "*"; // the kind of scopes that are not known: they stop whatever bears the name

const target = (kind: string, tenant: string, subject: string): string => `${kind}:${tenant.length}:${tenant}:${subject}`;
export const targetOf = (r: Revocation): string => target(knownScope(r.scope) ? r.scope : any, r.tenant, r.subject);

/** The targets that stop a call. */
export function targets(c: Call): string[] {
  const list = [target("global", "~", "~"), target("tenant", c.tenant, c.tenant)];
  for (const agent of new Set([c.agent, ...(c.chain ?? [])])) {
    if (agent) list.push(target("agent", c.tenant, agent), target("chain", c.tenant, agent), target(any, c.tenant, agent));
  }
  if (c.identity) list.push(target("identity", c.tenant, c.identity), target(any, c.tenant, c.identity));
  if (c.session) list.push(target("session", c.tenant, c.session), target(any, c.tenant, c.session));
  return list;
}

export const inForce = (r: Revocation, c: Call, now: bigint): boolean =>
  r.strength > 0 && now < r.until && (r.validAfter === 0n || (c.credentialIssuedAt ?? 0n) <= r.validAfter);

/** The last message that holds for each target. Releases stay until their end, so that nothing older undoes them. */
export class ActiveSet {
  private readonly held = new Map<string, Revocation>();

  get size(): number { return this.held.size; }

  knows(r: Revocation): boolean { return this.held.has(targetOf(r)); }

  /** guarded says that it takes two operators to weaken anything. */
  apply(r: Revocation, now: bigint, guarded = false): "applied" | "duplicate" | "superseded" {
    const key = targetOf(r), old = this.held.get(key);
    if (old && now < old.until) {
      if (old.id === r.id) return "duplicate";
      if (!replaces(r, old, guarded)) return "superseded";
    }
    this.held.set(key, r);
    return "applied";
  }

  /** The strongest revocation in force that the call meets decides. */
  decide(c: Call, now: bigint): Decision {
    let best: Revocation | undefined;
    for (const t of targets(c)) {
      const r = this.held.get(t);
      if (r && (!best || r.strength > best.strength) && inForce(r, c, now)) best = r;
    }
    return best ? { verdict: verdicts.get(best.action) ?? "deny", reason: best.reason, revocation: best } : { verdict: "allow", reason: "" };
  }

  /** Forgets what has ended. */
  sweep(now: bigint): void {
    for (const [key, r] of this.held) if (now >= r.until) this.held.delete(key);
  }
}

/** Why a call would walk past the switch; empty where it would not. */
export function unsafe(c: Call): string {
  if (!c.tenant || !c.agent) return "unidentified: the call has no tenant or no agent";
  const long = [c.agent, c.identity ?? "", c.session ?? "", ...(c.chain ?? [])].some((n) => Buffer.byteLength(n) > maxSubject);
  return long || Buffer.byteLength(c.tenant) > maxTenant ? "unstoppable: a name of the call is longer than a revocation can carry" : "";
}

function replaces(r: Revocation, old: Revocation, guarded: boolean): boolean {
  const later = isLater(r, old);
  if (!guarded || r.scope !== old.scope) return later;
  // What one operator has ordered does not hold against an earlier order that stops more, in whatever order they come.
  return later ? r.approvedBy !== "" || !weakens(r, old) : old.approvedBy === "" && weakens(old, r);
}

function isLater(r: Revocation, old: Revocation): boolean {
  if (r.scope !== old.scope) { // two scopes that are not known share a name: keep what stops more
    return r.strength !== old.strength ? r.strength > old.strength : r.until > old.until;
  }
  if (r.releases === old.id) return true;
  if (old.releases === r.id) return false;
  if (r.issuedAt !== old.issuedAt) return r.issuedAt > old.issuedAt;
  if (r.strength !== old.strength) return r.strength > old.strength;
  return Buffer.compare(Buffer.from(r.id), Buffer.from(old.id)) > 0;
}
