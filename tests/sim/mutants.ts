/**
 * Planted errors, to measure the simulator: each must be found by a checker within a fixed number of seeds.
 *
 *   source of core or of the simulator's lanes ──edit──► a bundle of its own ──► seeds 1, 2, 3, … until one fails
 *
 * Production code has no switches for this. An edit is a piece of the source and what stands in its place while the
 * mutant is bundled; a piece that is not found exactly once fails the test, so that the list follows the code. The error is
 * the one that somebody could really have written, and machine, checkers and seeds are otherwise those of every other run.
 *
 * Not in this list, because no run shows it within thousands of seeds: beginning at an older snapshot than the one the log
 * was dropped for. It takes a server whose newest snapshot rots just while its log is empty; tests/core/raft/restore.test.ts
 * tells it directly. Acknowledging a write that failed is not there because the lane's contract leaves nobody to do so: a
 * failed write ends the process (adapters/sim/driven-server.ts runs the driver that does it).
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import type { runDriven } from "../../adapters/sim/driven-group.ts";
import type { Failure, Profile, runSeed } from "../../adapters/sim/simulate.ts";
import type { huntAgents } from "./agent-swarm.ts";
import type { runLog } from "./log-swarm.ts";

const root = process.env["TEST_ROOT"] as string;

export interface Mutation {
  readonly name: string;
  readonly file: string;
  readonly edits: readonly (readonly [source: string, replacement: string])[];
  /** Where it is looked for; default: in all that the swarm does. */
  readonly profile?: Profile;
  /** About how many seeds it takes: too many for every day. Looked for in long runs only. */
  readonly rare?: number;
}

type Search = Pick<Mutation, "profile" | "rare">;
const one = (name: string, file: string, source: string, replacement: string, search: Search = {}): Mutation => ({
  name,
  file,
  edits: [[source, replacement]],
  ...search,
});

