export interface Random {
  /** Uniform in [0, 2^32). Not for secrets: see Crypto. */
  uint32(): number;
  /** An independent stream, so that draws made by one subsystem never shift another. */
  fork(label: string): Random;
}

/** Uniform in [low, high), as a fraction. */
export function between(random: Random, low: number, high: number): number {
  return low + (random.uint32() / 4294967296) * (high - low);
}

/** Uniform whole number in [0, bound). `bound` at most 2^32. */
export function below(random: Random, bound: number): number {
  return Math.floor((random.uint32() / 4294967296) * bound);
}

/** Fisher–Yates, in place; gives back the same array. */
export function shuffle<Item>(random: Random, items: Item[]): Item[] {
  for (let last = items.length - 1; last > 0; last--) {
    const other = below(random, last + 1);
    const held = items[last] as Item;
    items[last] = items[other] as Item;
    items[other] = held;
  }
  return items;
}
