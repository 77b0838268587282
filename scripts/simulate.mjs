// Bundles the simulator and runs a command of it. usage: simulate.mjs simulate|replay …   (see scripts/simulate, scripts/replay)
import { mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const directory = join(root, ".build", `simulate-${process.pid}`);
mkdirSync(directory, { recursive: true });
const outfile = join(directory, "command.mjs");
const gossip = process.argv.includes("--gossip");
try {
  await build({
    entryPoints: [join(root, gossip ? "adapters/sim/gossip-command.ts" : "adapters/sim/command.ts")],
    outfile,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "es2023",
    packages: "external",
    sourcemap: "inline",
    logLevel: "warning",
  });
  const { main, gossipMain } = await import(pathToFileURL(outfile).href);
  const print = (line) => console.log(line);
  const now = () => Date.now();
  const cpu = () => (process.cpuUsage().user + process.cpuUsage().system) / 1000;
  process.exitCode = gossip
    ? gossipMain(process.argv.slice(3), { print, now, cpu, memory: () => process.memoryUsage().rss })
    : main(process.argv.slice(2), print, now);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
