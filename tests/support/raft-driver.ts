/** A RaftDriver on a virtual clock, with stores in memory. */
import { MemoryRaftStore, MemorySnapshotStore } from "../../adapters/shared/memory.ts";
import type { Random } from "../../core/ports/random.ts";
import type { LogEntry, RaftStore } from "../../core/ports/storage.ts";
import type { Logger } from "../../core/ports/telemetry.ts";
import { type LeaderEvent, loadRaft, RaftDriver, type RaftDriverOptions } from "../../core/raft/driver.ts";
import { raftTiming } from "../../core/raft/messages.ts";
import type { RaftMachineOptions } from "../../core/raft/raft.ts";
import { VirtualClock } from "./virtual-clock.ts";

export const silent: Logger = { log: () => undefined, enabled: () => false, child: () => silent };

/** A small generator with good enough mixing for tests (splitmix32). */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return {
    uint32() {
      state = (state + 0x9e3779b9) >>> 0;
      let mixed = state ^ (state >>> 16);
      mixed = Math.imul(mixed, 0x21f0aaad);
      mixed ^= mixed >>> 15;
      mixed = Math.imul(mixed, 0x735a2d97);
      return (mixed ^ (mixed >>> 15)) >>> 0;
    },
    fork(label) {
      let hash = state;
      for (let at = 0; at < label.length; at++) hash = Math.imul(hash ^ label.charCodeAt(at), 0x01000193) >>> 0;
      return seededRandom(hash);
    },
  };
}

export interface Single {
  readonly driver: RaftDriver;
  readonly clock: VirtualClock;
  readonly applied: LogEntry[];
  readonly leaders: LeaderEvent[];
  readonly fatal: unknown[];
}

/** A server that is alone. `apply` answers with the text of each entry. */
export async function openSingle(
  overrides: {
    store?: RaftStore;
    clock?: VirtualClock;
    machine?: Partial<RaftMachineOptions>;
    driver?: Partial<RaftDriverOptions>;
  } = {},
): Promise<Single> {
  const clock = overrides.clock ?? new VirtualClock();
  const store = overrides.store ?? new MemoryRaftStore();
  const snapshots = overrides.driver?.snapshots ?? new MemorySnapshotStore();
  const { machine } = await loadRaft(store, snapshots, {
    id: "a",
    random: seededRandom(1),
    timing: raftTiming(1, true),
    bootstrap: { servers: [{ id: "a", address: "127.0.0.1:8300", voter: true }] },
    now: clock.monotonic(),
    ...overrides.machine,
  });
  const applied: LogEntry[] = [];
  const leaders: LeaderEvent[] = [];
  const fatal: unknown[] = [];
  const driver = new RaftDriver({
    machine,
    clock,
    store,
    snapshots,
    logger: silent,
    apply(entries) {
      applied.push(...entries);
      return entries.map((entry) => new TextDecoder().decode(entry.data));
    },
    send: () => undefined,
    onLeader: (event) => leaders.push(event),
    onFatal: (error) => fatal.push(error),
    ...overrides.driver,
  });
  driver.start();
  return { driver, clock, applied, leaders, fatal };
}
