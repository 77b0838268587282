/**
 * Which request targets are known to stand for which shared read. A target is remembered once the router has
 * answered it; from then on it costs one look-up instead of parsing and routing.
 */
import type { ReplyRead } from "./shared.ts";

/** Beyond this the target remembered first is forgotten. */
export const hotTargetsMax = 8192;
/** Longer targets are not remembered, so that memory stays bounded in bytes too. */
export const hotTargetBytesMax = 512;

export class HotReads {
  readonly #reads = new Map<string, ReplyRead>();

  get(target: string): ReplyRead | undefined {
    return this.#reads.get(target);
  }

  /** `target` without `index` and `wait`. */
  remember(target: string, read: ReplyRead): void {
    if (target.length > hotTargetBytesMax) return;
    if (this.#reads.size >= hotTargetsMax) {
      const [oldest] = this.#reads.keys();
      if (oldest !== undefined) this.#reads.delete(oldest);
    }
    this.#reads.set(target, read);
  }

  /** After a reload: what a target means may have changed. */
  clear(): void {
    this.#reads.clear();
  }

  get size(): number {
    return this.#reads.size;
  }
}

export interface BlockingTarget {
  /** The target without `index` and `wait`. */
  readonly target: string;
  readonly index: string;
  readonly wait: string;
}

/** Takes `index` and `wait` out of a target; undefined when one is repeated or the query is unusual. */
export function splitBlocking(target: string): BlockingTarget | undefined {
  const question = target.indexOf("?");
  if (question < 0) return { target, index: "", wait: "" };
  const query = target.slice(question + 1);
  if (/[;%+#]/.test(query)) return undefined;
  let index: string | undefined;
  let wait: string | undefined;
  const kept: string[] = [];
  for (const field of query.split("&")) {
    if (field.startsWith("index=")) {
      if (index !== undefined) return undefined;
      index = field.slice(6);
    } else if (field.startsWith("wait=")) {
      if (wait !== undefined) return undefined;
      wait = field.slice(5);
    } else if (field === "index" || field === "wait") return undefined;
    else if (field !== "") kept.push(field);
  }
  const path = target.slice(0, question);
  return { target: kept.length === 0 ? path : `${path}?${kept.join("&")}`, index: index ?? "", wait: wait ?? "" };
}
