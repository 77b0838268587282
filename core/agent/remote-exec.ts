/**
 * Runs what `consul exec` asks for, where the configuration allows it (`disable_remote_exec = false`). Whoever may write
 * below the prefix and fire the event runs any program as this agent's user.
 *
 *   event _rexec {Prefix, Session}
 *     └► read PREFIX/SESSION/job ─► write …/NODE/ack ─► run ─► …/NODE/out/00000, 00001… ─► …/NODE/exit
 *
 * All keys are held by the asker's session, so that they go with it, and nothing more can be written once it is gone. The
 * program is read no faster than its output can be written. (Consul 1.8, remote_exec.go.)
 */
import { parseExactJson } from "../config/json.ts";
import type { StoreApi, UserEvent } from "../plugin/agent-api.ts";
import type { Clock, CommandEnd, Host, Logger, ProcessRunner } from "../ports/mod.ts";
import { type Bytes, concat, emptyBytes, fromBase64, text, utf8 } from "../types/bytes.ts";
import { messageOf, unreachable } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import { joinKeyPath } from "../types/key-path.ts";

export interface RemoteExecOptions {
  readonly store: StoreApi;
  readonly processes: ProcessRunner;
  readonly host: Host;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly node: string;
  /** A name for a file that nobody else has. */
  readonly uniqueName: () => string;
}

/** Output is written in pieces of this size, or what there is after this long. */
const outputBytes = 4096;
const outputPause: Millis = 500;
/** Jobs at a time. */
const jobsMax = 64;
/** Of the heartbeat that a job without output shows; what askers want is a second or two. */
const heartbeatMin: Millis = 100;
const couldNotRun = 255;
/** Only its owner: it may hold secrets. */
const scriptMode = 0o750;

interface Job {
  readonly command: string;
  readonly args: readonly string[];
  readonly script: Bytes;
  /** How long the asker waits for a sign of life. */
  readonly wait: Millis;
}

export class RemoteExec {
  readonly #options: RemoteExecOptions;
  #running = 0;

  constructor(options: RemoteExecOptions) {
    this.#options = options;
  }

  /** Begins in the background; what goes wrong is logged, and told to the asker where that is possible. */
  handle(event: UserEvent): void {
    const { logger } = this.#options;
    logger.log("debug", "received remote exec event", { id: event.id });
    if (this.#running >= jobsMax) {
      logger.log("warn", "ignoring remote exec event, too many jobs are running", { id: event.id, jobs: this.#running });
      return;
    }
    this.#running++;
    this.#carryOut(event)
      .catch((error: unknown) => logger.log("error", "remote exec failed", { id: event.id, error: messageOf(error) }))
      .finally(() => {
        this.#running--;
      });
  }

  async #carryOut(event: UserEvent): Promise<void> {
    const { logger, node } = this.#options;
    const asked = objectIn(event.payload ?? emptyBytes);
    if (asked === undefined) {
      logger.log("error", "failed to decode remote exec event", { error: "not a JSON object" });
      return;
    }
    const session = String(asked["Session"] ?? "");
    const folder = joinKeyPath(String(asked["Prefix"] ?? ""), session);
    const job = await this.#read(`${folder}/job`);
    if (job === undefined) return;
    const results = new Results(this.#options, joinKeyPath(folder, node), session);
    if (!(await results.write("ack", emptyBytes))) return;
    let code = couldNotRun;
    try {
      code = await this.#run(job, results);
    } finally {
      await results.write("exit", utf8(String(code)));
    }
  }

  /** A stale read costs the leader nothing; only when it finds nothing, the leader is asked. */
  async #read(key: string): Promise<Job | undefined> {
    const { store, logger } = this.#options;
    for (const consistency of ["stale", "default"] as const) {
      const { answer } = await store.read<"kvGet">({ kind: "kvGet", key }, { consistency });
      if (answer === undefined) continue;
      const job = jobIn(answer.value);
      if (job === undefined) logger.log("error", "failed to decode remote exec spec", { error: "not a job" });
      return job;
    }
    logger.log("debug", "remote exec aborted, job spec missing");
    return undefined;
  }

  async #run(job: Job, results: Results): Promise<number> {
    const { host, logger, processes, clock, uniqueName } = this.#options;
    const file = `${host.env["TMPDIR"] || "/tmp"}/rexec${uniqueName()}`;
    const isScript = job.script.length > 0;
    try {
      if (isScript) await host.writeFile(file, job.script, scriptMode);
      const script = isScript ? file : job.command;
      logger.log("info", "remote exec script", { script });
      const argv = argvOf(job, host.env["SHELL"] || "/bin/sh", script);
      const output = new OutputPieces(clock, Math.max(heartbeatMin, job.wait), (piece) => results.output(piece));
      const child = processes.start({ argv, env: {}, stdin: "none", output: (piece) => output.add(piece) });
      void output.failed.then(() => child.signal("SIGKILL"));
      const end = await child.ended;
      if (end.kind === "failed") logger.log("debug", "failed to start remote exec", { error: end.error });
      const written = await output.end();
      return written ? codeOf(end) : couldNotRun;
    } finally {
      if (isScript) await host.removeFile(file).catch(() => {});
    }
  }
}

