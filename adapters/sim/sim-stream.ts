import type { Address } from "../../core/ports/net.ts";
import type { ByteStream } from "../../core/ports/streams.ts";
import { type Bytes, concat } from "../../core/types/bytes.ts";
import { AgentError, assert } from "../../core/types/errors.ts";
import type { Millis } from "../../core/types/ids.ts";
import type { Machine } from "./ground.ts";

/** Bytes written and not yet read by the other side; beyond it `write` says false. */
const windowBytes = 65_536;

/** While a link is cut its bytes are tried again this often, as TCP's retransmission. */
const retryMillis: Millis = 200;

/** What a stream needs of the network. */
export interface Wire {
  delay(): Millis;
  isCut(from: Machine, to: Machine): boolean;
  /** What is delivered now is the last thing, and not whole. */
  breaks(): boolean;
}

interface End {
  readonly host: Machine;
  readonly address: Address;
}

export function connectPair(wire: Wire, near: End, far: End): readonly [SimStream, SimStream] {
  const left = new SimStream(wire, near, far);
  const right = new SimStream(wire, far, near);
  left.peer = right;
  right.peer = left;
  return [left, right];
}

type Parcel = { readonly kind: "bytes"; readonly bytes: Bytes } | { readonly kind: "end" };

/** One end of a connection. Parcels keep their order; each leaves when the one before has arrived. */
export class SimStream implements ByteStream {
  readonly local: Address;
  readonly remote: Address;
  readonly host: Machine;
  peer: SimStream | undefined;
  onGone: () => void = () => {};
  readonly #wire: Wire;
  readonly #there: Machine;
  readonly #life: number;
  readonly #outgoing: Parcel[] = [];
  readonly #incoming: Bytes[] = [];
  #travelling = false;
  /** Written here and not yet read there. */
  #unreadThere = 0;
  #ended = false;
  #endSent = false;
  #failed: Error | undefined;
  #reader: { readonly resolve: (chunk: Bytes | undefined) => void; readonly reject: (error: Error) => void } | undefined;
  #waiters: { readonly ready: () => boolean; readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];

  constructor(wire: Wire, here: End, there: End) {
    this.#wire = wire;
    this.host = here.host;
    this.#life = here.host.life;
    this.#there = there.host;
    this.local = here.address;
    this.remote = there.address;
  }

  read(): Promise<Bytes | undefined> {
    assert(this.#reader === undefined, "one read at a time");
    if (this.#incoming.length > 0) {
      const chunk = concat(this.#incoming.splice(0));
      this.peer?.readThere(chunk.length);
      return Promise.resolve(chunk);
    }
    if (this.#failed !== undefined) return Promise.reject(this.#failed);
    if (this.#ended) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  write(chunk: Bytes): boolean {
    if (this.#failed !== undefined || this.#endSent) return false;
    this.#outgoing.push({ kind: "bytes", bytes: chunk.slice() });
    this.#unreadThere += chunk.length;
    this.#send();
    return this.#unreadThere < windowBytes;
  }

  drained(): Promise<void> {
    return this.#when(() => this.#unreadThere < windowBytes);
  }

  closeWrite(): Promise<void> {
    if (!this.#endSent) {
      this.#endSent = true;
      this.#outgoing.push({ kind: "end" });
      this.#send();
    }
    return this.#when(() => this.#outgoing.length === 0);
  }

  abort(reason: Error): void {
    if (this.#failed !== undefined) return;
    this.#fail(reason);
    // The reset travels like everything else; behind a cut it is lost, and the other side stays half open.
    this.host.plan(this.#wire.delay(), () => {
      if (!this.#wire.isCut(this.host, this.#there)) this.peer?.resetByPeer();
    });
    if (!this.host.up) this.peer?.resetByPeer();
  }

  resetByPeer(): void {
    if (this.host.up && this.host.life === this.#life)
      this.#fail(new AgentError("connection-closed", { message: "read tcp: connection reset by peer" }));
  }

  /** The other side has read this many bytes. */
  readThere(length: number): void {
    this.#unreadThere -= length;
    this.#wake();
  }

  arrive(parcel: Parcel): "taken" | "reset" {
    if (!this.host.up || this.host.life !== this.#life || this.#failed !== undefined) return "reset";
    if (parcel.kind === "end") this.#ended = true;
    else this.#incoming.push(parcel.bytes);
    const reader = this.#reader;
    if (reader !== undefined) {
      this.#reader = undefined;
      this.read().then(reader.resolve, reader.reject);
    }
    if (this.#ended && this.#endSent && this.#outgoing.length === 0) this.onGone();
    return "taken";
  }

  #send(): void {
    const parcel = this.#outgoing[0];
    if (this.#travelling || parcel === undefined) return;
    this.#travelling = true;
    this.host.plan(this.#wire.delay(), () => this.#deliver(parcel));
  }

  #deliver(parcel: Parcel): void {
    if (this.#failed !== undefined) return;
    // Power failure over there: nobody answers until the machine is back, and then it knows nothing of us.
    if (!this.#there.up || this.#wire.isCut(this.host, this.#there)) {
      this.host.plan(retryMillis, () => this.#deliver(parcel));
      return;
    }
    this.#travelling = false;
    if (this.#wire.breaks()) {
      if (parcel.kind === "bytes")
        this.peer?.arrive({ kind: "bytes", bytes: parcel.bytes.subarray(0, parcel.bytes.length >> 1) });
      this.peer?.resetByPeer();
      this.resetByPeer();
      return;
    }
    if (this.peer?.arrive(parcel) !== "taken") {
      this.resetByPeer();
      return;
    }
    this.#outgoing.shift();
    this.#wake();
    this.#send();
  }

  #when(ready: () => boolean): Promise<void> {
    if (this.#failed !== undefined) return Promise.reject(this.#failed);
    if (ready()) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiters.push({ ready, resolve, reject }));
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = waiters.filter((waiter) => !waiter.ready());
    for (const waiter of waiters) if (waiter.ready()) waiter.resolve();
  }

  #fail(error: Error): void {
    if (this.#failed !== undefined) return;
    this.#failed = error;
    this.#incoming.length = 0;
    this.#outgoing.length = 0;
    this.#reader?.reject(error);
    this.#reader = undefined;
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
    this.onGone();
  }
}
