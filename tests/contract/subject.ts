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
  /** Runs a test's body to its end; the simulator makes time pass meanwhile. */
  run(body: () => Promise<void>): Promise<void>;
  /** Sentences of the contract that do not hold here, each with its reason. */
  readonly gaps: Readonly<Record<string, string>>;
}

/** One sentence of a contract. A gap is shown with its reason, never passed over in silence. */
export function claim(subject: Subject, sentence: string, body: () => Promise<void>): void {
  const reason = subject.gaps[sentence];
  if (reason === undefined) it(sentence, () => subject.run(body));
  else it(`${sentence} [gap on ${subject.name}: ${reason}]`, { skip: true }, () => {});
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
