/** A lock as Consul's Go client holds it: a key whose session is the holder's, marked by its flags. */
import { pause } from "../../core/ports/clock.ts";
import { utf8 } from "../../core/types/bytes.ts";
import type { Cancel } from "../../core/types/cancel.ts";
import { messageOf } from "../../core/types/errors.ts";
import type { Millis } from "../../core/types/ids.ts";
import { type Contest, type ContestOptions, type Held, nextWait, untilLost } from "./contest.ts";
import { deletePairs, type KvPair, readPairs, watchPairs, writePair } from "./kv-api.ts";

/** "This key is a lock." */
const lockFlag = 0x2ddccbc058a50c18n;
/** The key is free and yet not to be had: the lock delay after a holder that died. */
const delayPause: Millis = 5_000;
const conflict = "Existing key does not match lock use";

export class Lock implements Contest {
  readonly #options: ContestOptions;
  readonly #key: string;
  readonly #released = new AbortController();

  constructor(options: ContestOptions, key: string) {
    this.#options = options;
    this.#key = key;
  }

  async acquire(stop: Cancel): Promise<Held | undefined> {
    const { api, clock, session } = this.#options;
    const begun = clock.monotonic();
    let index = "0";
    for (let attempt = 0; !stop.aborted; attempt++) {
      const wait = nextWait(this.#options, begun, attempt);
      if (wait === undefined) return undefined;
      const query = { ...(index !== "0" && { index }), wait: `${wait}ms` };
      const seen = await explain("failed to read lock", watchPairs(api, this.#key, query, stop), stop);
      if (seen === undefined) return undefined;
      const [pair] = seen.pairs;
      if (pair !== undefined && pair.flags !== lockFlag) throw new Error(conflict);
      if (pair?.session === session.id) return this.#held();
      if (pair !== undefined && pair.session !== "") {
        index = seen.index;
        continue;
      }
      const change = { acquire: session.id, flags: String(lockFlag) };
      if (await explain("failed to acquire lock", writePair(api, this.#key, utf8(""), change), stop)) return this.#held();
      index = await this.#whyNot(stop);
    }
    return undefined;
  }

  async release(): Promise<void> {
    const { api, session } = this.#options;
    this.#released.abort();
    const change = { release: session.id, flags: String(lockFlag) };
    await explain("failed to release lock", writePair(api, this.#key, utf8(""), change));
  }

  async cleanUp(): Promise<"removed" | "in use"> {
    const { api } = this.#options;
    const pair = await this.#read();
    if (pair === undefined) return "removed";
    if (pair.flags !== lockFlag) throw new Error(conflict);
    if (pair.session !== "") return "in use";
    const removed = await explain("failed to remove lock", deletePairs(api, this.#key, { cas: String(pair.modifyIndex) }));
    return removed === true ? "removed" : "in use";
  }

  #held(): Held {
    const { api, session } = this.#options;
    const stop = this.#released.signal;
    const lost = untilLost(this.#options, stop, async (index) => {
      const seen = await watchPairs(api, this.#key, { consistent: "", ...(index !== "0" && { index }) }, stop);
      return { held: seen.pairs[0]?.session === session.id, index: seen.index };
    });
    return { lost };
  }

  async #read(): Promise<KvPair | undefined> {
    return (await explain("failed to read lock", readPairs(this.#options.api, this.#key, {})))?.[0];
  }

  /** The index to wait on, when somebody was quicker; otherwise waits here and gives "0". */
  async #whyNot(stop: Cancel): Promise<string> {
    const { api, clock } = this.#options;
    const seen = await explain("failed to read lock", watchPairs(api, this.#key, {}, stop), stop);
    if (seen !== undefined && (seen.pairs[0]?.session ?? "") !== "") return seen.index;
    await pause(clock, delayPause, stop);
    return "0";
  }
}

/** Undefined when it failed because of `stop`; otherwise the error says what was tried. */
export async function explain<Result>(what: string, work: Promise<Result>, stop?: Cancel): Promise<Result | undefined> {
  try {
    return await work;
  } catch (error) {
    if (stop?.aborted === true) return undefined;
    throw new Error(`${what}: ${messageOf(error)}`, { cause: error });
  }
}
