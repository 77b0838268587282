/**
 * The log in files that are begun anew by size and by age, as Consul 1.8 names and keeps them.
 *
 *   -log-file=dir/          dir/consul-1795196520800925510.log      the time of its making, in nanoseconds
 *   -log-file=dir/my.txt    dir/my-1795196531356501384.txt
 *   -log-file=dir/agent     dir/agent-1795196534851026327.log
 *
 * Every start begins a new file; nothing that was there is written to. When a line is due and the file has reached
 * `rotateBytes` or is as old as `rotateDuration`, older files are pruned and the next one is begun: besides it `maxFiles`
 * stay (all with 0, none with a negative number). Consul prunes whatever looks like "my-*.txt"; here the middle must be
 * digits, so that the files of another agent called "my-other.txt" are safe.
 */
import type { Clock } from "../../core/ports/clock.ts";
import type { Host } from "../../core/ports/host.ts";
import { utf8 } from "../../core/types/bytes.ts";
import { messageOf } from "../../core/types/errors.ts";
import type { Millis } from "../../core/types/ids.ts";

export interface LogFileOptions {
  /** As `log_file` gives it: a file's name, or a directory with its last slash. */
  readonly path: string;
  /** 0: files grow without limit. */
  readonly rotateBytes: number;
  readonly rotateDuration: Millis;
  readonly maxFiles: number;
  readonly host: Pick<Host, "writeFile" | "appendFile" | "removeFile" | "readDirectory">;
  readonly clock: Pick<Clock, "wall" | "monotonic">;
  /** Told when a file cannot be written or pruned; once, until one can be again. */
  readonly onProblem: (problem: string) => void;
}

/** Lines that wait for the disk, in UTF-16 units. Beyond it new ones are dropped, and counted. */
export const waitingCharactersMax = 8 * 1024 * 1024;

const fileMode = 0o640;
const defaultName = "consul.log";

export class LogFile {
  readonly #options: LogFileOptions;
  readonly #directory: string;
  readonly #prefix: string;
  readonly #extension: string;
  #current = "";
  #lastStamp = "";
  #begunAt: Millis = 0;
  #bytes = 0;
  #waiting: string[] = [];
  #waitingCharacters = 0;
  #dropped = 0;
  #writing: Promise<void> | undefined;
  #broken = false;

  /** Nothing is written before {@link begin}. */
  constructor(options: LogFileOptions) {
    this.#options = options;
    const slash = options.path.lastIndexOf("/") + 1;
    this.#directory = options.path.slice(0, slash);
    const name = options.path.slice(slash) || defaultName;
    const dot = name.lastIndexOf(".");
    this.#extension = dot < 0 ? ".log" : name.slice(dot);
    this.#prefix = `${dot < 0 ? name : name.slice(0, dot)}-`;
  }

  /** Puts a line, given without its line break, after the others. Never throws. */
  write(line: string): void {
    if (this.#waitingCharacters + line.length > waitingCharactersMax) {
      this.#dropped++;
      return;
    }
    this.#waiting.push(line);
    this.#waitingCharacters += line.length;
    this.#writing ??= this.#drain();
  }

  /** Resolves when every line given so far was written, or could not be. */
  async flushed(): Promise<void> {
    await this.#writing;
  }

  /** Whatever gathers while one write is under way is the next one. */
  async #drain(): Promise<void> {
    // The lines of one turn go together.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const lines = this.#waiting;
      this.#waiting = [];
      this.#waitingCharacters = 0;
      if (this.#dropped > 0) lines.push(`${this.#dropped} lines are missing here: the disk did not keep up`);
      this.#dropped = 0;
      try {
        await this.#append(lines);
        this.#broken = false;
      } catch (error) {
        this.#say(messageOf(error));
      }
    }
    this.#writing = undefined;
  }

  async #append(lines: readonly string[]): Promise<void> {
    let together = "";
    const flush = async (): Promise<void> => {
      const content = utf8(together);
      together = "";
      if (content.length > 0) await this.#options.host.appendFile(this.#current, content);
    };
    for (const line of lines) {
      if (this.#isFull()) {
        await flush();
        await this.#rotate();
      }
      const written = `${line}\n`;
      together += written;
      this.#bytes += utf8(written).length;
    }
    await flush();
  }

  #isFull(): boolean {
    const { rotateBytes, rotateDuration, clock } = this.#options;
    return (rotateBytes > 0 && this.#bytes >= rotateBytes) || clock.monotonic() - this.#begunAt >= rotateDuration;
  }

  /** A disk where nothing can be removed or begun any more is written on where it was. */
  async #rotate(): Promise<void> {
    try {
      await this.#prune();
      await this.begin();
    } catch (error) {
      this.#say(messageOf(error));
    }
  }

  async #prune(): Promise<void> {
    const { maxFiles, host } = this.#options;
    if (maxFiles === 0) return;
    const files = (await host.readDirectory(this.#directory || ".")).filter((name) => this.#isOurs(name)).sort();
    const stale = maxFiles < 0 ? files : files.slice(0, Math.max(0, files.length - maxFiles));
    for (const name of stale) await host.removeFile(this.#directory + name);
  }

  #isOurs(name: string): boolean {
    if (!name.startsWith(this.#prefix) || !name.endsWith(this.#extension)) return false;
    return /^\d+$/.test(name.slice(this.#prefix.length, name.length - this.#extension.length));
  }

  /** A new file, whatever there is. Rejects with the host's text ("open dir/x-1795….log: no such file or directory"). */
  async begin(): Promise<void> {
    const { host, clock } = this.#options;
    const stamp = this.#stamp();
    const path = `${this.#directory}${this.#prefix}${stamp}${this.#extension}`;
    await host.writeFile(path, utf8(""), fileMode);
    this.#current = path;
    this.#lastStamp = stamp;
    this.#begunAt = clock.monotonic();
    this.#bytes = 0;
  }

  /** The clock knows milliseconds; what is below them tells files of one millisecond apart, in order. */
  #stamp(): string {
    const now = `${Math.floor(this.#options.clock.wall())}000000`;
    return this.#lastStamp < now ? now : String(BigInt(this.#lastStamp) + 1n);
  }

  #say(problem: string): void {
    if (!this.#broken) this.#options.onProblem(problem);
    this.#broken = true;
  }
}