export const mutations: readonly Mutation[] = [
  {
    name: "acknowledge before it is durable",
    file: "core/raft/replication.ts",
    edits: [
      [
        "if (raft.matched > raft.log.durable) raft.acknowledgementOwed = true;\n  else sendAcknowledgement",
        "sendAcknowledgement",
      ],
      ["const index = Math.min(raft.matched, raft.log.durable);", "const index = raft.matched;"],
    ],
  },
  one(
    "vote twice",
    "core/raft/election.ts",
    "const free = raft.votedFor === undefined || raft.votedFor === request.from;",
    "const free = true;",
  ),
  {
    name: "vote for a shorter log",
    file: "core/raft/election.ts",
    edits: [
      ["raft.leader === undefined && raft.log.isUpToDate(request.lastIndex, request.lastTerm)", "raft.leader === undefined"],
      ["!hearsLeader(raft) && raft.log.isUpToDate(request.lastIndex, request.lastTerm)", "!hearsLeader(raft)"],
    ],
  },
  one("speak before the term is durable", "core/raft/state.ts", "if (this.hardStateDurable === this.hardStateVersion) {", "{"),
  one("forget to store the vote", "core/raft/disk.ts", "votedFor: raft.votedFor }", "votedFor: undefined }"),
  one(
    "commit an old term by counting",
    "core/raft/replication.ts",
    "if (reached <= log.committed || log.termAt(reached) !== raft.term) return;",
    "if (reached <= log.committed) return;",
    { profile: "turbulent", rare: 600 },
  ),
  one(
    "half of an even group is a majority",
    "core/raft/quorum.ts",
    "return Math.floor(voters / 2) + 1;",
    "return Math.ceil(voters / 2);",
  ),
  one(
    "count learners",
    "core/raft/membership.ts",
    "this.configuration.servers.filter((server) => server.voter).map(",
    "this.configuration.servers.map(",
  ),
  one(
    "two membership changes at once",
    "core/raft/replication.ts",
    'return settled ? undefined : "change-pending";',
    "return undefined;",
  ),
  one(
    "never campaign while losing the vote",
    "core/raft/state.ts",
    "return this.isVoter || this.membership.isVoterSince(this.log.committed, this.id);",
    "return this.isVoter;",
    { rare: 500 },
  ),
  {
    name: "stale lease",
    file: "core/raft/reads.ts",
    edits: [
      ["if (!raft.isSoleVoter && !clocksAgree(leadership, now, wall)) return false;", ""],
      ["return raft.isSoleVoter || (now < leadership.leaseUntil && !leadership.handedOver);", "return true;"],
    ],
  },
  one(
    "a lease by the clock that stood still",
    "core/raft/reads.ts",
    "if (!raft.isSoleVoter && !clocksAgree(leadership, now, wall)) return false;",
    "",
  ),
  {
    name: "keep the lease while handing over",
    file: "core/raft/transfer.ts",
    edits: [["leadership.handedOver = true;\n  leadership.leaseUntil = Number.NEGATIVE_INFINITY;", ""]],
  },
  one(
    "vote while a leader is heard",
    "core/raft/election.ts",
    'return raft.role === "leader" || (raft.term > 0 && raft.now < raft.leaderContact + raft.timing.heartbeat);',
    'return raft.role === "leader";',
    { profile: "turbulent", rare: 200 },
  ),
  one(
    "read without asking the others",
    "core/raft/reads.ts",
    "if (raft.isSoleVoter) raft.events.push(",
    "if (true) raft.events.push(",
  ),
  one(
    "read at the commit index of an earlier term",
    "core/raft/reads.ts",
    "const index = Math.max(log.committed, leadership.firstIndex);",
    "const index = log.committed;",
  ),
  {
    name: "answer reads before applying",
    file: "adapters/sim/pending-requests.ts",
    edits: [
      ["(reading) => reading.index <= applied", "() => true"],
      ["(reading) => reading.index > applied", "() => false"],
    ],
  },
  one(
    "serve reads before the barrier",
    "adapters/sim/group-server.ts",
    'return machine.role === "leader" && this.#leadingTerm === machine.term;',
    'return machine.role === "leader";',
  ),
  one(
    "tell a follower to commit what it may not hold",
    "core/raft/reads.ts",
    "const commit = Math.min(log.committed, progress.match);",
    "const commit = log.committed;",
  ),
  {
    name: "accept an append of an old term",
    file: "core/raft/raft.ts",
    edits: [
      [
        "if (message.term < raft.term) {\n      this.#answerStale",
        'if (message.term < raft.term && message.kind !== "append") {\n      this.#answerStale',
      ],
      ["if (leads) {", "if (leads && message.term >= raft.term) {"],
    ],
  },
  one(
    "never step down on a stalled disk",
    "core/raft/raft.ts",
    "if (raft.now >= raft.diskDeadline || raft.now - majorityContact(raft) > raft.timing.lease) {",
    "if (raft.now - majorityContact(raft) > raft.timing.lease) {",
  ),
  one("ignore truncation on disk", "core/raft/disk.ts", "...(truncateFrom === undefined ? undefined : { truncateFrom }),", ""),
  one(
    "take the old entry's write for the new one's",
    "core/raft/replication.ts",
    "if (raft.inFlight !== undefined && raft.inFlight.through >= from) raft.inFlight.through = from - 1;",
    "",
  ),
  one(
    "apply twice",
    "core/raft/raft.ts",
    "log.slice(log.applied, applicable,",
    "log.slice(Math.max(log.purged, log.applied - 1), applicable,",
  ),
  one(
    "snapshot with a wrong index",
    "core/raft/raft.ts",
    "return { index: log.applied, term,",
    "return { index: log.committed, term,",
  ),
  one(
    "snapshot of a later state",
    "adapters/sim/snapshot-saver.ts",
    "const content = concat([...snapshot]);",
    "const content = concat([...catalog.snapshot()]);",
  ),
  one(
    "lose an entry when compacting",
    "core/raft/snapshots.ts",
    "raft.compactTo = log.purged;",
    "raft.compactTo = log.purged + 1;",
  ),
  one(
    "wait for ever for a lost probe",
    "core/raft/replication.ts",
    "if (reply.round > progress.waitingSince) progress.waiting = false;",
    "",
  ),
  one(
    "a renewal is confirmed and forgotten",
    "core/agent/session-timers.ts",
    "deadline.at = this.#options.clock.monotonic() + deadline.ttl * ttlMultiplier;\n    this.#arm(deadline.at);\n    return true;",
    "return true;",
  ),
  one("renew a session whose end is on its way", "core/agent/session-timers.ts", "if (deadline.attempts > 0) return false;", ""),
  one(
    "a new leader knows of no session",
    "adapters/sim/group-server.ts",
    'for (const session of this.catalog.evaluate({ kind: "sessions" }).answer) timers.add(session);',
    "",
  ),
  one("no lock delay", "core/catalog/sessions.ts", "if (delay > 0) tables.lockDelays.set(key, now + delay);", ""),
  one(
    "half a transaction",
    "core/catalog/catalog.ts",
    "if (errors.length > 0) tables.journal.rollback();\n        else tables.commit();",
    "tables.commit();",
  ),
  one(
    "a stale read with an index that it does not have",
    "adapters/sim/group-server.ts",
    "const index = machine.appliedIndex;\n    const record",
    "const index = machine.commitIndex;\n    const record",
  ),
  one(
    "forget a session's locks",
    "core/catalog/sessions.ts",
    "of tables.kv.heldBy(session.id)) {",
    "of [] as readonly string[]) {",
  ),
  one("lock what another session holds", "core/catalog/kv.ts", "if (before?.session !== undefined) return false;", ""),
  one(
    "check-and-set without a check",
    "core/catalog/kv.ts",
    "if ((tables.kv.get(write.key)?.modifyIndex ?? 0) !== expected) return false;",
    "",
  ),
];

