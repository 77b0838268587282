/**
 * node:fs with faults: its calls are counted, and from one on something is wrong.
 *
 *   once      that call fails with EIO, as a sector does that cannot be read or written
 *   full      from then on nothing can be written or made: ENOSPC, and of a write half is there
 *   readonly  from then on nothing can be changed: EROFS, as a file system that met an error is mounted anew
 *   killed    that call and all behind it never happen, and never return: as for a process that is gone
 *
 * Syncs are not made: what a power failure leaves is the simulator's to say.
 */
import { constants } from "node:fs";
import { type FileHandle, type FileSystem, nodeFileSystem } from "../../adapters/node-api/file-system.ts";

export const faults = ["once", "full", "readonly", "killed"] as const;
export type Fault = (typeof faults)[number];

/** Nothing ever goes wrong; and nothing is synced. */
export const wellFileSystem = (): FileSystem => new FaultyFileSystem("once", Number.POSITIVE_INFINITY);

export class FaultyFileSystem implements FileSystem {
  /** Calls so far. */
  calls = 0;
  readonly #fault: Fault;
  readonly #from: number;
  readonly #handles = new Set<FileHandle>();
  #die: () => void = () => {};
  /** Resolves when the process is gone. */
  readonly died = new Promise<void>((resolve) => {
    this.#die = resolve;
  });

  /** `from`: the first call that meets the fault, counted from 1. */
  constructor(fault: Fault, from: number) {
    this.#fault = fault;
    this.#from = from;
  }

  /** The fault is the end of the process. */
  get dies(): boolean {
    return this.#fault === "killed";
  }

  /** Nothing was wrong yet. */
  get isWell(): boolean {
    return this.calls < this.#from;
  }

  /** Handles that were not closed. */
  get stillOpen(): number {
    return this.#handles.size;
  }

  /** As the system does when a process ends. */
  async closeAll(): Promise<void> {
    for (const handle of this.#handles) await handle.close();
    this.#handles.clear();
  }

  readonly mkdir = ((path: string, options: object) =>
    this.#call("change", () => nodeFileSystem.mkdir(path, options))) as FileSystem["mkdir"];
  readonly readdir = ((path: string, options?: { readonly withFileTypes: true }) => {
    const list = async (): Promise<readonly unknown[]> =>
      options === undefined ? nodeFileSystem.readdir(path) : nodeFileSystem.readdir(path, options);
    return this.#call("look", list);
  }) as unknown as FileSystem["readdir"];
  readonly link: FileSystem["link"] = (from, to) => this.#call("change", () => nodeFileSystem.link(from, to));
  readonly rename: FileSystem["rename"] = (from, to) => this.#call("change", () => nodeFileSystem.rename(from, to));
  readonly unlink: FileSystem["unlink"] = (path) => this.#call("free", () => nodeFileSystem.unlink(path));
  readonly open: FileSystem["open"] = async (path, flags, mode) => {
    const makes = typeof flags === "number" && (flags & constants.O_CREAT) !== 0;
    const handle = await this.#call(makes ? "change" : "look", () => nodeFileSystem.open(path, flags, mode));
    this.#handles.add(handle);
    return this.#wrapped(handle);
  };

  #wrapped(handle: FileHandle): FileHandle {
    const wrapped = {
      stat: () => this.#call("look", () => handle.stat()),
      read: (bytes: Uint8Array, offset: number, length: number, at: number) =>
        this.#call("look", () => handle.read(bytes, offset, length, at)),
      write: (bytes: Uint8Array, offset: number, length: number, at: number | null) =>
        this.#call(
          "change",
          () => handle.write(bytes, offset, length, at),
          () => handle.write(bytes, offset, length >> 1, at),
        ),
      writeFile: (content: Uint8Array) => this.#call("change", () => handle.writeFile(content)),
      sync: () => this.#call("change", async () => {}),
      datasync: () => this.#call("change", async () => {}),
      close: async () => {
        // A close that fails has closed.
        const closing = this.#meets("look");
        if (closing === "killed") return new Promise<never>(() => {});
        this.#handles.delete(handle);
        await handle.close();
        if (closing !== undefined) throw failure(closing);
      },
    };
    return wrapped as unknown as FileHandle;
  }

  async #call<Result>(
    kind: "look" | "change" | "free",
    act: () => Promise<Result>,
    half?: () => Promise<unknown>,
  ): Promise<Result> {
    const met = this.#meets(kind);
    if (met === undefined) return act();
    if (met === "killed") return new Promise<never>(() => {});
    if (met === "ENOSPC") await half?.();
    throw failure(met);
  }

  #meets(kind: "look" | "change" | "free"): "EIO" | "ENOSPC" | "EROFS" | "killed" | undefined {
    const call = ++this.calls;
    if (call < this.#from) return undefined;
    switch (this.#fault) {
      case "once":
        return call === this.#from ? "EIO" : undefined;
      case "full":
        return kind === "change" ? "ENOSPC" : undefined;
      case "readonly":
        return kind === "look" ? undefined : "EROFS";
      case "killed":
        this.#die();
        return "killed";
    }
  }
}

function failure(code: string): Error {
  return Object.assign(new Error(`${code}: a planted fault`), { code });
}
