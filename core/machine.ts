import type { Millis } from "./types/ids.ts";

/**
 * A protocol with its input and output removed.
 *
 * `step` changes state and never waits; `take…` methods of the concrete machine hand out the work that follows, each
 * pulled when its consumer is idle; `wakeAt` says when to call again. A machine holds no port except a `Random` of its
 * own, owns what it returns until the next `take`, and never throws for anything a peer can cause.
 */
export interface Machine<Input> {
  /** Feed one event. `now` is monotonic and never goes backwards. */
  step(now: Millis, input: Input): void;
  /** When `step(now, { kind: "wake" })` is due; Infinity for never. */
  readonly wakeAt: Millis;
}
