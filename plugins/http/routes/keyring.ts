/** /v1/operator/keyring: the keys that encrypt gossip, in the pools of all datacenters. */
import { errorList, goQuote } from "../../../core/config/go-text.ts";
import type { KeyringAnswer, KeyringRequest } from "../../../core/plugin/agent-api.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { readBody } from "../bodies.ts";
import type { ApiContext } from "../context.ts";
import type { HttpReply, HttpRequest, Route } from "../extension.ts";
import { parseBool, parseInteger } from "../go.ts";
import { bool, type DecodedFields, string, struct, uint8 } from "../json-decode.ts";
import { jsonArray, jsonMap, jsonString, jsonStringMap } from "../json-write.ts";
import { isPretty } from "../query.ts";
import { emptyReply, jsonReply, Refusal } from "../reply.ts";

export function keyringRoutes(context: ApiContext): readonly Route[] {
  return [
    {
      path: "/v1/operator/keyring",
      methods: ["GET", "POST", "PUT", "DELETE"],
      handle: (request) => keyring(context, request),
    },
  ];
}

const relayFactorMax = 5;

/** agent.keyringArgs. */
const body = struct("agent.keyringArgs", { Key: string, Token: string, RelayFactor: uint8, LocalOnly: bool });

async function keyring({ agent }: ApiContext, request: HttpRequest): Promise<HttpReply> {
  const answers = await run(agent, await readRequest(request));
  const problems = answers.filter((answer) => answer.error !== "").flatMap(problemsOf);
  if (problems.length > 0) throw new AgentError("rejected", { message: errorList(problems) });
  return request.method === "GET" ? jsonReply(jsonArray(answers, answerJson), isPretty(request, agent)) : emptyReply();
}

/** Throws {@link Refusal}. */
async function readRequest(request: HttpRequest): Promise<KeyringRequest> {
  const operation = operationOf(request.method);
  const given = operation === "list" ? {} : await bodyOf(request);
  const relayFactor = readRelayFactor(request) ?? (given["RelayFactor"] as number | undefined) ?? 0;
  const localOnly = readLocalOnly(request) && operation === "list";
  return { operation, key: (given["Key"] as string | undefined) ?? "", relayFactor, localOnly };
}

function operationOf(method: string): KeyringRequest["operation"] {
  switch (method) {
    case "POST":
      return "install";
    case "PUT":
      return "use";
    case "DELETE":
      return "remove";
    default:
      return "list";
  }
}

async function bodyOf(request: HttpRequest): Promise<DecodedFields> {
  try {
    return await readBody(request, body, { unknownFields: "refuse" });
  } catch (error) {
    throw error instanceof Refusal ? new Refusal(error.status, `Bad request: ${error.message}`) : error;
  }
}

/** Undefined when the query string does not say. */
function readRelayFactor(request: HttpRequest): number | undefined {
  const text = request.query.get("relay-factor");
  if (text === "") return undefined;
  const parsed = parseInteger(text);
  if (parsed.kind !== "integer") {
    const what = parsed.kind === "syntax" ? "invalid syntax" : "value out of range";
    throw new Refusal(400, `Bad request: Error parsing relay factor: strconv.Atoi: parsing ${goQuote(text)}: ${what}`);
  }
  if (parsed.value < 0 || parsed.value > relayFactorMax)
    throw new Refusal(400, `Bad request: Invalid relay-factor: Relay factor must be in range: [0, ${relayFactorMax}]`);
  return parsed.value;
}

function readLocalOnly(request: HttpRequest): boolean {
  const text = request.query.get("local-only");
  if (text === "") return false;
  const localOnly = parseBool(text);
  if (localOnly === undefined)
    throw new Refusal(400, `Bad request: Error parsing local-only: strconv.ParseBool: parsing ${goQuote(text)}: invalid syntax`);
  if (localOnly && request.method !== "GET")
    throw new Refusal(400, "Bad request: Invalid use of local-only: local-only can only be set for list requests");
  return localOnly;
}

function run({ keyring }: ApiContext["agent"], request: KeyringRequest): Promise<readonly KeyringAnswer[]> {
  if (keyring === undefined) throw new AgentError("rejected", { message: "keyring operations must run against a server node" });
  return keyring.run(request);
}

/** The pool's error, then its members'. */
function problemsOf({ wan, datacenter, segment, error, messages }: KeyringAnswer): readonly string[] {
  const pool = (wan ? "WAN" : `${datacenter} (LAN)`) + (segment === "" ? "" : ` [${segment}]`);
  const names = Object.keys(messages).sort();
  return [`${pool} error: ${error}`, ...names.map((name) => `${name}: ${messages[name]}`)];
}

function answerJson({ wan, datacenter, segment, messages, keys, primaryKeys, nodes }: KeyringAnswer): string {
  const said = Object.keys(messages).length === 0 ? "" : `"Messages":${jsonStringMap(messages)},`;
  return (
    `{"WAN":${wan},"Datacenter":${jsonString(datacenter)},"Segment":${jsonString(segment)},${said}` +
    `"Keys":${jsonMap(keys, String)},"PrimaryKeys":${jsonMap(primaryKeys, String)},"NumNodes":${nodes}}`
  );
}
