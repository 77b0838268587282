import type { Clock, Timer } from "../../core/ports/clock.ts";
import type { ByteStream } from "../../core/ports/streams.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { AgentError } from "../../core/types/errors.ts";
import type { Millis } from "../../core/types/ids.ts";
import { ByteReader } from "./byte-reader.ts";

/** A connection between two exchanges, or in one. */
export interface PooledConnection {
  readonly stream: ByteStream;
  readonly reader: ByteReader;
  /** How much the reader had read when this exchange began. */
  readonly bytesReadBefore: number;
}

/** As Go's http.Transport: DefaultMaxIdleConnsPerHost, MaxIdleConns and IdleConnTimeout. */
const idlePerKeyMax = 2;
const idleMax = 100;
const idleTimeout: Millis = 90_000;

/** Connections kept for the next request to the same place. One that the server closes meanwhile, or talks on, is dropped. */
export class ConnectionPool {
  readonly #clock: Clock;
  readonly #idle: IdleConnection[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  take(key: string): PooledConnection | undefined {
    const at = this.#idle.findLastIndex((connection) => connection.key === key);
    if (at < 0) return undefined;
    const [connection] = this.#idle.splice(at, 1) as [IdleConnection];
    return connection.wake();
  }

  keep(key: string, { stream }: PooledConnection): void {
    const connection = new IdleConnection(key, stream, this.#clock, () => this.#drop(connection));
    this.#idle.push(connection);
    const sameKey = this.#idle.filter((other) => other.key === key);
    if (sameKey.length > idlePerKeyMax) this.#drop(sameKey[0] as IdleConnection);
    if (this.#idle.length > idleMax) this.#drop(this.#idle[0] as IdleConnection);
  }

  #drop(connection: IdleConnection): void {
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    connection.abort();
  }
}

class IdleConnection {
  readonly key: string;
  readonly #stream: ByteStream;
  readonly #timer: Timer;
  /** Reads while idle, because only a reader learns that the server closed; the next exchange's first read is this one. */
  #ahead: Promise<Bytes | undefined> | undefined;
  #awake = false;

  constructor(key: string, stream: ByteStream, clock: Clock, drop: () => void) {
    this.key = key;
    this.#stream = stream;
    this.#timer = clock.after(idleTimeout, drop);
    const dropIdle = (): void => {
      if (!this.#awake) drop();
    };
    this.#ahead = stream.read();
    this.#ahead.then(dropIdle, dropIdle);
  }

  wake(): PooledConnection {
    this.#awake = true;
    this.#timer.cancel();
    const reader = new ByteReader({
      read: () => {
        const ahead = this.#ahead;
        this.#ahead = undefined;
        return ahead ?? this.#stream.read();
      },
    });
    return { stream: this.#stream, reader, bytesReadBefore: 0 };
  }

  abort(): void {
    this.#timer.cancel();
    this.#stream.abort(new AgentError("closed", { message: "http: server closed idle connection" }));
  }
}
