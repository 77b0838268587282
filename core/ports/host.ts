import type { Bytes } from "../types/bytes.ts";
import type { Cancel } from "../types/cancel.ts";

/**
 * The machine and the terminal: what the command line and the configuration need of their surroundings.
 * Paths are the platform's own; nothing here is below the data directory (that is Storage).
 */
export interface Host {
  readonly platform: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly pid: number;
  hostname(): string;
  /** Addresses of the machine's interfaces. */
  interfaces(): readonly {
    readonly name: string;
    readonly address: string;
    readonly family: 4 | 6;
    readonly internal: boolean;
  }[];
  /** Open file descriptors allowed; undefined when unlimited or unknown. */
  fileDescriptorsMax(): number | undefined;
  memory(): { readonly residentBytes: number; readonly heapUsedBytes: number; readonly heapTotalBytes: number };

  /** What the machine is and how busy, for `/v1/agent/host`. Absent, or rejects with `not-supported`, where it cannot be told. */
  report?(): Promise<HostReport>;

  /** Rejects with Go's text: "open nope.json: no such file or directory". */
  readFile(path: string): Promise<Bytes>;
  writeFile(path: string, content: Bytes, mode?: number): Promise<void>;
  removeFile(path: string): Promise<void>;
  /** Replaces what is at `to`, at once and for good: the content of `from` is on disk before. */
  renameFile(from: string, to: string): Promise<void>;
  /** Undefined when nothing is there. Follows links. */
  stat(path: string): Promise<{ readonly kind: "file" | "directory" | "other"; readonly size: number } | undefined>;
  /** Names, sorted by bytes. */
  readDirectory(path: string): Promise<readonly string[]>;
  makeDirectory(path: string): Promise<void>;
  appendFile(path: string, content: Bytes): Promise<void>;

  stdout(text: string | Bytes): void;
  stderr(text: string): void;
  /** Everything on standard input, up to `bytesMax`; beyond it rejects with `too-large`. */
  stdin(bytesMax: number): Promise<Bytes>;
  /** Calls back on each, until cancelled. */
  onSignal(signal: "SIGINT" | "SIGTERM" | "SIGHUP", receive: () => void, cancel?: Cancel): void;
  /** Ends the process after standard output and error are flushed. */
  exit(code: number): never;
}

/** Numbers and words by the names Consul gives them; sizes in bytes. */
export interface HostReport {
  readonly memory: Readonly<Record<string, number>>;
  readonly cpus: readonly Readonly<Record<string, string | number | readonly string[]>>[];
  readonly host: Readonly<Record<string, string | number>>;
  /** Of the root file system. */
  readonly disk: Readonly<Record<string, string | number>>;
}
