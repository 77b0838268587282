/** The ports a pool and an RPC server need, over the platform's sockets. */
import { createClock } from "../../adapters/node-api/clock.ts";
import { createCrypto } from "../../adapters/node-api/crypto.ts";
import { createDatagrams } from "../../adapters/node-api/datagrams.ts";
import { createStreams } from "../../adapters/node-api/streams.ts";
import { createRandom, seedOf } from "../../adapters/shared/random.ts";
import type { Logger } from "../../core/ports/telemetry.ts";
import { patience } from "../support/patience.ts";
import { freePort } from "./peers.ts";
import { createPool, type Pool, type PoolEvent, type PoolOptions } from "../../core/serf/pool.ts";

/** Keeps what is logged, for the message of a test that fails. */
export function keepingLogger(lines: string[]): Logger {
  const logger: Logger = {
    log: (level, message) => void lines.push(`${level} ${message}`),
    enabled: () => true,
    child: () => logger,
  };
  return logger;
}

export function realPorts(seed: string, lines: string[] = []) {
  const clock = createClock();
  return {
    clock,
    random: createRandom(seedOf(seed)),
    crypto: createCrypto(),
    datagrams: createDatagrams(clock),
    streams: createStreams(clock),
    logger: keepingLogger(lines),
  };
}

export interface OwnPool {
  readonly pool: Pool;
  readonly events: PoolEvent[];
  readonly address: string;
  readonly log: readonly string[];
}

/** A pool of ours, started: quick to tell what it knows, patient with a busy machine. */
export async function ownPool(host: string, options: Partial<PoolOptions> = {}): Promise<OwnPool> {
  const events: PoolEvent[] = [];
  const log: string[] = [];
  const pool = createPool({
    ...realPorts(host, log),
    kind: "lan",
    name: "ours",
    bind: { host, port: await freePort() },
    tags: { role: "ours" },
    gossip: { gossipNodes: 3, gossipInterval: 100, probeInterval: 1000, probeTimeout: 500, suspicionMult: 4, retransmitMult: 4 },
    // A question is over when all have answered: a minute is for a machine that stands still.
    serf: { leavePropagateDelay: 500, queryTimeoutMult: 600 },
    timing: { streamTimeout: patience },
    onEvent: (event) => events.push(event),
    ...options,
  });
  const { port } = await pool.start();
  return { pool, events, log, address: `${host}:${port}` };
}

export function statusOf(pool: Pool, name: string): string | undefined {
  return pool.members().find((member) => member.name === name)?.status;
}
