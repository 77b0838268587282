import type { FileStore } from "../../core/ports/storage.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { type Directory, unfinishedSuffix } from "../shared/directory.ts";
import { checkedFileName } from "../shared/file-name.ts";

/** Small files, each replaced as on a real disk: written under another name, synced, renamed, the directory synced. */
export class SimFileStore implements FileStore {
  readonly #directory: Directory;
  /** The last change of each name that is under way: changes of one name follow one another. */
  readonly #pending = new Map<string, Promise<void>>();
  #written = 0;

  constructor(directory: Directory) {
    this.#directory = directory;
  }

  /** Removes what was not finished, and makes durable what is there. */
  async open(): Promise<void> {
    for (const name of await this.#directory.list()) if (name.endsWith(unfinishedSuffix)) await this.#directory.remove(name);
    await this.#directory.sync();
  }

  async get(name: string): Promise<Bytes | undefined> {
    const checked = checkedFileName(name);
    await this.#pending.get(checked);
    if (!(await this.#directory.list()).includes(checked)) return undefined;
    const file = await this.#directory.open(checked, "read");
    return file.read(0, await file.size());
  }

  put(name: string, content: Bytes): Promise<void> {
    const copy = content.slice();
    return this.#inTurn(checkedFileName(name), async (checked) => {
      const unfinished = `${checked}.${++this.#written}${unfinishedSuffix}`;
      const file = await this.#directory.open(unfinished, "create");
      await file.write(0, copy);
      await file.sync();
      await this.#directory.rename(unfinished, checked);
      await this.#directory.sync();
    });
  }

  append(name: string, content: Bytes, { sync = false }: { readonly sync?: boolean } = {}): Promise<void> {
    const copy = content.slice();
    return this.#inTurn(checkedFileName(name), async (checked) => {
      const isThere = (await this.#directory.list()).includes(checked);
      const file = await this.#directory.open(checked, isThere ? "change" : "create");
      await file.write(await file.size(), copy);
      if (!sync) return;
      await file.sync();
      await this.#directory.sync();
    });
  }

  delete(name: string): Promise<void> {
    return this.#inTurn(checkedFileName(name), async (checked) => {
      if (!(await this.#directory.list()).includes(checked)) return;
      await this.#directory.remove(checked);
      await this.#directory.sync();
    });
  }

  async list(prefix: string): Promise<readonly string[]> {
    const folder = prefix.slice(0, prefix.lastIndexOf("/"));
    if (folder !== "") checkedFileName(folder);
    await Promise.all(this.#pending.values());
    const names = await this.#directory.list();
    return names.filter((name) => name.startsWith(prefix) && !name.endsWith(unfinishedSuffix)).sort();
  }

  async #inTurn(name: string, change: (name: string) => Promise<void>): Promise<void> {
    const before = this.#pending.get(name);
    const done = (async () => {
      await before;
      await change(name);
    })();
    const settled = done.catch(() => undefined); // told to its own caller
    this.#pending.set(name, settled);
    await settled;
    if (this.#pending.get(name) === settled) this.#pending.delete(name);
    return done;
  }
}
