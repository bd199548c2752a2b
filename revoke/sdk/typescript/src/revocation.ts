// Revocations, and what of a token is believed.

import { isObject, integer, Key, Keys, maxSkew, Refused, text, type Members } from "./jws.js";
import { globalSubject, revokePrefix, token } from "./names.js";
import { maxApprovals } from "./rules.js";

export const maxTenant = 256, maxSubject = 1024; // bytes
const maxName = 256, maxReason = 2048;
const maxDuration = 30n * 24n * 3600n * 1_000_000_000n;
const maxTime = 9_214_646_400n * 1_000_000_000n; // 2262-01-01
const sessionRevoked = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
const response = "https://github.com/estop-project/estop/secevent/event-type/response";

// The member of sub_id that each scope has.
const members = new Map([["tenant", "tenant"], ["agent", "application"], ["identity", "user"], ["session", "session"],
  ["chain", "chain"], ["global", "global"]]);
const strengths = new Map([["release", 0], ["throttle", 1], ["restrict", 2], ["revoke", 3]]);

/** What stops a target, or, with the action release, what ended that. Times are Unix nanoseconds. */
export interface Revocation {
  readonly id: string; readonly tenant: string; readonly scope: string; readonly subject: string; readonly action: string;
  readonly issuedAt: bigint; readonly validAfter: bigint; readonly until: bigint;
  readonly reason: string; readonly releases: string; readonly shield: bigint;
  readonly detector: string; readonly detection: string; readonly initiator: string; readonly by: string;
  /** The second operator, if there is one. */
  readonly approvedBy: string;
  /** An action that is not known is as strong as the strongest. */
  readonly strength: number;
  readonly natsSubject: string;
  readonly key: Key;
}

export const knownScope = (scope: string): boolean => members.has(scope);

export function checkTime(r: Revocation, now: bigint): void {
  if (r.issuedAt - now > maxSkew) throw new Refused("not_yet_valid");
  if (now >= r.until) throw new Refused("expired");
  r.key.checkTime(now);
}

/** What a token says if it is signed, well formed and on its own subject, whether or not it has ended. */
export function genuine(keys: Keys, data: Uint8Array, natsSubject: string): Revocation {
  const [order, approvals] = open(keys, data, "secevent+jwt");
  order.key.mayIssue(order.initiator, order.by, order.issuedAt);
  const r = keys.rules.any ? approved(keys, order, approvals) : order;
  check(r);
  if (r.natsSubject !== natsSubject) throw new Refused("subject");
  return r;
}

/** Where one operator is enough, approvals that are not good do no harm. */
function approved(keys: Keys, r: Revocation, approvals: string[]): Revocation {
  try {
    return { ...r, approvedBy: second(keys, r, approvals) };
  } catch (e) {
    if (!(e instanceof Refused)) throw e;
    if (keys.rules.want(r)) throw new Refused("unapproved", e.message);
    return r;
  }
}

/** The other operator who agreed to r. All approvals must be good, and of operators who are not the first. */
function second(keys: Keys, r: Revocation, approvals: string[]): string {
  if (r.key.role !== "operator" || approvals.length === 0 || approvals.length > maxApprovals) throw new Refused("unapproved");
  const names = approvals.map((text) => {
    const [a] = open(keys, Buffer.from(text), "estop-approval+jwt");
    if (a.key.role !== "operator" || a.key.name === r.key.name) throw new Refused("unapproved", "no other operator");
    a.key.mayIssue(a.initiator, a.by, a.issuedAt);
    // Of what two people sign, nothing may differ but who they are.
    for (const k of Object.keys(r) as (keyof Revocation)[]) {
      if (k !== "by" && k !== "key" && a[k] !== r[k]) throw new Refused("unapproved", `another ${k}`);
    }
    return a.key.name;
  });
  return names[0]!;
}

/** What a token of a type says, with its approvals, if its signature is good and it names its target. */
function open(keys: Keys, data: Uint8Array, typ: string): [Revocation, string[]] {
  const [claims, key] = keys.open(data, typ);
  if (Object.hasOwn(claims, "sub") || Object.hasOwn(claims, "exp")) throw new Refused("malformed", "sub or exp");
  const events = isObject(claims["events"]) ? Object.entries(claims["events"]) : [];
  const [uri, event] = events[0] ?? [];
  if (events.length !== 1 || !isObject(event) || !isObject(event["estop"])) throw new Refused("malformed", "not one event");
  const approvals = (Object.hasOwn(claims, "approvals") ? claims["approvals"] : null) ?? [];
  if (!Array.isArray(approvals) || approvals.some((a) => typeof a !== "string" || a.startsWith("\0"))) {
    throw new Refused("malformed", "approvals");
  }
  const r = read(claims, event, event["estop"], key);
  if (strengths.has(r.action) && uri !== (r.action === "revoke" ? sessionRevoked : response)) {
    throw new Refused("malformed", "event of the other type");
  }
  checkSubId(claims["sub_id"], r);
  return [r, approvals];
}

function read(claims: Members, event: Members, m: Members, key: Key): Revocation {
  const why = Object.hasOwn(event, "reason_admin") ? event["reason_admin"] : {};
  if (!isObject(why)) throw new Refused("malformed", "reason_admin");
  const tenant = text(m, "tenant", maxTenant), scope = text(m, "scope", maxName);
  const subject = text(m, "subject", maxSubject), action = text(m, "action", maxName), issuedAt = integer(m, "issued_at");
  if (issuedAt <= 0n || integer(claims, "iat") !== issuedAt / 1_000_000_000n) throw new Refused("malformed", "iat");
  return {
    id: text(claims, "jti", maxName), tenant, scope, subject, action, issuedAt,
    validAfter: integer(m, "valid_after", 0n), until: integer(m, "until"),
    reason: text(why, "en", maxReason), releases: text(m, "releases", maxName), shield: integer(m, "shield", 0n),
    detector: text(m, "detector", maxName), detection: text(m, "detection", maxName),
    initiator: text(event, "initiating_entity", maxName), by: text(m, "by", maxName), approvedBy: "",
    strength: strengths.get(action) ?? 3, key,
    natsSubject: scope === "global" ? globalSubject : [revokePrefix, token(tenant), token(scope), token(subject)].join("."),
  };
}

/** sub_id names exactly the target: a member that is missing would mean everything. */
function checkSubId(subId: unknown, r: Revocation): void {
  const want = new Map([["tenant", r.tenant]]);
  if (r.scope !== "tenant") want.set(members.get(r.scope) ?? "other", r.subject);
  if (!isObject(subId) || subId["format"] !== "complex" || !r.tenant || !r.subject) throw new Refused("underfilled");
  for (const name of [...members.values(), "other"]) {
    const member = Object.hasOwn(subId, name) ? subId[name] : undefined;
    const same = isObject(member) ? member["format"] === "opaque" && member["id"] === want.get(name)
      : member === undefined && !want.has(name);
    if (!same) throw new Refused("underfilled", name);
  }
}

function check(r: Revocation): void {
  const wrong = !r.id || !r.scope || !r.action || !r.reason || !["policy", "admin"].includes(r.initiator)
    || (r.scope === "tenant" && r.subject !== r.tenant)
    || (r.scope === "global" && (r.tenant !== "~" || r.subject !== "~"))
    || r.issuedAt >= maxTime || r.until <= r.issuedAt || r.until - r.issuedAt > maxDuration || r.validAfter >= maxTime
    || (r.releases !== "" && r.action !== "release")
    || (r.shield !== 0n && (r.action !== "release" || r.shield > r.until));
  if (wrong) throw new Refused("malformed");
}
