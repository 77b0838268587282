// The gates, cheapest first: types (core alone, without any platform; then everything), lint, imports, text.
// usage: check.mjs      prints one line a gate, and what a failing one said; exit code 1 when any failed
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

process.chdir(join(dirname(fileURLToPath(import.meta.url)), ".."));
const bin = (name) => join("node_modules", ".bin", name);
const deno = ".toolchain/deno/node_modules/.bin/deno";
const tsc = join("node_modules", "typescript-native", "bin", "tsc");

/** Words that must not be in the project's text: it speaks of itself alone. */
function foreignText() {
  const wrong =
    /\/work\/|\.\.\/shared\/(spec|design|vectors|tools|bench|hooks)|\bspec\/[a-z-]+\.md|registry\.npmjs|deb\.debian\.org/;
  const said = [];
  for (const folder of ["core", "adapters", "plugins", "tests", "scripts", ".ci"]) {
    for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
      if (!entry.isFile()) continue;
      const file = join(entry.parentPath ?? entry.path, entry.name);
      if (file.includes("node_modules") || file.endsWith("check.mjs")) continue;
      const found = wrong.exec(readFileSync(file, "utf8"));
      if (found) said.push(`${file}: "${found[0]}"`);
    }
  }
  return { status: said.length === 0 ? 0 : 1, stdout: said.join("\n"), stderr: "" };
}

const run = (command, ...args) => spawnSync(command, args, { encoding: "utf8" });
const gates = [
  ["types: core without a platform", () => run(process.execPath, tsc, "-p", "core")],
  ["types: everything", () => run(process.execPath, tsc, "-p", ".")],
  ["lint and format", () => run(bin("biome"), "check", "--error-on-warnings", "--max-diagnostics=30")],
  ["direction of imports", () => run(bin("depcruise"), "--config", "scripts/imports.cjs", "core", "adapters", "plugins")],
  ["text", foreignText],
  // Only that Deno can read the sources as they are; what core may use the first gate says.
  ...(existsSync(deno)
    ? [["types: Deno reads the sources", () => run(deno, "check", "--quiet", "adapters/deno/main.ts", "adapters/deno/embed.ts")]]
    : []),
];

let failed = 0;
for (const [name, gate] of gates) {
  const started = Date.now();
  const { status, stdout, stderr } = gate();
  console.log(`${status === 0 ? "ok    " : "FAILED"} ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
  if (status !== 0) {
    failed++;
    console.log(`${stdout}${stderr}`);
  }
}
console.log(`${gates.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
