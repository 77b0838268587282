/**
 * Is a history of operations one that a single copy could have produced, each operation taking effect at some moment
 * between its call and its return?
 *
 * The search of Wing and Gong ("Testing and verifying concurrent objects", 1993) with the cache of Lowe ("Testing for
 * linearizability", 2017): walk a linked list of calls and returns; an operation whose call is reached may be tried next;
 * when a return is reached first, the last choice was wrong. A pair (set of operations tried, state) is looked at once.
 *
 *   calls     |--A--|                       the list: A( B( A) C( B) C)
 *             state0   |-----B-----|
 *                           |--C--|
 *
 * Intervals are closed: an operation that returns at 2 is concurrent with one called at 2. One that never returned has
 * its return at Infinity: it may take effect at any later time, or, its output unknown, never be seen.
 * Time is exponential in how many overlap; keep to some hundreds of operations per object.
 */
import type { Millis } from "../../core/types/ids.ts";

export interface Operation<Input, Output> {
  readonly client: number;
  readonly call: Millis;
  /** Infinity: no answer came, it may have happened or not. */
  readonly return: Millis;
  readonly input: Input;
  /** Undefined: no answer came. */
  readonly output: Output | undefined;
}

/** A pure model of the object. */
export interface Model<State, Input, Output> {
  readonly initial: State;
  /** The state after; undefined when `output` is impossible in this state. An undefined output is any that is possible. */
  step(state: State, input: Input, output: Output | undefined): State | undefined;
  /** Equal for equal states. */
  key(state: State): string;
}

export type Verdict =
  | { readonly kind: "linearizable" }
  /** `stuck`: the operations of the longest prefix found cannot be followed by this one. */
  | { readonly kind: "impossible"; readonly stuck: number }
  /** More than `stepsMax` steps. */
  | { readonly kind: "unknown" };

/** Steps of the search before it gives up. */
const stepsMax = 3_000_000;

interface Node {
  readonly operation: number;
  /** Of a call: its return. Undefined marks a return. */
  readonly match: Node | undefined;
  next: Node | undefined;
  previous: Node | undefined;
}

export function linearizable<State, Input, Output>(
  model: Model<State, Input, Output>,
  history: readonly Operation<Input, Output>[],
): Verdict {
  const head = linked(history);
  const tried = new Bits(history.length);
  const cache = new Set<string>();
  const taken: { readonly node: Node; readonly state: State }[] = [];
  let state = model.initial;
  let node = head.next;
  let longest = -1;
  let stuck = 0;
  // What never returned need not have happened: done when all that returned is placed.
  let open = history.filter((operation) => operation.return !== Number.POSITIVE_INFINITY).length;
  for (let steps = 0; open > 0; steps++) {
    if (steps > stepsMax) return { kind: "unknown" };
    if (node?.match !== undefined) {
      const { input, output } = history[node.operation] as Operation<Input, Output>;
      const after = model.step(state, input, output);
      if (after !== undefined) {
        tried.set(node.operation);
        const seen = `${tried.key()}|${model.key(after)}`;
        if (!cache.has(seen)) {
          cache.add(seen);
          taken.push({ node, state });
          state = after;
          if ((history[node.operation] as Operation<Input, Output>).return !== Number.POSITIVE_INFINITY) open--;
          lift(node);
          node = head.next;
          continue;
        }
        tried.clear(node.operation);
      }
      node = node.next;
      continue;
    }
    // A return before its call was placed, or the end: take the last choice back.
    if (taken.length > longest) {
      longest = taken.length;
      stuck = node?.operation ?? 0;
    }
    const last = taken.pop();
    if (last === undefined) return { kind: "impossible", stuck };
    state = last.state;
    tried.clear(last.node.operation);
    if ((history[last.node.operation] as Operation<Input, Output>).return !== Number.POSITIVE_INFINITY) open++;
    unlift(last.node);
    node = last.node.next;
  }
  return { kind: "linearizable" };
}

/** Calls and returns in order of time, behind a head; at one time calls come first. */
function linked(history: readonly Operation<unknown, unknown>[]): Node {
  const points: { readonly at: Millis; readonly isReturn: boolean; readonly operation: number }[] = [];
  history.forEach((operation, index) => {
    points.push({ at: operation.call, isReturn: false, operation: index });
    points.push({ at: operation.return, isReturn: true, operation: index });
  });
  points.sort(
    (left, right) =>
      compare(left.at, right.at) || Number(left.isReturn) - Number(right.isReturn) || left.operation - right.operation,
  );
  const returns = history.map((_, operation): Node => ({ operation, match: undefined, next: undefined, previous: undefined }));
  const head: Node = { operation: -1, match: undefined, next: undefined, previous: undefined };
  let last = head;
  for (const { isReturn, operation } of points) {
    const match = returns[operation] as Node;
    const node: Node = isReturn ? match : { operation, match, next: undefined, previous: undefined };
    node.previous = last;
    last.next = node;
    last = node;
  }
  return head;
}

/** Infinity equals itself, which subtraction would not show. */
function compare(left: Millis, right: Millis): number {
  return left === right ? 0 : left < right ? -1 : 1;
}

function lift(call: Node): void {
  detach(call);
  detach(call.match as Node);
}
function unlift(call: Node): void {
  attach(call.match as Node);
  attach(call);
}
function detach(node: Node): void {
  if (node.previous !== undefined) node.previous.next = node.next;
  if (node.next !== undefined) node.next.previous = node.previous;
}
function attach(node: Node): void {
  if (node.previous !== undefined) node.previous.next = node;
  if (node.next !== undefined) node.next.previous = node;
}

class Bits {
  readonly #words: Uint32Array;

  constructor(size: number) {
    this.#words = new Uint32Array((size + 31) >> 5);
  }

  set(at: number): void {
    this.#words[at >> 5] = (this.#words[at >> 5] as number) | (1 << (at & 31));
  }
  clear(at: number): void {
    this.#words[at >> 5] = (this.#words[at >> 5] as number) & ~(1 << (at & 31));
  }
  key(): string {
    let key = "";
    for (const word of this.#words) key += String.fromCharCode(word & 0xffff, word >>> 16);
    return key;
  }
}
