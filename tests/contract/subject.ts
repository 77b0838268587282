/**
 * What a contract suite is run against. One suite per port, each a function of a subject; tests/runtimes runs them all
 * against the runtime it is executed on, and against the simulator.
 */
import type { Runtime } from "../../core/ports/mod.ts";
import { it } from "../support/harness.ts";

export interface Subject<Ports extends keyof Runtime = never> {
  readonly name: string;
  readonly runtime: Runtime & Required<Pick<Runtime, Ports>>;
  /** Where it can listen. */
  readonly address: string;
  /** A port that nobody else takes once it is free again, as may happen to one that the system picked; 0 where all are ours. */
  port(): Promise<number>;
  /** Runs a test's body to its end; the simulator makes time pass meanwhile. */
  run(body: () => Promise<void>): Promise<void>;
  /** Sentences of the contract that do not hold here, each with its reason. */
  readonly gaps: Readonly<Record<string, string>>;
}

/** For what takes no time unless the whole machine stands still, in milliseconds. */
export const ample = 60_000;

/** One sentence of a contract. A gap is shown with its reason, never passed over in silence. */
export function claim(subject: Subject, sentence: string, body: () => Promise<void>): void {
  const reason = subject.gaps[sentence];
  if (reason === undefined) it(sentence, () => subject.run(body));
  else it(`${sentence} [gap on ${subject.name}: ${reason}]`, { skip: true }, () => {});
}

/**
 * Again, when a time limit was over: a handshake has one of seconds, and the machine may stand still for as long. Not for
 * ever: what never comes in time is shown.
 */
export async function beyondTimeouts<Value>(act: () => Promise<Value>): Promise<Value> {
  for (let tries = 1; ; tries++) {
    try {
      return await act();
    } catch (error) {
      if ((error as { readonly code?: string }).code !== "timeout" || tries === 5) throw error;
    }
  }
}

/** A promise with its handles outside. */
export function deferred<Value>(): { readonly promise: Promise<Value>; readonly resolve: (value: Value) => void } {
  let resolve: (value: Value) => void = () => {};
  const promise = new Promise<Value>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

/** Rejects with what was rejected; a promise that resolves is the error. */
export async function rejection(promise: Promise<unknown>): Promise<Error & { readonly code?: string }> {
  try {
    await promise;
  } catch (error) {
    return error as Error & { readonly code?: string };
  }
  throw new Error("expected a rejection");
}

/** `count` bytes that differ from their neighbours. */
export function pattern(count: number): Uint8Array {
  const bytes = new Uint8Array(count);
  for (let at = 0; at < count; at++) bytes[at] = (at * 31 + (at >> 8)) & 255;
  return bytes;
}