/** Errors in how the log and the snapshots are kept on a disk. */
export const diskMutations: readonly Mutation[] = [
  one("skip the fsync", "adapters/shared/wal-log.ts", 'bytes: record }, { kind: "sync", name });', "bytes: record });"),
  one(
    "trust what a killed process had written",
    "adapters/shared/wal-log.ts",
    'steps.push({ kind: "sync", name }, { kind: "syncNames" });',
    "",
    { profile: "brittle" },
  ),
  one("rename a segment before it is synced", "adapters/shared/wal-log.ts", '{ kind: "sync", name: unfinished },', ""),
  one(
    "a new segment without term and vote",
    "adapters/shared/wal-log.ts",
    "payload = encodeBatch({ ...batch, hardState: this.#hardState });",
    "payload = encodeBatch(batch);",
  ),
  one(
    "a segment begun before a crash, without term and vote",
    "adapters/shared/wal-log.ts",
    "if (this.#isFirst()) payload",
    "if (steps.length > 0) payload",
    { profile: "brittle", rare: 400 },
  ),
  one(
    "delete a segment that is still needed",
    "adapters/shared/wal-log.ts",
    "this.#segments.length > 1 && (this.#segments[0] as Segment).lastIndex <= index)",
    "this.#segments.length > 1)",
  ),
  one(
    "take damage for a torn end",
    "adapters/shared/wal.ts",
    'return "a record fails its checksum and is not the last one";',
    "break;",
    { profile: "brittle" },
  ),
  one(
    "look for later records only behind the damaged place",
    "adapters/shared/wal.ts",
    "for (let later = at; later",
    "for (let later = at + alignment; later",
    { profile: "brittle", rare: 500 },
  ),
  one(
    "believe a record without its checksum",
    "adapters/shared/wal.ts",
    "if (crc32(payload) !== payloadCheck) return undefined;",
    "",
  ),
  one(
    "believe a snapshot without its checksum",
    "adapters/shared/snapshot-file.ts",
    "return new DataView(header.buffer, header.byteOffset, header.byteLength).getUint32(4) === this.#chain;",
    "return true;",
    { profile: "brittle" },
  ),
];

