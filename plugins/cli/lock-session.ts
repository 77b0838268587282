/**
 * A session that lives as long as we do: created with a short TTL, renewed at half of it, destroyed at the end. Should this
 * program die, its locks are free after the TTL and the lock delay.
 */
import { parseDuration } from "../../core/config/duration.ts";
import type { Clock, Timer } from "../../core/ports/clock.ts";
import { utf8 } from "../../core/types/bytes.ts";
import type { Millis } from "../../core/types/ids.ts";
import { type Api, ApiError, readBody } from "./api.ts";
import { isObject } from "./json.ts";

const timeToLive = "15s";
const timeToLiveMillis: Millis = 15_000;
const renewRetry: Millis = 1_000;

export interface SessionOptions {
  readonly name: string;
  /** Default: the agent's own, and the delay Consul gives. */
  readonly node?: string;
  readonly behavior?: "release" | "delete";
  /** Checks it depends on. Default: its node's health. */
  readonly checks?: readonly string[];
}

/** Rejects with `ApiError`. */
export async function createLockSession(
  api: Api,
  clock: Clock,
  { name, node, behavior, checks }: SessionOptions,
): Promise<LockSession> {
  const fields = {
    Name: name,
    ...(node !== undefined && { Node: node }),
    ...(checks !== undefined && { Checks: checks }),
    ...(behavior !== undefined && { Behavior: behavior }),
    TTL: timeToLive,
  };
  const answer = readBody(await api.put("/v1/session/create", {}, utf8(JSON.stringify(fields))));
  const id = isObject(answer) ? answer["ID"] : undefined;
  if (typeof id !== "string") throw new ApiError("the answer names no session");
  return new LockSession(api, clock, id);
}

export class LockSession {
  readonly id: string;
  readonly #api: Api;
  readonly #clock: Clock;
  #timer: Timer | undefined;
  #ttl: Millis = timeToLiveMillis;
  #renewedAt: Millis;
  #ended = false;

  constructor(api: Api, clock: Clock, id: string) {
    this.#api = api;
    this.#clock = clock;
    this.id = id;
    this.#renewedAt = clock.monotonic();
    this.#schedule(this.#ttl / 2);
  }

  /** Ends the renewals and destroys it. Never rejects: without renewals it ends by itself. */
  async destroy(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#timer?.cancel();
    await this.#api.put(`/v1/session/destroy/${this.id}`).catch(() => {});
  }

  #schedule(delay: Millis): void {
    if (!this.#ended) this.#timer = this.#clock.after(delay, () => void this.#renew());
  }

  async #renew(): Promise<void> {
    // Expired long ago, or unknown to the servers: whoever watches the lock learns that it is lost.
    if (this.#clock.monotonic() - this.#renewedAt > this.#ttl) return;
    try {
      const response = await this.#api.send({ method: "PUT", path: `/v1/session/renew/${this.id}`, body: utf8("") });
      if (response.status === 404) return;
      if (response.status !== 200) throw new ApiError(`Unexpected response code: ${response.status}`, response.status);
      const [session] = [readBody(response)].flat();
      const told = isObject(session) ? parseDuration(String(session["TTL"] ?? "")) : undefined;
      if (told?.kind === "duration" && told.millis > 0) this.#ttl = told.millis;
      this.#renewedAt = this.#clock.monotonic();
      this.#schedule(this.#ttl / 2);
    } catch {
      this.#schedule(renewRetry);
    }
  }
}
