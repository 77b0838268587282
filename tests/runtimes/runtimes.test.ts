/**
 * Every port's contract, on the runtime this file is executed on and on the simulator. Gaps are in the tables below, each
 * with its reason, and show up in the output.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { World } from "../../adapters/sim/world.ts";
import { createRuntime as createBunRuntime } from "../../adapters/bun/runtime.ts";
import { createRuntime as createDenoRuntime } from "../../adapters/deno/runtime.ts";
import { createRuntime as createNodeRuntime } from "../../adapters/node/runtime.ts";
import { compression } from "../../adapters/shared/compression.ts";
import { clockContract } from "../contract/clock.ts";
import { compressionContract } from "../contract/compression.ts";
import { cryptoContract } from "../contract/crypto.ts";
import { datagramsContract } from "../contract/datagrams.ts";
import { hostContract } from "../contract/host.ts";
import { httpClientContract } from "../contract/http-client.ts";
import { httpServerContract } from "../contract/http-server.ts";
import { logFollowContract } from "../contract/log-follow.ts";
import { processesContract } from "../contract/processes.ts";
import { randomContract } from "../contract/random.ts";
import { streamsContract } from "../contract/streams.ts";
import { telemetryContract } from "../contract/telemetry.ts";
import { tlsContract } from "../contract/tls.ts";
import { freePorts } from "../support/free-ports.ts";

const name = "Bun" in globalThis ? "bun" : "Deno" in globalThis ? "deno" : "node";

const gaps: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  node: {},
  bun: {},
  deno: {},
  sim: {},
};

const create = { node: createNodeRuntime, bun: createBunRuntime, deno: createDenoRuntime }[name];
const lines: string[] = [];
const folder = mkdtempSync(join(tmpdir(), "proconsul-contract-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const real = {
  name,
  runtime: create({ logSink: (line) => lines.push(line) }),
  address: "127.0.0.1",
  port: async (): Promise<number> => (await freePorts(1))[0] as number,
  run: (body: () => Promise<void>): Promise<void> => body(),
  gaps: gaps[name] ?? {},
};

clockContract(real);
randomContract(real);
cryptoContract(real);
datagramsContract(real);
streamsContract(real);
tlsContract(real);
processesContract(real);
hostContract(real, folder);
httpClientContract(real);
httpServerContract(real, join(folder, "http.sock"));
telemetryContract();
logFollowContract(real);
compressionContract("web streams", compression);

const world = new World("contract");
const host = world.host("a");
const simulated = {
  name: "sim",
  runtime: host.runtime,
  address: host.address,
  port: async (): Promise<number> => 0,
  run: (body: () => Promise<void>): Promise<void> => world.run(body()),
  gaps: gaps["sim"] ?? {},
};

clockContract(simulated);
randomContract(simulated);
cryptoContract(simulated);
datagramsContract(simulated);
streamsContract(simulated);
httpClientContract(simulated);
