// How names are written in NATS subjects.

import { createHash } from "node:crypto";

export const revokePrefix = "estop.v1.revoke";
export const ackPrefix = "estop.v1.ack";
export const beatSubject = "estop.v1.beat";
/** No tenant's name has the token ~. */
export const globalSubject = revokePrefix + ".~.global.~";

export const sha256 = (data: string | Uint8Array): Buffer => createHash("sha256").update(data).digest();

/** One token of a NATS subject for any name; different names have different tokens. */
export function token(name: string): string {
  if (/^[A-Za-z0-9_-]{1,96}$/.test(name) && !name.endsWith("\n")) return name;
  if (Buffer.byteLength(name) <= 96) return "=" + Buffer.from(name).toString("base64url");
  return "~" + sha256(name).toString("base64url");
}

/** What stands for a tenant in heartbeats, hexadecimal. */
export const tenantKey = (tenant: string): string => sha256(tenant).subarray(0, 16).toString("hex");
