/**
 * Undoes what a command did before it was refused: each change of a table leaves its reverse here while a command is
 * open. Also holds back the topics it touched, so that a refused command wakes nobody.
 */
import { assert } from "../types/errors.ts";
import type { Topic } from "./queries.ts";

export class Journal {
  #undo: (() => void)[] = [];
  #touched: Topic[] = [];
  #open = false;

  /** Whether changes must leave their reverse. */
  get open(): boolean {
    return this.#open;
  }

  begin(): void {
    assert(!this.#open, "commands do not nest");
    this.#open = true;
  }

  /** Only while open. */
  record(undo: () => void): void {
    this.#undo.push(undo);
  }

  /** Only while open. */
  touch(topic: Topic): void {
    this.#touched.push(topic);
  }

  /** The topics to touch now. */
  commit(): readonly Topic[] {
    assert(this.#open, "commit follows begin");
    const touched = this.#touched;
    this.#close();
    return touched;
  }

  /** Back to where `begin` was. */
  rollback(): void {
    assert(this.#open, "rollback follows begin");
    const undo = this.#undo;
    this.#close();
    for (let at = undo.length - 1; at >= 0; at--) (undo[at] as () => void)();
  }

  #close(): void {
    this.#open = false;
    if (this.#undo.length > 0) this.#undo = [];
    if (this.#touched.length > 0) this.#touched = [];
  }
}