const wal = "adapters/shared/wal.ts";
const walLog = "adapters/shared/wal-log.ts";
const walTear = "adapters/shared/wal-tear.ts";

/** Errors that show in the log alone (log-swarm.ts), which sees its end hurt far more often than a group of servers does. */
export const logMutations: readonly Mutation[] = [
  one("do not zero after a cut", walLog, "if (offset !== undefined) steps.push(", "if (offset === -1) steps.push("),
  one(
    "append before the zeros are synced",
    walLog,
    'steps.push({ kind: "sync", name }, { kind: "syncNames" });',
    'if (offset === undefined) steps.push({ kind: "sync", name }, { kind: "syncNames" });',
  ),
  one(
    "cut whatever is damaged at the tail",
    wal,
    'return "the last record fails its checksum, and all of it was written";',
    "return undefined;",
  ),
  one(
    "cut a last record whose header is damaged",
    wal,
    'if (record === undefined) return "the header of the last record fails its checksum";',
    "if (record === undefined) return undefined;",
  ),
  one("take every tear for damage", wal, "if (hasUnwrittenPart(bytes, { at, end, sectorBytes }) ||", "if ("),
  one("take a missing first sector for damage", wal, "if (isZero(bytes, at, written) || ", "if ("),
  one("store what looks like an unwritten sector", walTear, "if (allLookWritten(record, placed)) return 0;", "return 0;"),
  one(
    "count sectors from where the record begins",
    walTear,
    "return (Math.floor(at / sectorBytes) + 1) * sectorBytes;",
    "return at + sectorBytes;",
  ),
  one(
    "note what is not durable yet",
    walLog,
    "nextSequence: this.#nextSequence }) };",
    "nextSequence: this.#nextSequence + 1 }) };",
  ),
  one("skip the fsync of a record", walLog, 'bytes: record }, { kind: "sync", name });', "bytes: record });"),
  one(
    "a segment begun before a crash, without its term",
    walLog,
    "if (this.#isFirst()) payload",
    "if (steps.length > 0) payload",
  ),
  one(
    "delete a segment that is needed",
    walLog,
    "this.#segments.length > 1 && (this.#segments[0] as Segment).lastIndex <= index)",
    "this.#segments.length > 1)",
  ),
];

/** Errors in what only the driven group runs: the driver and the store that do what others planned. */
export const drivenMutations: readonly Mutation[] = [
  one(
    "the driver does not wait for the disk",
    "core/raft/driver.ts",
    "this.#writing = durable.then(\n",
    "void durable.catch(() => undefined);\n    this.#writing = Promise.resolve().then(\n",
  ),
  one(
    "the driver goes on after a failed write",
    "core/raft/driver.ts",
    "// After a failed write nobody knows what the disk holds. Stop; only a restart, which reads it, may go on.\n        this.#fail(error);",
    'if (error !== undefined) this.feed({ kind: "written", ticket });',
    { profile: "brittle" },
  ),
  {
    name: "the store forgets to sync",
    file: "adapters/shared/raft-store.ts",
    edits: [
      ["await this.#open().sync();", ""],
      ["await this.#open().writeSynced(step.at, step.bytes);", "await this.#open().write(step.at, step.bytes);"],
    ],
  },
  one(
    "the driver drops the log before its snapshot is stored",
    "core/raft/driver.ts",
    "const meta = await snapshots.save(this.#machine.snapshotPoint(), captured);",
    'const point = this.#machine.snapshotPoint();\n      const saving = snapshots.save(point, captured);\n      this.feed({ kind: "snapshotTaken", index: point.index });\n      const meta = await saving;',
    { profile: "brittle", rare: 400 },
  ),
  one(
    "the driver applies while its state is replaced",
    "core/raft/driver.ts",
    "if (this.#replacing) return;\n    const entries",
    "const entries",
    { profile: "brittle", rare: 400 },
  ),
];

