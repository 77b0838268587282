/**
 * The log alone on a simulated disk, life after life: what many histories of crashes, tears and turned bits leave of it.
 * Some thousand times as fast as a group of servers, and it hurts the very end of the log far more often.
 *
 *   a life:  read, open ─► append, append, compact, … ─► killed, or without power, between any two steps of the disk
 *
 * What is found is what was acknowledged, or that and what was under way. Who refuses to open it has a disk that was hurt.
 */
import { createRandom, seedOf } from "../../adapters/shared/random.ts";
import type { WalBatch } from "../../adapters/shared/wal-batch.ts";
import { type FileStep, WalLog, type WalOpened } from "../../adapters/shared/wal-log.ts";
import { markName } from "../../adapters/shared/wal-mark.ts";
import { SimFiles, sectorBytes } from "../../adapters/sim/sim-files.ts";
import { Violation } from "../../adapters/sim/violation.ts";
import { below, type Random } from "../../core/ports/random.ts";
import { AgentError } from "../../core/types/errors.ts";
import type { Catch } from "./mutants.ts";

const livesMax = 10;
const writesMax = 12;

/** Told in a line, to be compared. */
interface Held {
  readonly hardState: string;
  readonly entries: readonly { readonly index: number; readonly told: string }[];
  readonly compacted: number;
}

const nothing: Held = { hardState: "0 undefined", entries: [], compacted: 0 };

/** Throws a violation. */
export function runLog(seed: number): void {
  new LogRun(createRandom(seedOf(`log ${seed}`))).run();
}

/** The first of `seeds` seeds that fails. */
export function huntLog(run: typeof runLog, seeds: number): Catch | undefined {
  for (let seed = 1; seed <= seeds; seed++) {
    try {
      run(seed);
    } catch (error) {
      // A mutant has a class of violations of its own.
      const checker = (error as { readonly checker?: string }).checker ?? "assertion";
      return { seed, failure: { checker, message: String(error) } };
    }
  }
  return undefined;
}

class LogRun {
  readonly #random: Random;
  readonly #files: SimFiles;
  /** Half of the disks lose nothing that was synced. */
  readonly #rots: boolean;
  readonly #limits: { readonly segmentBytes: number; readonly extendBytes: number };
  #acknowledged = nothing;
  #underWay: Held | undefined;
  #hurt = false;
  #index = 0;

  constructor(random: Random) {
    this.#random = random;
    this.#files = new SimFiles(random.fork("disk"));
    const either = (one: number, other: number): number => (below(random, 2) === 0 ? one : other);
    this.#rots = either(0, 1) === 1;
    this.#limits = { segmentBytes: either(512, 8192), extendBytes: either(256, 4096) };
  }

  run(): void {
    for (let life = 1; life <= livesMax; life++) {
      if (!this.#live()) return;
      if (below(this.#random, 4) === 0) this.#rot();
      if (below(this.#random, 3) > 0) this.#files.powerFailure();
    }
  }

  /** False: it refused, as it may. */
  #live(): boolean {
    const { segmentBytes, extendBytes } = this.#limits;
    const salt = (): Uint8Array => Uint8Array.from({ length: 8 }, () => this.#random.uint32() & 255);
    const log = new WalLog({ path: "wal", salt, segmentBytes, extendBytes, sectorBytes });
    const files = this.#files;
    let opened: WalOpened;
    try {
      const { segments, unfinished } = WalLog.sort(files.list());
      for (const name of unfinished) files.remove(name);
      if (files.find(markName) !== undefined) log.readMark(files.read(markName));
      for (const [at, name] of segments.entries()) log.read(name, files.read(name), at === segments.length - 1);
      opened = log.open();
    } catch (error) {
      if (error instanceof AgentError && error.code === "wal-corrupt" && this.#hurt) return false;
      throw new Violation("a whole disk is readable", String(error));
    }
    const { hardState, entries, compacted, steps } = opened;
    const found: Held = {
      hardState: `${hardState.term} ${hardState.votedFor}`,
      entries: entries.map(({ index, term, data }) => ({ index, told: `${index} ${term} ${data.join()}` })),
      compacted,
    };
    const may = [this.#acknowledged, this.#underWay ?? this.#acknowledged].map((held) => JSON.stringify(held));
    if (!may.includes(JSON.stringify(found)))
      throw new Violation("nothing is forgotten", `found ${JSON.stringify(found)}, and not ${may.join(" or ")}`);
    this.#underWay = found;
    if (!this.#perform(steps)) return true;
    this.#acknowledged = found;
    this.#index = entries[entries.length - 1]?.index ?? compacted;
    for (let writes = below(this.#random, writesMax); writes > 0; writes--) if (!this.#write(log)) return true;
    return true;
  }

  /** False: that was the end of this life. */
  #write(log: WalLog): boolean {
    const random = this.#random;
    const compactTo = this.#acknowledged.compacted + below(random, this.#index - this.#acknowledged.compacted + 1);
    const compacts = below(random, 6) === 0;
    const batch = compacts ? { compactTo, entries: [] } : this.#batch();
    const next = after(this.#acknowledged, batch);
    this.#underWay = next;
    if (!this.#perform(log.append(batch))) return false;
    this.#acknowledged = next;
    this.#index = next.entries[next.entries.length - 1]?.index ?? next.compacted;
    if (below(random, 4) === 0 && !this.#perform([log.mark()])) return false;
    if (below(random, 40) === 0) this.#rot();
    return !compacts || this.#perform(log.removeUpTo(compactTo));
  }

  #batch(): WalBatch {
    const random = this.#random;
    const truncates = below(random, 8) === 0 && this.#index > this.#acknowledged.compacted;
    const first = truncates ? this.#index : this.#index + 1;
    const entries = Array.from({ length: below(random, 3) + (truncates ? 1 : 0) }, (_, at) => ({
      index: first + at,
      term: 1 + below(random, 3),
      type: 0,
      data: this.#content(),
    }));
    return {
      ...(below(random, 4) === 0 ? { hardState: { term: below(random, 100), votedFor: `n${below(random, 3)}` } } : undefined),
      ...(truncates ? { truncateFrom: first } : undefined),
      entries,
    };
  }

  /** Zeros and nearly zeros, too: they look like what was never written. */
  #content(): Uint8Array {
    const random = this.#random;
    const bytes = new Uint8Array(below(random, below(random, 2) === 0 ? 1000 : 60));
    const kind = below(random, 3);
    if (kind === 1 && bytes.length > 0) bytes[below(random, bytes.length)] = 1;
    if (kind === 2) for (let at = 0; at < bytes.length; at++) bytes[at] = random.uint32() & 255;
    return bytes;
  }

  /** Once: two damages may hide each other. */
  #rot(): void {
    if (this.#rots && !this.#hurt) this.#hurt = this.#files.rot("log");
  }

  #perform(steps: readonly FileStep[]): boolean {
    for (const step of steps) {
      if (below(this.#random, 20) === 0) return false;
      this.#files.perform(step);
    }
    return true;
  }
}

function after(held: Held, { hardState, truncateFrom, compactTo, entries }: WalBatch): Held {
  const compacted = Math.max(held.compacted, compactTo ?? 0);
  const kept = held.entries.filter(({ index }) => index > compacted && index < (truncateFrom ?? Number.POSITIVE_INFINITY));
  const added = entries.map(({ index, term, data }) => ({ index, told: `${index} ${term} ${data.join()}` }));
  return {
    hardState: hardState === undefined ? held.hardState : `${hardState.term} ${hardState.votedFor}`,
    entries: [...kept, ...added],
    compacted,
  };
}
