// Signed tokens: form, type, key and signature.

import { createPublicKey, verify, type KeyObject } from "node:crypto";
import { sha256 } from "./names.js";
import { Rules } from "./rules.js";

const maxToken = 16 << 10;
export const maxSkew = 120_000_000_000n; // ns
const second = 1_000_000_000n;

/** A message that is not believed. */
export class Refused extends Error {
  constructor(readonly reason: string, detail = "") {
    super(detail ? `${reason}: ${detail}` : reason);
  }
}

export type Members = { [name: string]: unknown };

export const isObject = (v: unknown): v is Members => typeof v === "object" && v !== null && !Array.isArray(v);

/** Reads an object. Integers of 64 bits do not fit into a number: they become texts behind a NUL. */
export function parse(raw: Uint8Array): Members {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(raw);
    const marked = text.replace(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (m) =>
      /^-?(?:0|[1-9]\d*)$/.test(m) ? `"\\u0000${m}"` : m);
    const value: unknown = JSON.parse(marked);
    if (isObject(value)) return value;
  } catch { /* told below */ }
  throw new Refused("malformed", "not a JSON object");
}

/** A member that is a text; empty where there is none. */
export function text(m: Members, name: string, most: number): string {
  const v = Object.hasOwn(m, name) ? m[name] : "";
  if (typeof v !== "string" || v.startsWith("\0") || Buffer.byteLength(v) > most) throw new Refused("malformed", name);
  return v;
}

/** A member that is an integer of 64 bits; 0 where there is none. */
export function integer(m: Members, name: string, least = -(2n ** 63n)): bigint {
  const v = Object.hasOwn(m, name) ? m[name] : "\0" + "0";
  if (typeof v !== "string" || !/^\0-?\d{1,19}$/.test(v)) throw new Refused("malformed", name);
  const n = BigInt(v.slice(1));
  if (n < least || n >= 2n ** 63n) throw new Refused("malformed", name);
  return n;
}

/** Decodes base64url that has one way of being written. */
export function canonical(part: string): Buffer {
  const raw = Buffer.from(part, "base64url");
  if (raw.length === 0 || raw.toString("base64url") !== part) throw new Refused("malformed", "base64url");
  return raw;
}

/** A public key, what it may sign and when; seconds, 0 for no bound. */
export class Key {
  constructor(readonly key: KeyObject, readonly role: string, readonly name: string,
    private readonly notBefore: bigint, private readonly notAfter: bigint) {}

  mayIssue(initiator: string, by: string, issuedAt: bigint): void {
    const ok = this.role === "" || (this.role === "detector" && initiator === "policy")
      || (this.role === "operator" && initiator === "admin" && by === this.name);
    if (!ok) throw new Refused("role");
    this.covers(issuedAt);
  }

  mayTell(issuedAt: bigint): void {
    if (this.role !== "" && this.role !== "detector") throw new Refused("role");
    this.covers(issuedAt);
  }

  private covers(issuedAt: bigint): void {
    this.checkTime(issuedAt);
    if (this.notBefore && issuedAt < this.notBefore * second) throw new Refused("key_time");
  }

  checkTime(now: bigint): void {
    if (this.notAfter && now > this.notAfter * second) throw new Refused("key_time");
  }
}

/** The public keys that may sign, out of a JWK set. */
export class Keys {
  private constructor(private readonly byId: Map<string, Key>, readonly rules: Rules, readonly issuer: string, readonly audience: string) {}

  /** Reads a JWK set. One with a demand that is not known here is refused: leaving it out would trust too much. */
  static parse(jwks: string | Uint8Array, issuer = "estop", audience = "estop-guards"): Keys {
    const set = parse(Buffer.from(jwks));
    if (!Array.isArray(set["keys"]) || set["keys"].length === 0) throw new Error("not a JWK set with a key");
    only(set, ["keys", "estop"]);
    return new Keys(new Map(set["keys"].map(parseKey)), Rules.parse(set["estop"]), issuer, audience);
  }

  /** Checks form, type and signature, and returns the payload and who signed it. */
  open(data: Uint8Array, typ: string): [Members, Key] {
    if (data.length > maxToken) throw new Refused("too_large");
    const parts = Buffer.from(data).toString("latin1").split(".");
    const [head, payload, signature] = parts.map(canonical);
    if (parts.length !== 3 || !head || !payload || !signature) throw new Refused("malformed", "not three parts");
    const h = parse(head);
    if (Object.keys(h).some((k) => !["alg", "kid", "typ"].includes(k))) throw new Refused("malformed", "header");
    if (text(h, "typ", maxToken) !== typ) throw new Refused("type");
    if (text(h, "alg", maxToken) !== "EdDSA") throw new Refused("algorithm");
    const key = this.byId.get(text(h, "kid", maxToken));
    if (!key) throw new Refused("unknown_key");
    if (!verify(null, Buffer.from(`${parts[0]}.${parts[1]}`), key.key, signature)) throw new Refused("signature");
    const claims = parse(payload);
    if (!this.issuer || claims["iss"] !== this.issuer) throw new Refused("issuer");
    if (claims["aud"] !== this.audience) throw new Refused("audience");
    return [claims, key];
  }
}

function only(m: Members, known: string[]): void {
  const unknown = Object.keys(m).filter((k) => !known.includes(k));
  if (unknown.length) throw new Error(`the key set has what this version does not know: ${unknown.join(", ")}`);
}

function parseKey(jwk: unknown): [string, Key] {
  if (!isObject(jwk) || jwk["kty"] !== "OKP" || jwk["crv"] !== "Ed25519") throw new Error("not a public Ed25519 key");
  only(jwk, ["kty", "crv", "x", "kid", "alg", "use", "nbf", "exp", "estop"]);
  const use = Object.hasOwn(jwk, "estop") ? jwk["estop"] : {};
  if (!isObject(use) || (Object.hasOwn(jwk, "estop") && !use["role"])) throw new Error("a key's role is missing");
  only(use, ["role", "name"]);
  const x = text(jwk, "x", 64), role = text(use, "role", 256), name = text(use, "name", 256);
  canonical(x);
  const kid = sha256(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`).toString("base64url");
  if ((jwk["kid"] ?? kid) !== kid) throw new Error("a key id is not the key's thumbprint");
  if (["operator", "detector"].includes(role) && (role === "operator") !== (name !== "")) {
    throw new Error("an operator's key needs a name, and no other key has one");
  }
  const notBefore = integer(jwk, "nbf", 0n), notAfter = integer(jwk, "exp", 0n);
  if (notAfter && notAfter < notBefore) throw new Error("a key's exp comes before its nbf");
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  return [kid, new Key(key, role, name, notBefore, notAfter)];
}
