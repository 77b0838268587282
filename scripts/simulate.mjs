// Bundles the simulator and runs a command of it. usage: simulate.mjs simulate|replay …   (see scripts/simulate, scripts/replay)
import { mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const directory = join(root, ".build", `simulate-${process.pid}`);
mkdirSync(directory, { recursive: true });
const outfile = join(directory, "command.mjs");
try {
  await build({
    entryPoints: [join(root, "adapters/sim/command.ts")],
    outfile,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "es2023",
    packages: "external",
    sourcemap: "inline",
    logLevel: "warning",
  });
  const { main } = await import(pathToFileURL(outfile).href);
  process.exitCode = main(
    process.argv.slice(2),
    (line) => console.log(line),
    () => Date.now(),
  );
} finally {
  rmSync(directory, { recursive: true, force: true });
}
