import type { NodeRecord } from "../../core/catalog/records.ts";

/** One rendering of one shared read, told from an older one by identity. */
export interface Share {
  readonly key: string;
}

/** What questions are answered from. Undefined `share`: read for one question. */
export interface SharedView {
  readonly share: Share | undefined;
}

/** Undefined `node`: nobody has the name. */
export interface NodeView extends SharedView {
  readonly node: NodeRecord | undefined;
}
