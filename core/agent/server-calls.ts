/**
 * Calls of a client agent, or into another datacenter, to whichever server answers. A call is made again elsewhere where
 * that is safe, for `rpc_hold_timeout` after it first failed, or after the latest server that had held it failed:
 *
 *   the server was not reached, or knows no leader     nothing was done: again
 *   the connection ended                               a read again; a write may have been carried out
 *   anything else the server says                      its answer
 *
 * (Consul 1.8, agent/consul/client.go. It gives up at once where a server is not reached; the next one is a better answer.)
 */
import type { Encodable, Value } from "../codec/msgpack.ts";
import { Malformed } from "../codec/msgpack.ts";
import { type Clock, formatAddress, type Logger, type Metrics, type Random } from "../ports/mod.ts";
import { between } from "../ports/random.ts";
import type { RpcClient } from "../rpc/client.ts";
import type { Cancel } from "../types/cancel.ts";
import { AgentError, messageOf } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import type { ServerList } from "./server-list.ts";

export interface ServerCallsOptions {
  readonly client: RpcClient;
  readonly servers: ServerList;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly holdTimeout: () => Millis;
  readonly metrics?: Metrics;
  /** Why asking is in vain; undefined: it is not. Default: `No known Consul servers` while there are none. */
  readonly refusal?: (() => AgentError | undefined) | undefined;
}

export interface ServerCall {
  readonly method: string;
  readonly args: Encodable;
  /** It changes nothing: doing it twice does no harm. */
  readonly isRead: boolean;
  readonly timeout: Millis;
  readonly cancel?: Cancel | undefined;
}

/** Pauses between attempts are at most this share of the hold timeout, drawn at random. */
const pauseShare = 1 / 16;
/** A server that let a call wait for longer was well: its end is trouble of its own. */
const heldMin: Millis = 1000;
/** Attempts within the hold timeout, whatever its length. */
const attemptsMax = 100;

export class ServerCalls {
  readonly #options: ServerCallsOptions;

  constructor(options: ServerCallsOptions) {
    this.#options = options;
  }

  /** The reply as `decode` reads it. Rejects as the server refused, in its words, with Consul's prefix; or with `No known Consul servers`. */
  async call<Reply>(call: ServerCall, decode: (reply: Value) => Reply): Promise<Reply> {
    const reply = await this.#call(call);
    try {
      return decode(reply);
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      throw new AgentError("connection-closed", { message: `rpc error making call: ${error.message}`, cause: error });
    }
  }

  async #call({ method, args, isRead, timeout, cancel }: ServerCall): Promise<Value> {
    const { client, servers, clock, random, logger, holdTimeout, refusal } = this.#options;
    const begun = clock.monotonic();
    // From the first failure on: a blocking call may have waited for minutes before, and at the next server again.
    let deadline: Millis | undefined;
    for (let attempt = 1; ; attempt++) {
      const askedAt = clock.monotonic();
      const server = servers.first();
      const refused = refusal?.();
      if (refused !== undefined) throw refused;
      if (server === undefined) throw noServers();
      try {
        return await client.call(server.address, method, args, { timeout, ...(cancel === undefined ? {} : { cancel }) });
      } catch (error) {
        const failure = explain(error);
        if (failure.kind === "cancelled") throw failure.error;
        const addr = formatAddress(server.address);
        logger.log("error", "RPC failed to server", { method, server: addr, error: failure.error.message });
        if (failure.kind === "answer") throw failure.error;
        this.#options.metrics?.counter("client.rpc.failed", { server: server.name }).add(1);
        servers.failed(server);
        const now = clock.monotonic();
        const wasHeld = failure.kind === "lost" && now - askedAt > heldMin && now - begun < timeout;
        if (deadline === undefined || wasHeld) deadline = now + holdTimeout();
        const again = failure.kind === "undone" || (isRead && failure.kind === "lost");
        if (!again || attempt >= attemptsMax || now >= deadline) throw failure.error;
        // The next server first; only when all were tried it is worth waiting.
        if (attempt >= servers.size) await this.#pause(between(random, 0, holdTimeout() * pauseShare), cancel);
      }
    }
  }

  #pause(delay: Millis, cancel: Cancel | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        timer.cancel();
        reject(new AgentError("cancelled", { message: "rpc error making call: context canceled" }));
      };
      const timer = this.#options.clock.after(delay, () => {
        cancel?.removeEventListener("abort", onAbort);
        resolve();
      });
      cancel?.addEventListener("abort", onAbort);
      if (cancel?.aborted === true) onAbort();
    });
  }
}

interface Failure {
  /** undone: certainly not carried out; lost: perhaps; answer: the server's own word; cancelled: nobody wants it any more. */
  readonly kind: "undone" | "lost" | "answer" | "cancelled";
  readonly error: AgentError;
}

const callPrefix = "rpc error making call: ";
const dialPrefix = "rpc error getting client: ";

function explain(thrown: unknown): Failure {
  if (!(thrown instanceof AgentError))
    return {
      kind: "lost",
      error: new AgentError("connection-closed", { message: callPrefix + messageOf(thrown), cause: thrown }),
    };
  if (thrown.message.startsWith(dialPrefix)) return { kind: "undone", error: thrown };
  switch (thrown.code) {
    case "cancelled":
    case "closed":
      return { kind: "cancelled", error: thrown };
    case "no-leader":
      return { kind: "undone", error: prefixed(thrown) };
    case "rejected":
    case "no-datacenter":
    case "permission-denied":
    case "rate-limited":
    case "not-supported":
      return { kind: "answer", error: prefixed(thrown) };
    case "timeout":
      // Of the call itself; or the connection was given up under it.
      if (thrown.message.startsWith(callPrefix)) return { kind: "answer", error: thrown };
      return { kind: "lost", error: prefixed(thrown) };
    default:
      return { kind: "lost", error: thrown.message.startsWith(callPrefix) ? thrown : prefixed(thrown) };
  }
}

/** A server's words come with this prefix at the client, once for each server that passed them on. */
function prefixed(error: AgentError): AgentError {
  return new AgentError(error.code, { message: callPrefix + error.message, cause: error });
}

export function noServers(): AgentError {
  return new AgentError("rejected", { message: "No known Consul servers" });
}
