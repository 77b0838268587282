/** What narrows and orders the rows of a catalog read: metadata, a filter expression, nearness, tags. */
import { distance } from "./coordinates.ts";
import { compileFilter } from "./filter.ts";
import type { FieldTable } from "./filter-fields.ts";
import type { Selection } from "./queries.ts";
import type { NodeRecord, StringMap } from "./records.ts";
import { foldedKey } from "./table.ts";
import type { Tables } from "./tables.ts";

export interface Selectable<Row> {
  readonly fields: FieldTable<Row>;
  readonly nodeOf: (row: Row) => string;
}

/** Applies the parts of a selection in Consul's order. Throws `rejected` for a broken filter, also when there is nothing to filter. */
export function select<Row>(
  tables: Tables,
  rows: readonly Row[],
  selection: Selection,
  { fields, nodeOf }: Selectable<Row>,
): readonly Row[] {
  const matches = compileFilter(selection.filter ?? "", fields);
  let selected = rows;
  const { nodeMeta } = selection;
  if (nodeMeta !== undefined && Object.keys(nodeMeta).length > 0) {
    selected = selected.filter((row) => {
      const node = tables.nodes.get(foldedKey(nodeOf(row)));
      return node !== undefined && hasMeta(node, nodeMeta);
    });
  }
  if (matches !== undefined) selected = selected.filter(matches);
  return selection.near === undefined || selection.near === "" ? selected : nearest(tables, selected, selection.near, nodeOf);
}

export function hasMeta(node: NodeRecord, wanted: StringMap): boolean {
  const meta = node.meta ?? {};
  for (const [key, value] of Object.entries(wanted)) if (!Object.hasOwn(meta, key) || meta[key] !== value) return false;
  return true;
}

/** All of `wanted` are among the tags, without case. */
export function hasTags(tags: readonly string[], wanted: readonly string[]): boolean {
  return wanted.every((tag) => {
    const folded = tag.toLowerCase();
    return tags.some((own) => own.toLowerCase() === folded);
  });
}

/** Stable; nodes of unknown place come last, and all stay as they are when the origin's place is unknown. */
function nearest<Row>(tables: Tables, rows: readonly Row[], origin: string, nodeOf: (row: Row) => string): readonly Row[] {
  const from = tables.coordinates.rows(foldedKey(origin));
  if (from.length === 0) return rows;
  const away = new Map<string, number>();
  for (const row of rows) {
    const node = foldedKey(nodeOf(row));
    if (away.has(node)) continue;
    const place = tables.coordinates.rows(node).find((entry) => from.some((own) => own.segment === entry.segment));
    const start = from.find((own) => own.segment === place?.segment);
    away.set(node, distance(start?.coordinate, place?.coordinate));
  }
  const key = (row: Row): number => away.get(foldedKey(nodeOf(row))) as number;
  return [...rows].sort((left, right) => {
    const [near, far] = [key(left), key(right)];
    return near < far ? -1 : near > far ? 1 : 0;
  });
}
