/**
 * What is believed of each member, by name, in little memory.
 *
 *   Roster        name ──► number ──► states that several tables hold      one for all tables of a process
 *   RosterTable             number ──► what this table holds               8 bytes for each name
 *
 * States are immutable: a change puts another one in. That is why tables may share them without noticing. An agent has
 * one table and shares with nobody; a simulation gives all its members one roster, since five thousand that know one
 * another hold 25 million beliefs, nearly all of them equal.
 *
 * Invariants: a number belongs to one name while any table holds that name · nothing is shared while only one does.
 */
import { assert } from "../types/errors.ts";

/** Of one member at a time: what it is, what it was just before, and so for two sides of a rumour. */
const sharedMax = 4;
const none: readonly never[] = [];

interface Shared<State> {
  readonly states: State[];
  /** Where the next one goes: the oldest makes room. */
  next: number;
}

export class Roster<State extends { readonly name: string }> {
  readonly #numbers = new Map<string, number>();
  /** The following three are by number. */
  readonly #names: string[] = [];
  readonly #holders: number[] = [];
  readonly #shared: (Shared<State> | undefined)[] = [];
  /** Numbers of names that nobody holds any more. */
  readonly #free: number[] = [];

  /** Undefined: no table holds this name. */
  find(name: string): number | undefined {
    return this.#numbers.get(name);
  }

  /** One more table holds `name`. */
  hold(name: string): number {
    const known = this.#numbers.get(name);
    if (known !== undefined) {
      this.#holders[known] = (this.#holders[known] as number) + 1;
      return known;
    }
    const number = this.#free.pop() ?? this.#names.length;
    this.#names[number] = name;
    this.#holders[number] = 1;
    this.#shared[number] = undefined;
    this.#numbers.set(name, number);
    return number;
  }

  /** One table less does. */
  release(number: number): void {
    const holders = this.#holders[number] ?? 0;
    assert(holders > 0, "only what is held is released");
    this.#holders[number] = holders - 1;
    if (holders > 1) return;
    this.#numbers.delete(this.#names[number] as string);
    this.#names[number] = "";
    this.#shared[number] = undefined;
    this.#free.push(number);
  }

  /** What others hold of this member, or held a moment ago: to be put into a table instead of an equal copy. */
  shared(number: number): readonly State[] {
    return this.#shared[number]?.states ?? none;
  }

  /** Offers `state`, which nobody can change any more, to the others. Pointless for what differs from table to table. */
  share(number: number, state: State): void {
    if (this.#holders[number] === 1) return;
    let shared = this.#shared[number];
    if (shared === undefined) {
      shared = { states: [], next: 0 };
      this.#shared[number] = shared;
    }
    if (shared.states.includes(state)) return;
    Object.freeze(state);
    shared.states[shared.next] = state;
    shared.next = (shared.next + 1) % sharedMax;
  }
}

/** What one member believes of all others. */
export class RosterTable<State extends { readonly name: string }> {
  readonly #roster: Roster<State>;
  /** By number. */
  readonly #states: (State | undefined)[] = [];
  #size = 0;

  constructor(roster: Roster<State>) {
    this.#roster = roster;
  }

  get size(): number {
    return this.#size;
  }

  get(name: string): State | undefined {
    const number = this.#roster.find(name);
    return number === undefined ? undefined : this.#states[number];
  }

  /** What stands under a number that `put` gave and `delete` has not taken back. */
  at(number: number): State {
    return this.#states[number] as State;
  }

  /** In no order that means anything. */
  *values(): IterableIterator<State> {
    for (const state of this.#states) if (state !== undefined) yield state;
  }

  /** A state of `name` that is shared, by this table or another one of the process, and for which `holds`. */
  shared(name: string, holds: (state: State) => boolean): State | undefined {
    const number = this.#roster.find(name);
    return number === undefined ? undefined : this.#roster.shared(number).find(holds);
  }

  /** Offers `state`, which nobody can change any more, to the others. Pointless for what differs from table to table. */
  share(number: number, state: State): void {
    this.#roster.share(number, state);
  }

  /** Puts `state` in the place of what was believed of this member; gives its number. */
  put(state: State): number {
    const known = this.#roster.find(state.name);
    if (known !== undefined && this.#states[known] !== undefined) {
      this.#states[known] = state;
      return known;
    }
    const number = this.#roster.hold(state.name);
    // Without holes, which engines would store as a slow kind of array.
    while (this.#states.length <= number) this.#states.push(undefined);
    this.#states[number] = state;
    this.#size++;
    return number;
  }

  delete(name: string): void {
    const number = this.#roster.find(name);
    if (number === undefined || this.#states[number] === undefined) return;
    this.#states[number] = undefined;
    this.#size--;
    this.#roster.release(number);
  }
}