/** Keys below the job's that this node writes. */
class Results {
  readonly #options: RemoteExecOptions;
  readonly #folder: string;
  readonly #session: string;
  #pieces = 0;

  constructor(options: RemoteExecOptions, folder: string, session: string) {
    this.#options = options;
    this.#folder = folder;
    this.#session = session;
  }

  /** An empty piece is a sign of life. */
  output(piece: Bytes): Promise<boolean> {
    return this.write(`out/${(this.#pieces++).toString(16).padStart(5, "0")}`, piece);
  }

  /** False: the asker is gone, or the servers are. */
  async write(name: string, value: Bytes): Promise<boolean> {
    const { store, logger } = this.#options;
    const key = `${this.#folder}/${name}`;
    try {
      const op = { op: "acquire", key, value, flags: 0, session: this.#session } as const;
      const result = await store.write({ kind: "kv", op, now: store.now() });
      if (result.kind === "took" && result.effect) return true;
      const error = result.kind === "rejected" ? result.message : "write failed";
      logger.log("error", "failed to write remote exec result", { key, error });
    } catch (error) {
      logger.log("error", "failed to write remote exec result", { key, error: messageOf(error) });
    }
    return false;
  }
}

/** Between a program's output and the writes of it: one write at a time, in pieces, and a heartbeat when there is nothing. */
class OutputPieces {
  /** Resolves when a piece could not be written. */
  readonly failed: Promise<void>;
  readonly #clock: Clock;
  readonly #heartbeat: Millis;
  readonly #write: (piece: Bytes) => Promise<boolean>;
  #waiting: Bytes = emptyBytes;
  #writing: Promise<boolean> = Promise.resolve(true);
  #timer: { cancel(): void } | undefined;
  #ended = false;
  #broken = false;
  #fail: () => void = () => {};

  constructor(clock: Clock, heartbeat: Millis, write: (piece: Bytes) => Promise<boolean>) {
    this.#clock = clock;
    this.#heartbeat = heartbeat;
    this.#write = write;
    this.failed = new Promise((resolve) => {
      this.#fail = resolve;
    });
    this.#rest();
  }

  /** Settles when more may come. */
  async add(piece: Bytes): Promise<void> {
    if (this.#broken) return;
    this.#waiting = this.#waiting.length === 0 ? piece : concat([this.#waiting, piece]);
    if (this.#waiting.length < outputBytes) {
      this.#schedule(outputPause, () => this.#flush());
      return;
    }
    await this.#flush();
  }

  /** False: not all of it could be written. */
  async end(): Promise<boolean> {
    this.#ended = true;
    this.#timer?.cancel();
    await this.#flush();
    return !this.#broken;
  }

  async #flush(): Promise<void> {
    this.#timer?.cancel();
    const whole = this.#waiting;
    this.#waiting = emptyBytes;
    for (let at = 0; at < whole.length; at += outputBytes) this.#queue(whole.slice(at, at + outputBytes));
    await this.#writing;
    this.#rest();
  }

  #queue(piece: Bytes): void {
    this.#writing = this.#writing.then(async () => {
      if (this.#broken || (await this.#write(piece))) return !this.#broken;
      this.#broken = true;
      this.#fail();
      return false;
    });
  }

  #rest(): void {
    if (this.#ended || this.#broken || this.#waiting.length > 0) return;
    this.#schedule(this.#heartbeat, async () => {
      this.#queue(emptyBytes);
      await this.#writing;
      this.#rest();
    });
  }

  #schedule(delay: Millis, act: () => Promise<void>): void {
    this.#timer?.cancel();
    this.#timer = this.#clock.after(delay, () => void act());
  }
}

/** A shell's two outputs are one pipe, so that what it prints stays in order. */
function argvOf({ args }: Job, shell: string, script: string): readonly [string, ...string[]] {
  const [program, ...rest] = args;
  if (program !== undefined) return [program, ...rest];
  return ["/bin/sh", "-c", 'exec "$0" "$@" 2>&1', shell, "-c", script];
}

function codeOf(end: CommandEnd): number {
  switch (end.kind) {
    case "exited":
      return end.code;
    case "signalled":
      return -1;
    case "failed":
      return couldNotRun;
    default:
      return unreachable(end);
  }
}

function objectIn(content: Bytes): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = parseExactJson(text(content));
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function jobIn(content: Bytes): Job | undefined {
  const fields = objectIn(content);
  if (fields === undefined) return undefined;
  const { Command: command = "", Args: args, Script: script = "", Wait: wait = 0 } = fields;
  const decoded = fromBase64(String(script ?? ""));
  if (typeof command !== "string" || typeof wait !== "number" || !("bytes" in decoded)) return undefined;
  const words = Array.isArray(args) ? args.map(String) : [];
  if (command === "" && words.length === 0 && decoded.bytes.length === 0) return undefined;
  // Go's durations are nanoseconds.
  return { command, args: words, script: decoded.bytes, wait: wait / 1e6 };
}
