import type { SerfInput } from "../../core/serf/inputs.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import type { Millis } from "../../core/types/ids.ts";
import type { GossipHost, Observation } from "./gossip-host.ts";

/** Looked at around each step of each member. Throws a Violation. */
export interface GossipChecks {
  before(host: GossipHost, input: SerfInput): void;
  observed(now: Millis, host: GossipHost, what: Observation): void;
  sent(host: GossipHost, packet: Bytes): void;
  after(now: Millis, host: GossipHost, input: SerfInput): void;
}

export const noChecks: GossipChecks = { before: () => {}, observed: () => {}, sent: () => {}, after: () => {} };
