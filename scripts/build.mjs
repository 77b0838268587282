// Builds dist/ (the program, one entry per runtime) or, with "tests", .build/tests/ (every test file, ready for any runtime).
// usage: build.mjs [tests [FILTER]]
import { existsSync, readdirSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join, dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
process.chdir(root);

function filesBelow(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}

const common = {
  bundle: true,
  format: "esm",
  platform: "node",
  target: "es2023",
  outExtension: { ".js": ".mjs" },
  splitting: true,
  logLevel: "warning",
  // Bundled CommonJS libraries ask for `require`; an ES module has none.
  banner: {
    js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
  },
};

if (process.argv[2] === "tests") {
  const filter = process.argv[3] ?? "";
  const tests = filesBelow("tests").filter((file) => file.endsWith(".test.ts") && file.includes(filter));
  const outdir = process.env.UNIT_OUT ?? ".build/tests";
  rmSync(outdir, { recursive: true, force: true });
  await build({
    ...common,
    entryPoints: tests,
    outdir,
    outbase: "tests",
    sourcemap: true,
    chunkNames: "chunks/[hash]",
    packages: "external",
    define: { "process.env.TEST_ROOT": JSON.stringify(root) },
  });
} else {
  const entryPoints = {};
  for (const runtime of ["node", "bun", "deno"]) {
    for (const [name, file] of [
      ["consul", "main"],
      ["embed", "embed"],
    ]) {
      const source = `adapters/${runtime}/${file}.ts`;
      if (existsSync(source)) entryPoints[`${name}-${runtime}`] = source;
    }
  }
  entryPoints["sim"] = "adapters/sim/simulate.ts";
  // Built aside and moved in place, so that a program that starts meanwhile finds the old or the new one whole.
  const stampedBefore = Date.now() / 1000;
  rmSync("dist.new", { recursive: true, force: true });
  await build({
    ...common,
    entryPoints,
    outdir: "dist.new",
    chunkNames: "chunks/[name]-[hash]",
    minifySyntax: true,
    minifyWhitespace: true,
  });
  writeFileSync("dist.new/.built", "");
  // What changed while the build ran counts as newer than it.
  utimesSync("dist.new/.built", stampedBefore, stampedBefore);
  rmSync("dist", { recursive: true, force: true });
  renameSync("dist.new", "dist");
}
