/** Majority arithmetic. One configuration at a time, as in Consul: no joint majorities. */

/** How many of `voters` are a majority. */
export function majority(voters: number): number {
  return Math.floor(voters / 2) + 1;
}

/**
 * The highest value that a majority has reached: for match indexes the highest index that a majority holds.
 * 0 without values. Sorts `values` in place; groups are small, so insertion beats anything clever.
 */
export function reachedByMajority(values: number[]): number {
  for (let at = 1; at < values.length; at++) {
    const value = values[at] as number;
    let slot = at;
    for (; slot > 0 && (values[slot - 1] as number) < value; slot--) values[slot] = values[slot - 1] as number;
    values[slot] = value;
  }
  return values.length === 0 ? 0 : (values[majority(values.length) - 1] as number);
}
