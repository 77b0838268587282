// How long a group of three takes no writes after its leader is killed, or stands still. Three real processes.
// usage: esbuild --bundle --platform=node --format=esm --packages=external --define:process.env.TEST_ROOT="\"$PWD\"" \
//          tests/bench/failover.ts --outfile=.build/failover.mjs && [CONSUL_RUNTIME=bun] node .build/failover.mjs [ROUNDS]
import { performance } from "node:perf_hooks";
import { setTimeout as pause } from "node:timers/promises";
import { Group, type Server } from "../support/group.ts";
import { request } from "../support/program.ts";

const rounds = Number(process.argv[2] ?? 5);
/** A new write sets out this often. */
const every = 20;
const giveUp = 60_000;

/** Milliseconds from `act` to the first acknowledgement, at a survivor, of a write or a read that was asked for afterwards. */
async function outage(survivor: Server, act: () => void): Promise<{ readonly write: number; readonly read: number }> {
  const start = performance.now();
  act();
  let write = Number.POSITIVE_INFINITY;
  let read = Number.POSITIVE_INFINITY;
  const took = (): number => performance.now() - start;
  for (let at = 0; !Number.isFinite(write + read) && took() < giveUp; at++) {
    request(survivor.ports.http, "PUT", "/v1/kv/probe", String(at)).then(({ status }) => {
      if (status === 200) write = Math.min(write, took());
    }, ignored);
    request(survivor.ports.http, "GET", "/v1/kv/probe?consistent").then(({ status }) => {
      if (status === 200 || status === 404) read = Math.min(read, took());
    }, ignored);
    await pause(every);
  }
  return { write, read };
}

/** A probe that fails tells nothing; a later one will not. */
function ignored(): void {}

function figures(times: readonly number[]): string {
  const sorted = [...times].sort((left, right) => left - right).map((time) => Math.round(time));
  return `median ${sorted[sorted.length >> 1]} ms, ${sorted[0]} to ${sorted.at(-1)} ms`;
}

for (const raftMultiplier of [1, 5]) {
  const group = await Group.start({ raftMultiplier });
  for (const how of ["kill -9", "SIGSTOP"] as const) {
    const measured: { readonly write: number; readonly read: number }[] = [];
    for (let round = 0; round < rounds; round++) {
      const leader = await group.leader();
      const survivor = group.others(leader)[round % 2] as Server;
      measured.push(await outage(survivor, () => (how === "kill -9" ? void group.kill(leader) : group.pause(leader))));
      if (how === "kill -9") {
        await leader.agent.ended();
        await group.restart(leader);
      } else {
        group.resume(leader);
        await group.fresh();
      }
    }
    console.log(`raft_multiplier ${raftMultiplier}, ${how}: writes ${figures(measured.map(({ write }) => write))}`);
    console.log(`raft_multiplier ${raftMultiplier}, ${how}: reads  ${figures(measured.map(({ read }) => read))}`);
  }
  await group.stop();
}
