/** /v1/event/: firing user events, and the latest that concern this agent. */
import type { UserEvent } from "../../../core/plugin/agent-api.ts";
import type { Millis } from "../../../core/types/ids.ts";
import { emptyBytes } from "../../../core/types/bytes.ts";
import type { ApiContext } from "../context.ts";
import type { HttpReply, HttpRequest, Route } from "../extension.ts";
import { parseUint64 } from "../go.ts";
import { jsonArray, jsonBytes, jsonString } from "../json-write.ts";
import { isPretty, parseWait, writeOptions } from "../query.ts";
import { jsonReply, Refusal } from "../reply.ts";

/** Far beyond what can be gossiped; what lies between is refused in Consul's words. */
const payloadBytesMax = 512 * 1024;
/** Also what is waited without `wait`. */
const waitMax: Millis = 600_000;

export function eventRoutes(context: ApiContext): readonly Route[] {
  return [
    { path: "/v1/event/fire/", methods: ["PUT"], handle: (request) => fire(context, request) },
    { path: "/v1/event/list", methods: ["GET"], handle: (request) => list(context, request) },
  ];
}

async function fire({ agent }: ApiContext, request: HttpRequest): Promise<HttpReply> {
  if (request.rest === "") throw new Refusal(400, "Missing name");
  // Consul looks at the body only when its length was announced.
  const announced = Number(request.header("content-length") ?? 0) > 0;
  const event = await agent.events.fire(
    {
      name: request.rest,
      payload: announced ? await request.body(payloadBytesMax) : undefined,
      nodeFilter: request.query.get("node"),
      serviceFilter: request.query.get("service"),
      tagFilter: request.query.get("tag"),
    },
    writeOptions(request, agent),
  );
  return jsonReply(eventJson(event), isPretty(request, agent));
}

async function list(context: ApiContext, request: HttpRequest): Promise<HttpReply> {
  const { agent } = context;
  const wait = parseWait(request.query.get("wait"));
  const seen = readIndex(request);
  const name = request.query.get("name");
  const find = (): readonly UserEvent[] => agent.events.list().filter((event) => name === "" || event.name === name);
  let events = find();
  // The index neither grows nor shrinks: there is news exactly when it differs.
  if (seen !== 0n && indexOf(events) === seen) {
    await untilNews(context, request, wait === 0 ? waitMax : Math.min(wait, waitMax), () => {
      events = find();
      return indexOf(events) !== seen;
    });
  }
  const index = indexOf(events);
  const headers = ["X-Consul-Index", String(index === 0n ? 1n : index)];
  return jsonReply(jsonArray(events, eventJson), isPretty(request, agent), 200, headers);
}

/** 0: does not block. */
function readIndex(request: HttpRequest): bigint {
  const given = request.query.get("index");
  if (given === "") return 0n;
  const parsed = parseUint64(given);
  if ("error" in parsed) throw new Refusal(400, "Invalid index");
  return BigInt(parsed.value);
}

/** The two halves of the newest event's ID, folded together: 64 bits. 1 when there is none. */
function indexOf(events: readonly UserEvent[]): bigint {
  const last = events.at(-1);
  if (last === undefined) return 1n;
  const digits = last.id.replaceAll("-", "");
  return BigInt(`0x${digits.slice(0, 16)}`) ^ BigInt(`0x${digits.slice(16)}`);
}

/** Resolves when `isNews` says so, looked at after each event; when the time is up; or when the client goes away. */
function untilNews({ agent, clock }: ApiContext, { cancel }: HttpRequest, wait: Millis, isNews: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      timer.cancel();
      unfollow();
      cancel.removeEventListener("abort", done);
      resolve();
    };
    const timer = clock.after(wait, done);
    const unfollow = agent.events.follow(() => {
      if (isNews()) done();
    });
    cancel.addEventListener("abort", done);
    if (cancel.aborted) done();
  });
}

function eventJson(event: UserEvent): string {
  return (
    `{"ID":${jsonString(event.id)},"Name":${jsonString(event.name)},"Payload":${jsonBytes(event.payload ?? emptyBytes)},` +
    `"NodeFilter":${jsonString(event.nodeFilter)},"ServiceFilter":${jsonString(event.serviceFilter)},` +
    `"TagFilter":${jsonString(event.tagFilter)},"Version":${event.version},"LTime":${event.time}}`
  );
}
