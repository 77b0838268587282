/** The request target: Go's URL parsing, the filter for unprintable characters, and ServeMux's clean paths. */
import { wellFormed } from "./go.ts";
import { percentDecode } from "./query-string.ts";

/** What to do with a request target. */
export type Target =
  | { readonly kind: "path"; readonly path: string; readonly rawQuery: string }
  /** Not a URL at all: Go's server refuses it before any handler. */
  | { readonly kind: "malformed" }
  /** Holds a character that cannot be printed. */
  | { readonly kind: "unprintable" }
  /** Has "//", "." or ".." in it: the client is told the clean one, escaped as it must be sent. `path`: not escaped. */
  | { readonly kind: "redirect"; readonly path: string; readonly location: string; readonly rawQuery: string };

const plainPath = /^(?:\/[A-Za-z0-9_~-][A-Za-z0-9._~:@!$,=+-]*)+\/?$/;
const printable = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]*$/u;

/** `target` as sent: an absolute path with an optional query. Total: any string gives an answer. */
export function parseTarget(target: string, filterUnprintable: boolean): Target {
  const fragment = target.indexOf("#");
  const whole = fragment < 0 ? target : target.slice(0, fragment);
  const question = whole.indexOf("?");
  const rawPath = question < 0 ? whole : whole.slice(0, question);
  const rawQuery = question < 0 ? "" : whole.slice(question + 1);
  if (plainPath.test(rawPath)) return { kind: "path", path: rawPath, rawQuery };
  if (!rawPath.startsWith("/")) return { kind: "malformed" };
  const path = percentDecode(rawPath);
  if (path === undefined) return { kind: "malformed" };
  if (filterUnprintable && !printable.test(wellFormed(path))) return { kind: "unprintable" };
  const clean = cleanPath(path);
  if (clean === path) return { kind: "path", path, rawQuery };
  return { kind: "redirect", path: clean, location: escapePath(clean) + (question < 0 ? "" : `?${rawQuery}`), rawQuery };
}

/** Go's `path.Clean`, keeping a final slash. */
function cleanPath(path: string): string {
  if (!path.includes("//") && !path.includes("/.")) return path;
  const kept: string[] = [];
  for (const segment of path.split("/")) {
    if (segment === "" || segment === ".") continue;
    if (segment === "..") kept.pop();
    else kept.push(segment);
  }
  const clean = `/${kept.join("/")}`;
  return path.endsWith("/") && clean !== "/" ? `${clean}/` : clean;
}

/** Escapes a path as Go's `URL.EscapedPath` does. */
export function escapePath(path: string): string {
  return encodeURIComponent(wellFormed(path))
    .replace(/%(2F|3A|40|26|3D|2B|24|2C|3B)/g, (escaped) => decodeURIComponent(escaped))
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}
