// Revocations, and what of a token is believed.

import { isObject, integer, Key, Keys, maxSkew, Refused, text, type Members } from "./jws.js";
import { globalSubject, revokePrefix, token } from "./names.js";

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
  readonly reason: string; readonly releases: string;
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
  const [claims, key] = keys.open(data, "secevent+jwt");
  if (Object.hasOwn(claims, "sub") || Object.hasOwn(claims, "exp")) throw new Refused("malformed", "sub or exp");
  const events = isObject(claims["events"]) ? Object.entries(claims["events"]) : [];
  const [uri, event] = events[0] ?? [];
  if (events.length !== 1 || !isObject(event) || !isObject(event["estop"])) throw new Refused("malformed", "not one event");
  const m = event["estop"];
  const r = read(claims, event, m, key);
  if (strengths.has(r.action) && uri !== (r.action === "revoke" ? sessionRevoked : response)) {
    throw new Refused("malformed", "event of the other type");
  }
  checkSubId(claims["sub_id"], r);
  const initiator = text(event, "initiating_entity", maxName);
  key.mayIssue(initiator, text(m, "by", maxName), r.issuedAt);
  check(r, initiator, m);
  if (r.natsSubject !== natsSubject) throw new Refused("subject");
  return r;
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
    reason: text(why, "en", maxReason), releases: text(m, "releases", maxName),
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

function check(r: Revocation, initiator: string, m: Members): void {
  const shield = integer(m, "shield", 0n);
  for (const name of ["detector", "detection"]) text(m, name, maxName);
  const wrong = !r.id || !r.scope || !r.action || !r.reason || !["policy", "admin"].includes(initiator)
    || (r.scope === "tenant" && r.subject !== r.tenant)
    || (r.scope === "global" && (r.tenant !== "~" || r.subject !== "~"))
    || r.issuedAt >= maxTime || r.until <= r.issuedAt || r.until - r.issuedAt > maxDuration || r.validAfter >= maxTime
    || (r.releases !== "" && r.action !== "release")
    || (shield !== 0n && (r.action !== "release" || shield > r.until));
  if (wrong) throw new Refused("malformed");
}
