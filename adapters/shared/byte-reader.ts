import type { ByteStream } from "../../core/ports/streams.ts";
import { type Bytes, concat, emptyBytes } from "../../core/types/bytes.ts";
import { AgentError } from "../../core/types/errors.ts";

/** Reads lines and pieces of known length from a stream. Every method has a bound, so that a peer cannot fill the memory. */
export class ByteReader {
  readonly #stream: Pick<ByteStream, "read">;
  #unread: Bytes = emptyBytes;
  /** Bytes the peer has sent so far. */
  bytesRead = 0;

  constructor(stream: Pick<ByteStream, "read">) {
    this.#stream = stream;
  }

  /** True when nothing is left over: what comes next is not asked for yet. */
  get isDrained(): boolean {
    return this.#unread.length === 0;
  }

  /** The next line without its line break (LF or CRLF), as Latin-1. Rejects with `too-large` beyond `bytesMax`, `connection-closed` at the end. */
  async line(bytesMax: number): Promise<string> {
    let searched = 0;
    for (;;) {
      const end = this.#unread.indexOf(lineFeed, searched);
      if (end > bytesMax || (end < 0 && this.#unread.length > bytesMax))
        throw new AgentError("too-large", { message: "line too long" });
      if (end >= 0) {
        const line = this.#take(end + 1);
        return latin1(line, line[end - 1] === carriageReturn ? end - 1 : end);
      }
      searched = this.#unread.length;
      if (!(await this.#fill())) throw unexpectedEnd();
    }
  }

  /** Exactly this many bytes; the caller has bounded `length`. */
  async exactly(length: number): Promise<Bytes> {
    const parts: Bytes[] = [];
    for (let missing = length; missing > 0; ) {
      const part = await this.some(missing);
      if (part === undefined) throw unexpectedEnd();
      parts.push(part);
      missing -= part.length;
    }
    return parts.length === 1 ? (parts[0] as Bytes) : concat(parts);
  }

  /** The next bytes, at most `bytesMax` of them; undefined at the end. */
  async some(bytesMax: number): Promise<Bytes | undefined> {
    if (this.#unread.length === 0 && !(await this.#fill())) return undefined;
    return this.#take(Math.min(bytesMax, this.#unread.length));
  }

  #take(length: number): Bytes {
    const taken = this.#unread.subarray(0, length);
    this.#unread = this.#unread.subarray(length);
    return taken;
  }

  async #fill(): Promise<boolean> {
    const chunk = await this.#stream.read();
    if (chunk === undefined) return false;
    this.bytesRead += chunk.length;
    this.#unread = this.#unread.length === 0 ? chunk : concat([this.#unread, chunk]);
    return true;
  }
}

const lineFeed = 10;
const carriageReturn = 13;

function unexpectedEnd(): AgentError {
  return new AgentError("connection-closed", { message: "unexpected EOF" });
}

function latin1(bytes: Bytes, length: number): string {
  let text = "";
  for (let at = 0; at < length; at++) text += String.fromCharCode(bytes[at] as number);
  return text;
}
