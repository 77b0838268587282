/**
 * `test` and `assert` over node:test, which Node, Bun and Deno all run; and the trap for ambient time and chance.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Machine } from "../../core/machine.ts";
import type { Millis } from "../../core/types/ids.ts";

export { assert, describe, it };

const traps: readonly [object, string][] = [
  [Date, "now"],
  [Math, "random"],
  [performance, "now"],
  [globalThis, "setTimeout"],
  [globalThis, "setInterval"],
  [globalThis, "setImmediate"],
  [globalThis, "queueMicrotask"],
];

/** Runs `act`; reaching for the time, a timer or chance meanwhile throws, also from inside a library. */
export function trapAmbient<Result>(act: () => Result): Result {
  const saved = traps.map(([owner, name]) => Object.getOwnPropertyDescriptor(owner, name));
  for (const [owner, name] of traps) {
    Object.defineProperty(owner, name, {
      configurable: true,
      writable: true,
      value: () => {
        throw new Error(`${name} called while a machine steps: take Clock or Random`);
      },
    });
  }
  try {
    return act();
  } finally {
    traps.forEach(([owner, name], at) => {
      const descriptor = saved[at];
      // Some are inherited: there the trap is taken away again.
      if (descriptor === undefined) Reflect.deleteProperty(owner, name);
      else Object.defineProperty(owner, name, descriptor);
    });
  }
}

/** Steps a machine under the trap and lets it check its own invariants. */
export function stepTrapped<Input>(machine: Machine<Input> & { validate?(): void }, now: Millis, input: Input): void {
  trapAmbient(() => {
    machine.step(now, input);
    machine.validate?.();
  });
}
