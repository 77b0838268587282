// What the test runners print, read: how many tests passed, and what was said of those that failed.

export const number = (text, pattern) => Number(pattern.exec(text)?.[1] ?? 0);
/** What a runner's output counts; each leaf test once. */
export function count(runtime, output) {
  if (runtime === "node")
    return {
      passed: number(output, /^# pass (\d+)$/m),
      failed: number(output, /^# fail (\d+)$/m),
      skipped: number(output, /^# skipped (\d+)$/m),
    };
  if (runtime === "bun")
    return {
      passed: number(output, /^ *(\d+) pass$/m),
      failed: number(output, /^ *(\d+) fail$/m),
      skipped: number(output, /^ *(\d+) skip$/m),
    };
  let passed = 0;
  let failed = 0;
  let skipped = 0;
  // In Deno's TAP a group says "# Subtest: NAME" before its children and has a result line of its own after them.
  const groups = [];
  for (const line of output.split("\n")) {
    const group = /^\s*# Subtest: (.*)$/.exec(line);
    if (group) groups.push(group[1]);
    const found = /^\s*(not ok|ok) \d+ - (.*?)( # SKIP.*)?$/.exec(line);
    if (!found) continue;
    if (groups.at(-1) === found[2]) groups.pop();
    else if (found[3]) skipped++;
    else if (found[1] === "ok") passed++;
    else failed++;
  }
  return { passed, failed, skipped };
}

/** Lines shown of one failure, and failures shown: the rest is in the log. */
const linesOfOne = 60;
const failuresShown = 10;

/**
 * What was printed of each test that failed. In TAP (Node, Deno) that follows "not ok", between "---" and "..."; Bun prints it
 * before "(fail)". A group whose tests failed says nothing of its own. With no failed test, the end of the output.
 */
export function failed(output) {
  const lines = output.split("\n");
  const blocks = [];
  let sinceResult = 0;
  for (const [at, line] of lines.entries()) {
    if (/^\s*not ok \d+ - /.test(line)) {
      const end = lines.findIndex((later, index) => index > at && /^\s*\.\.\.$/.test(later));
      const block = lines.slice(at, end === -1 ? undefined : end);
      if (!block.some((text) => /failureType: 'subtestsFailed'|test steps? failed/.test(text)))
        blocks.push(block.slice(0, linesOfOne));
    } else if (/^\((pass|fail|skip|todo)\) /.test(line)) {
      if (line.startsWith("(fail)")) blocks.push(lines.slice(Math.max(sinceResult, at + 1 - linesOfOne), at + 1));
      sinceResult = at + 1;
    }
  }
  if (blocks.length === 0) return lines.slice(-linesOfOne).join("\n");
  const more = blocks.length > failuresShown ? [[`... and ${blocks.length - failuresShown} more`]] : [];
  return [...blocks.slice(0, failuresShown), ...more].map((block) => block.join("\n")).join("\n\n");
}
