/** One of the pools an agent gossips in, made from its configuration: the datacenter's (lan), or the servers' of all (wan). */
import type { StringMap } from "../catalog/records.ts";
import type { AgentConfig } from "../config/config.ts";
import type { FileStore, Logger, Runtime } from "../ports/mod.ts";
import { createPool, type Pool, type PoolEvent, type PoolOptions } from "../serf/pool.ts";
import { AgentError } from "../types/errors.ts";
import { type PoolKeys, poolEncryption } from "./keyring-files.ts";
import { poolRules, refuseInLan, refuseInWan } from "./servers.ts";

export interface GossipPoolOptions {
  readonly kind: "lan" | "wan";
  readonly runtime: Runtime;
  readonly config: AgentConfig;
  readonly nodeId: string;
  /** Where gossip remembers members across a restart. Undefined: nowhere. */
  readonly files: FileStore | undefined;
  readonly logger: Logger;
  readonly tags: StringMap;
  readonly keys: PoolKeys | undefined;
  readonly onEvent: (event: PoolEvent) => void;
}

/** Between datacenters: slower rounds, more patience (memberlist's WAN defaults). */
const wanTiming = { pushPullInterval: 60_000, gossipToTheDead: 60_000, streamTimeout: 30_000 } as const;

/** Throws `config-invalid` where the runtime has no sockets. */
export function createGossipPool(options: GossipPoolOptions): Pool {
  const { kind, runtime, config, nodeId, files, logger, tags, keys, onEvent } = options;
  const { clock, random, crypto, metrics, datagrams, streams } = runtime;
  if (datagrams === undefined || streams === undefined)
    throw new AgentError("config-invalid", {
      message: `The runtime "${runtime.name}" has no sockets: an agent cannot gossip there`,
    });
  const { memory, ...surroundings } = surroundingsOf(config, kind);
  const { nodeName, datacenter, rejoinAfterLeave } = config;
  const self = { name: nodeName, id: nodeId, datacenter };
  return createPool({
    kind,
    clock,
    random,
    crypto,
    datagrams,
    streams,
    logger,
    metrics,
    name: nameInPool(config, kind),
    tags,
    ...surroundings,
    ...poolEncryption(keys, config),
    ...(files === undefined ? {} : { snapshot: { files, name: memory, rejoinAfterLeave } }),
    serf: {
      ...poolRules(config, kind),
      refuse: kind === "lan" ? (members) => refuseInLan(members, self) : refuseInWan,
    },
    onEvent,
  });
}

/** A server is NODE.DATACENTER in the pool of all datacenters. */
export function nameInPool({ nodeName, datacenter }: AgentConfig, kind: "lan" | "wan"): string {
  return kind === "lan" ? nodeName : `${nodeName}.${datacenter}`;
}

function surroundingsOf(
  config: AgentConfig,
  kind: "lan" | "wan",
): Pick<PoolOptions, "bind" | "advertise" | "gossip" | "timing"> & { readonly memory: string } {
  const { ports } = config;
  if (kind === "lan")
    return {
      bind: { host: config.serfLanBind, port: ports.serfLan },
      advertise: config.advertiseAddr,
      gossip: config.gossipLan,
      memory: "serf/local.snapshot",
    };
  return {
    bind: { host: config.serfWanBind, port: ports.serfWan },
    advertise: config.advertiseAddrWan,
    gossip: config.gossipWan,
    timing: wanTiming,
    memory: "serf/remote.snapshot",
  };
}
