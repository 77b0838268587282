import { AgentError } from "./errors.ts";

/** The part of AbortSignal that core needs; every AbortSignal is one. */
export interface Cancel {
  readonly aborted: boolean;
  readonly reason: unknown;
  addEventListener(type: "abort", listener: () => void): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

/** What a request is answered with whose client no longer waits. */
export function clientGone(): AgentError {
  return new AgentError("cancelled", { message: "The client went away" });
}
