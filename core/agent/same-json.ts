/** Deep equality of plain data: arrays in order, objects without regard to key order, `undefined` members as absent. */
export function sameJson(left: unknown, right: unknown): boolean {
  if (left === right) return true;
  if (typeof left !== "object" || typeof right !== "object" || left === null || right === null) return false;
  if (Array.isArray(left) || Array.isArray(right)) {
    if (!Array.isArray(left) || !Array.isArray(right) || left.length !== right.length) return false;
    return left.every((item, at) => sameJson(item, right[at]));
  }
  const ours = left as Record<string, unknown>;
  const theirs = right as Record<string, unknown>;
  const keys = new Set([...Object.keys(ours), ...Object.keys(theirs)]);
  for (const key of keys) if (!sameJson(ours[key], theirs[key])) return false;
  return true;
}
