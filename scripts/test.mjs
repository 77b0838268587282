// Runs the gates and every test on the runtimes named (all three when none is), and closes with `N passed, N failed`.
//
//   gates (check.mjs) → build → tests/** but program, clusters and interop, on each runtime → tests/program and
//   tests/clusters with the command `consul` on each runtime → tests/interop with real peers
//
// Two runtimes, or two files of one, run at a time: each process has ports and addresses of its own, and much of the time
// is waiting. What needs a program that is missing says so and counts as skipped; with CI=true a skip is a failure.
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { count, failed, number } from "./test-output.mjs";

process.chdir(join(dirname(fileURLToPath(import.meta.url)), ".."));
const runtimes = process.argv.length > 2 ? process.argv.slice(2) : ["node", "bun", "deno"];
const strict = process.env.CI === "true";
const total = { passed: 0, failed: 0, skipped: 0 };
const failures = [];
const startedAll = Date.now();
const since = (started) => `${((Date.now() - started) / 1000).toFixed(1)} s`;

/** Milliseconds for one file, or one test: so much that only what hangs is ended, on however slow a machine. */
const patience = 900_000;

const runners = {
  node: (files, atOnce) => [
    process.execPath,
    [
      "--enable-source-maps",
      "--test",
      `--test-concurrency=${atOnce}`,
      `--test-timeout=${patience}`,
      "--test-reporter=tap",
      ...files,
    ],
  ],
  bun: (files) => [
    ".toolchain/bun/node_modules/.bin/bun",
    ["test", "--timeout", String(patience), ...files.map((file) => `./${file}`)],
  ],
  deno: (files) => [".toolchain/deno/node_modules/.bin/deno", ["test", "--allow-all", "--no-check", "--reporter=tap", ...files]],
};

/** Resolves with the status and all that was printed. */
function finished(command, args, env) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { env: { ...process.env, NO_COLOR: "1", ...env }, stdio: ["ignore", "pipe", "pipe"] });
    const printed = { stdout: [], stderr: [] };
    for (const name of ["stdout", "stderr"]) child[name].on("data", (chunk) => printed[name].push(chunk));
    const all = () => ["stdout", "stderr"].map((name) => Buffer.concat(printed[name]).toString()).join("\n");
    child.once("error", (error) => resolve({ status: null, output: `${all()}\n${error.message}` }));
    child.once("close", (status) => resolve({ status, output: all() }));
  });
}

/** `atOnce`: of the files, on Node. */
async function run(title, runtime, files, { env = {}, atOnce = 1 } = {}) {
  if (files.length === 0) return;
  const started = Date.now();
  const { status, output } = await finished(...runners[runtime](files, atOnce), env);
  const counted = count(runtime, output);
  if (status !== 0 && counted.failed === 0) counted.failed = 1;
  total.passed += counted.passed;
  total.failed += counted.failed;
  total.skipped += counted.skipped;
  console.log(
    `${status === 0 ? "ok    " : "FAILED"} ${title}: ${counted.passed} passed, ${counted.failed} failed, ${counted.skipped} skipped (${since(started)})`,
  );
  if (status !== 0) {
    mkdirSync(".build/logs", { recursive: true });
    const log = `.build/logs/${title.replace(/[^a-z0-9]+/gi, "-")}.log`;
    writeFileSync(log, output);
    failures.push(`${title}: the whole output is in ${log}\n${failed(output)}`);
  }
  for (const reason of new Set(output.match(/SKIPPED: .*/g) ?? [])) console.log(`       ${reason}`);
}

/** Runs the acts in their order, two at a time. */
async function inPairs(acts) {
  const waiting = [...acts];
  const work = async () => {
    for (let act = waiting.shift(); act !== undefined; act = waiting.shift()) await act();
  };
  await Promise.all([work(), work()]);
}

const startedGates = Date.now();
const gates = spawnSync(process.execPath, ["scripts/check.mjs"], { encoding: "utf8" });
process.stdout.write(gates.stdout.replace(/\n\d+ passed, \d+ failed\n$/, "\n"));
console.log(`       gates (${since(startedGates)})`);
total.passed += number(gates.stdout, /(\d+) passed, \d+ failed\n$/);
total.failed += number(gates.stdout, /\d+ passed, (\d+) failed\n$/) || (gates.status === 0 ? 0 : 1);

const built = spawnSync(process.execPath, ["scripts/build.mjs", "tests"], { encoding: "utf8" });
if (built.status !== 0) {
  console.log(`FAILED building the tests\n${built.stderr}`);
  total.failed++;
} else {
  const tests = readdirSync(".build/tests", { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".test.mjs"))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
  const of = (folder) => tests.filter((file) => file.startsWith(`.build/tests/${folder}/`));
  const whole = [...of("program"), ...of("interop"), ...of("clusters")];
  const unit = tests.filter((file) => !whole.includes(file));
  // The one of Node goes on longest: it starts a process for each file.
  await inPairs(runtimes.map((runtime) => () => run(`unit, contract and runtime tests on ${runtime}`, runtime, unit)));
  // scripts/test has built; from here on nothing builds, whatever changes meanwhile.
  process.env.CONSUL_AS_BUILT = "1";
  for (const runtime of runtimes)
    await run(`whole program on ${runtime}`, "node", of("program"), { env: { CONSUL_RUNTIME: runtime }, atOnce: 2 });
  // On Node all of it; elsewhere what depends on how the runtime treats sockets, files and signals.
  const essential = /(crashes|pauses|disks)\.test/;
  for (const runtime of runtimes)
    await run(
      `groups of servers on ${runtime}`,
      "node",
      of("clusters").filter((file) => runtime === runtimes[0] || essential.test(file)),
      { env: { CONSUL_RUNTIME: runtime }, atOnce: 2 },
    );
  await run("interop with real peers", "node", of("interop"), { atOnce: 2 });
}

for (const failure of failures) console.log(`\n--- ${failure}`);
if (strict && total.skipped > 0) {
  console.log(`CI=true: ${total.skipped} skipped count as failed`);
  total.failed += total.skipped;
  total.skipped = 0;
}
console.log(`       everything (${since(startedAll)})`);
console.log(`${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ""}`);
process.exit(total.failed === 0 ? 0 : 1);
