import type { Cancel } from "../../core/types/cancel.ts";

/**
 * A `Cancel` of a few dozen bytes. Thousands of requests wait at the same time, each with one of these; the platform's
 * AbortController costs a kilobyte.
 */
export class RequestCancel implements Cancel {
  #aborted = false;
  #reason: unknown;
  /** One listener is the rule; more are kept in an array. */
  #listeners: (() => void) | (() => void)[] | undefined;

  get aborted(): boolean {
    return this.#aborted;
  }

  get reason(): unknown {
    return this.#reason;
  }

  addEventListener(_type: "abort", listener: () => void): void {
    if (this.#aborted) return;
    const held = this.#listeners;
    if (held === undefined) this.#listeners = listener;
    else if (typeof held === "function") this.#listeners = [held, listener];
    else held.push(listener);
  }

  removeEventListener(_type: "abort", listener: () => void): void {
    const held = this.#listeners;
    if (held === listener) this.#listeners = undefined;
    else if (Array.isArray(held)) this.#listeners = held.filter((other) => other !== listener);
  }

  /** Tells every listener, once. */
  abort(reason: unknown): void {
    if (this.#aborted) return;
    this.#aborted = true;
    this.#reason = reason;
    const held = this.#listeners;
    this.#listeners = undefined;
    if (typeof held === "function") held();
    else for (const listener of held ?? []) listener();
  }
}
