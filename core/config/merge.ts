/** Sources to one: lists append, maps and objects merge by key, anything else replaces. */
import type { Setting, Settings } from "./decode.ts";
import { setOwn } from "./go-text.ts";

/** Later sources win. The sources are left as they are. */
export function mergeSettings(sources: readonly Settings[]): Settings {
  const merged: Settings = new Map();
  for (const source of sources) for (const [key, value] of source) merged.set(key, merge(merged.get(key), value));
  return merged;
}

function merge(before: Setting | undefined, value: Setting): Setting {
  if (Array.isArray(before) && Array.isArray(value)) return [...before, ...value] as Setting;
  if (before instanceof Map && value instanceof Map) return mergeSettings([before, value]);
  if (isObject(before) && isObject(value)) {
    const out: Record<string, unknown> = {};
    for (const source of [before, value]) for (const [key, inner] of Object.entries(source)) setOwn(out, key, inner);
    return out as Setting;
  }
  return value;
}

function isObject(value: Setting | undefined): value is Readonly<Record<string, string>> {
  return typeof value === "object" && !Array.isArray(value) && !(value instanceof Map);
}
