// What a key set demands beside a good signature: which orders take two operators.

import { isObject } from "./jws.js";
import type { Revocation } from "./revocation.js";

export const maxApprovals = 4;
const demands = ["release", "tenant", "global"];
const breakGlassLimit = 15n * 60n * 1_000_000_000n;

export class Rules {
  private constructor(private readonly twoPerson: ReadonlySet<string>, private readonly breakGlass: boolean) {}

  /** Reads the member estop of a key set. What is not known here is refused: leaving out a demand would trust too much. */
  static parse(doc: unknown): Rules {
    if (doc === undefined || doc === null) return new Rules(new Set(), false);
    if (!isObject(doc)) throw new Error("the key set's estop is not an object");
    const unknown = Object.keys(doc).filter((k) => !["two_person", "break_glass"].includes(k));
    if (unknown.length) throw new Error(`the key set demands what this version does not know: ${unknown.join(", ")}`);
    const two = doc["two_person"] ?? [], glass = doc["break_glass"] ?? false;
    if (!Array.isArray(two) || typeof glass !== "boolean") throw new Error("the key set's estop is not as it must be");
    for (const d of two) if (!demands.includes(d)) throw new Error(`two_person: ${String(d)} is not known`);
    return new Rules(new Set(two), glass);
  }

  get any(): boolean { return this.twoPerson.size > 0; }

  /** Nothing in force may be weakened by one operator alone: an order that stops less would be a release under another name. */
  get guarded(): boolean { return this.twoPerson.has("release"); }

  /** Whether r takes a second operator. */
  want(r: Revocation): boolean {
    const release = r.action === "release";
    if (this.breakGlass && !release && r.initiator === "admin" && r.until - r.issuedAt <= breakGlassLimit) return false;
    return release ? this.guarded : ["tenant", "global"].includes(r.scope) && this.twoPerson.has(r.scope);
  }
}

/** Whether r, in the place of old, would stop less. */
export function weakens(r: Revocation, old: Revocation): boolean {
  if (r.strength !== old.strength) return r.strength < old.strength;
  if (old.strength === 0) return false; // one release in the place of another
  if (r.until < old.until) return true;
  if (old.validAfter === 0n) return r.validAfter !== 0n;
  return r.validAfter > 0n && r.validAfter < old.validAfter;
}
