import type { LogIndex } from "../types/ids.ts";

/** An index as it is reported: 0 would tell a client not to block. */
export function atLeastOne(index: LogIndex): LogIndex {
  return index === 0 ? 1 : index;
}
