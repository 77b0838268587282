/** Network coordinates of nodes, and distances between them (Vivaldi). */
import type { LogIndex } from "../types/ids.ts";
import { sameData } from "./equal.ts";
import type { CoordinateEntry } from "./queries.ts";
import type { Coordinate } from "./records.ts";
import { foldedKey } from "./table.ts";
import type { Tables } from "./tables.ts";
import { topics } from "./watch.ts";

/** Updates for nodes that are not registered are dropped: their coordinates would outlive them. */
export function updateCoordinates(tables: Tables, index: LogIndex, updates: readonly CoordinateEntry[]): void {
  for (const { node, segment, coordinate } of updates) {
    if (tables.nodes.get(foldedKey(node)) === undefined) continue;
    if (sameData(tables.coordinates.get(foldedKey(node, segment))?.coordinate, coordinate)) continue;
    tables.coordinates.put({ node, segment, coordinate });
    tables.bump(topics.coordinates, index);
    tables.touch(topics.coordinate(node));
  }
}

/** Seconds between two coordinates; Infinity when they cannot be compared. */
export function distance(from: Coordinate | undefined, to: Coordinate | undefined): number {
  if (from === undefined || to === undefined || from.vec.length !== to.vec.length) return Number.POSITIVE_INFINITY;
  let squares = 0;
  for (let at = 0; at < from.vec.length; at++) {
    const difference = (from.vec[at] as number) - (to.vec[at] as number);
    squares += difference * difference;
  }
  const raw = Math.sqrt(squares) + from.height + to.height;
  const adjusted = raw + from.adjustment + to.adjustment;
  return adjusted > 0 ? adjusted : raw;
}
