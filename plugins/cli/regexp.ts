/**
 * Regular expressions as people write them for Go: a group of flags in front is honoured, and a syntax error is told in
 * Go's words where the two dialects fail alike.
 */

/** Longer ones are a mistake. */
const lengthMax = 1000;

export function compileRegexp(source: string): { readonly test: (text: string) => boolean } | { readonly error: string } {
  if (source.length > lengthMax) return { error: `error parsing regexp: expression longer than ${lengthMax} characters` };
  const leading = /^\(\?([ims]+)\)/.exec(source);
  const body = source.slice(leading?.[0].length ?? 0);
  try {
    const compiled = new RegExp(body, leading?.[1] === undefined ? "" : [...new Set(leading[1])].join(""));
    return { test: (text) => compiled.test(text) };
  } catch {
    return { error: `error parsing regexp: ${explain(body)}` };
  }
}

function explain(source: string): string {
  const opened = unclosedClass(source);
  if (opened !== undefined) return `missing closing ]: \`${source.slice(opened)}\``;
  if (/\\$/.test(source)) return "trailing backslash at end of expression: ``";
  const plain = source.replace(/\\./g, "").replace(/\[\^?\]?[^\]]*\]/g, "");
  const open = plain.split("(").length;
  const close = plain.split(")").length;
  if (open > close) return `missing closing ): \`${source}\``;
  if (open < close) return `unexpected ): \`${source}\``;
  const repeated = /(?:^|[(|])([*+?])/.exec(plain);
  return repeated === null ? `invalid expression: \`${source}\`` : `missing argument to repetition operator: \`${repeated[1]}\``;
}

/** Where a character class opens that is never closed. */
function unclosedClass(source: string): number | undefined {
  let opened: number | undefined;
  for (let at = 0; at < source.length; at++) {
    if (source[at] === "\\") at++;
    else if (opened === undefined && source[at] === "[") opened = at;
    else if (opened !== undefined && source[at] === "]" && at > opened + 1) opened = undefined;
  }
  return opened;
}
