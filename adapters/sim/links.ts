/** What messages between the servers of a simulated group suffer. */
import { below, between, type Random } from "../../core/ports/random.ts";
import type { RaftMessage } from "../../core/raft/messages.ts";
import type { Millis, NodeId } from "../../core/types/ids.ts";
import type { Faults } from "./faults.ts";

/** On a healed link. */
const calmDelayMax: Millis = 2;

export class Links {
  readonly #faults: Faults;
  readonly #random: Random;
  readonly #cut = new Set<string>();
  /** Undefined while faults go on; then: these talk freely among one another, and nobody else is heard. */
  #healed: ReadonlySet<NodeId> | undefined;

  constructor(faults: Faults, random: Random) {
    this.#faults = faults;
    this.#random = random;
  }

  /** How long each copy of a message takes; none when it is lost. */
  copies({ from, to, kind }: RaftMessage): readonly Millis[] {
    const random = this.#random;
    if (this.#healed !== undefined)
      return this.#healed.has(from) && this.#healed.has(to) ? [between(random, 0, calmDelayMax)] : [];
    const faults = this.#faults;
    if (this.#cut.has(`${from}>${to}`)) return [];
    if (below(random, 1000) < faults.loss) return [];
    if (kind === faults.dropKind && below(random, 1000) < faults.dropRate) return [];
    const first = between(random, 0, faults.delayMax);
    return below(random, 1000) < faults.duplication ? [first, between(random, 0, faults.delayMax)] : [first];
  }

  /** Between a client and a server; undefined when it is lost. */
  clientDelay(server: NodeId): Millis | undefined {
    const random = this.#random;
    if (this.#healed !== undefined) return this.#healed.has(server) ? between(random, 0, calmDelayMax) : undefined;
    return below(random, 1000) < this.#faults.loss ? undefined : between(random, 0, this.#faults.delayMax);
  }

  /** Draws a new partition, or none. Gives a text for the trace. */
  partition(ids: readonly NodeId[]): string {
    const random = this.#random;
    this.#cut.clear();
    if (below(random, 3) === 0) return "all links are whole";
    const oneWay = below(random, 3) === 0;
    if (below(random, 3) === 0) {
      const from = ids[below(random, ids.length)] as NodeId;
      const to = ids[below(random, ids.length)] as NodeId;
      this.#cut.add(`${from}>${to}`);
      if (!oneWay) this.#cut.add(`${to}>${from}`);
      return `${from} is not heard by ${to}${oneWay ? "" : ", nor the other way"}`;
    }
    const lonely = below(random, 3) === 0 ? ids[below(random, ids.length)] : undefined;
    const inside = ids.filter((id) => (lonely === undefined ? below(random, 2) === 0 : id === lonely));
    for (const from of ids)
      for (const to of ids) {
        if (inside.includes(from) === inside.includes(to)) continue;
        if (!oneWay || inside.includes(from)) this.#cut.add(`${from}>${to}`);
      }
    return `[${inside.join(" ")}] ${oneWay ? "is not heard by" : "is cut off from"} the others`;
  }

  /** Cuts one off, wholly or only what it says or hears. */
  isolate(id: NodeId, others: readonly NodeId[]): void {
    const draw = below(this.#random, 4);
    for (const other of others) {
      if (other === id) continue;
      if (draw !== 0) this.#cut.add(`${other}>${id}`);
      if (draw !== 1) this.#cut.add(`${id}>${other}`);
    }
  }

  join(id: NodeId): void {
    for (const cut of this.#cut) if (cut.startsWith(`${id}>`) || cut.endsWith(`>${id}`)) this.#cut.delete(cut);
  }

  heal(survivors: ReadonlySet<NodeId>): void {
    this.#healed = survivors;
  }
}