/** Errors in what only whole agents run (agent-swarm.ts): when a server may answer its clients. */
export const agentMutations: readonly Mutation[] = [
  one(
    "a lease read does not wait for what is committed",
    "core/agent/server-store.ts",
    "return leader.leading && raft.leaseValid() && hasApplied(raft);",
    "return leader.leading && raft.leaseValid();",
  ),
  one(
    "a follower reads without asking its leader",
    "core/agent/server-store.ts",
    "if (this.#mayAnswerNow(consistency)) {\n",
    'if (consistency === "default" || this.#mayAnswerNow(consistency)) {\n',
  ),
  one(
    "a follower does not wait for the index it was told",
    "core/agent/server-store.ts",
    "await raft.whenApplied(checkedInteger(index) ?? Number.MAX_SAFE_INTEGER, readTimeout);",
    "checkedInteger(index);",
  ),
];

/** The source with the error in it. Throws when an edit does not fit any more. */
function mutated({ name, file, edits }: Mutation): string {
  let source = readFileSync(join(root, file), "utf8");
  for (const [piece, replacement] of edits) {
    const parts = source.split(piece);
    if (parts.length !== 2) throw new Error(`"${name}" does not fit ${file} any more: ${parts.length - 1} times "${piece}"`);
    source = parts.join(replacement);
  }
  return source;
}

/** Bundles the simulator with the error in it, and gives its `runSeed`. */
export async function loadMutant(mutation: Mutation, directory: string): Promise<typeof runSeed> {
  const module = (await load(mutation, "adapters/sim/simulate.ts", directory)) as { readonly runSeed: typeof runSeed };
  return module.runSeed;
}

/** The same with the driven group's `runDriven`. */
export async function loadDrivenMutant(mutation: Mutation, directory: string): Promise<typeof runDriven> {
  const module = (await load(mutation, "adapters/sim/driven-group.ts", directory)) as { readonly runDriven: typeof runDriven };
  return module.runDriven;
}

/** The same with the log alone. */
export async function loadLogMutant(mutation: Mutation, directory: string): Promise<typeof runLog> {
  const module = (await load(mutation, "tests/sim/log-swarm.ts", directory)) as { readonly runLog: typeof runLog };
  return module.runLog;
}

/** The same with whole agents, and what hunts them. */
export async function loadAgentMutant(mutation: Mutation, directory: string): Promise<typeof huntAgents> {
  const module = (await load(mutation, "tests/sim/agent-swarm.ts", directory)) as { readonly huntAgents: typeof huntAgents };
  return module.huntAgents;
}

/** Bundles an entry point with the error in it, and gives what it exports. */
export async function load(mutation: Mutation, entryPoint: string, directory: string): Promise<unknown> {
  const source = mutated(mutation);
  const outfile = join(directory, `${mutation.name.replaceAll(/\W+/g, "-")}.mjs`);
  const path = join(root, mutation.file);
  await build({
    entryPoints: [join(root, entryPoint)],
    outfile,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "es2023",
    packages: "external",
    logLevel: "silent",
    plugins: [
      {
        name: "mutation",
        setup: (on) =>
          on.onLoad({ filter: /\.ts$/ }, (file) => (file.path === path ? { contents: source, loader: "ts" } : undefined)),
      },
    ],
  });
  return import(pathToFileURL(outfile).href);
}

export interface Catch {
  readonly seed: number;
  readonly failure: Pick<Failure, "checker" | "message">;
}

/** The first of `seeds` seeds that fails. */
export function hunt(run: typeof runSeed, seeds: number, profile?: Profile): Catch | undefined {
  for (let seed = 1; seed <= seeds; seed++) {
    const { failure } = run({ seed, ...(profile === undefined ? undefined : { profile }) });
    if (failure !== undefined) return { seed, failure };
  }
  return undefined;
}

/** The same for the driven group. */
export async function huntDriven(run: typeof runDriven, seeds: number, profile?: Profile): Promise<Catch | undefined> {
  for (let seed = 1; seed <= seeds; seed++) {
    const { failure } = await run({ seed, ...(profile === undefined ? undefined : { profile }) });
    if (failure !== undefined) return { seed, failure };
  }
  return undefined;
}
