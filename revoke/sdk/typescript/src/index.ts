export type { Call, Decision, Verdict } from "./active.js";
export { Guard, Revoked, type GuardOptions, type InFlight } from "./guard.js";
export { Keys } from "./jws.js";
export type { Revocation } from "./revocation.js";
