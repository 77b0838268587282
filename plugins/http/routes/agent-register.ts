/** Registering with this agent: services, checks, TTL updates, maintenance. */
import { parseCheckRegistration, parseServiceRegistration } from "../../../core/config/definitions-parse.ts";
import { validateCheckDefinition, validateServiceDefinition } from "../../../core/config/definitions-validate.ts";
import { goQuote } from "../../../core/config/go-text.ts";
import type { LiteralJsonValue } from "../../../core/config/json.ts";
import { decodeOrRefuse, jsonBodyBytesMax, readBody, rejected, text } from "../bodies.ts";
import type { ApiContext } from "../context.ts";
import type { HttpReply, HttpRequest, Route } from "../extension.ts";
import { parseBool } from "../go.ts";
import { readJson, string, struct } from "../json-decode.ts";
import { refuseNamespace } from "../query.ts";
import { emptyReply, Refusal } from "../reply.ts";
import { requiredName } from "./selection.ts";

export function agentRegisterRoutes(context: ApiContext): readonly Route[] {
  const { local } = context.agent;
  const put = (path: string, act: (request: HttpRequest) => Promise<void>): Route => ({
    path: `/v1/agent/${path}`,
    methods: ["PUT"],
    async handle(request): Promise<HttpReply> {
      await act(request);
      return emptyReply();
    },
  });
  return [
    put("service/register", (request) => registerService(context, request)),
    put("service/deregister/", async (request) => {
      refuseNamespace(request);
      if (request.rest === "") throw rejected("ServiceID missing");
      await local.deregisterService(request.rest);
    }),
    put("service/maintenance/", (request) => serviceMaintenance(context, request)),
    put("maintenance", (request) => local.setNodeMaintenance(readEnable(request), request.query.get("reason"))),
    put("check/register", (request) => registerCheck(context, request)),
    put("check/deregister/", async (request) => {
      refuseNamespace(request);
      if (request.rest === "") throw rejected("CheckID missing");
      await local.deregisterCheck(request.rest);
    }),
    ...(["pass", "warn", "fail"] as const).map((verb) =>
      put(`check/${verb}/`, async (request) => {
        refuseNamespace(request);
        await local.updateTtl(request.rest, statusOf[verb], request.query.get("note"));
      }),
    ),
    put("check/update/", (request) => updateCheck(context, request)),
  ];
}

const statusOf = { pass: "passing", warn: "warning", fail: "critical" } as const;

async function registerService(context: ApiContext, request: HttpRequest): Promise<void> {
  refuseNamespace(request);
  const definition = parseServiceRegistration(await readJsonBody(request));
  const problem = validateServiceDefinition(definition);
  if (problem !== undefined) throw new Refusal(400, problem);
  const { query } = request;
  // Present without a value means yes; a value that is no boolean means no.
  const replaceExistingChecks =
    query.has("replace-existing-checks") &&
    (query.get("replace-existing-checks") === "" || query.get("replace-existing-checks") === "true");
  await context.agent.local.registerService(definition, "remote", { replaceExistingChecks });
}

async function registerCheck(context: ApiContext, request: HttpRequest): Promise<void> {
  refuseNamespace(request);
  const definition = parseCheckRegistration(await readJsonBody(request));
  const problem = validateCheckDefinition(definition);
  if (problem !== undefined) throw new Refusal(400, problem);
  await context.agent.local.registerCheck(definition, "remote");
}

async function readJsonBody(request: HttpRequest): Promise<LiteralJsonValue> {
  const body = await request.body(jsonBodyBytesMax);
  return decodeOrRefuse(() => readJson(body));
}

async function serviceMaintenance(context: ApiContext, request: HttpRequest): Promise<void> {
  const id = requiredName(request, "Missing service ID");
  const enable = readEnable(request);
  refuseNamespace(request);
  const known = await context.agent.local.setServiceMaintenance(id, enable, request.query.get("reason"));
  if (!known) throw new Refusal(404, `No service registered with ID ${goQuote(id)}`);
}

function readEnable(request: HttpRequest): boolean {
  const { query } = request;
  if (!query.has("enable")) throw new Refusal(400, "Missing value for enable");
  const enable = parseBool(query.get("enable"));
  if (enable === undefined) throw new Refusal(400, `Invalid value for enable: ${goQuote(query.get("enable"))}`);
  return enable;
}

const checkUpdate = struct("agent.checkUpdate", { Status: string, Output: string });

async function updateCheck(context: ApiContext, request: HttpRequest): Promise<void> {
  const body = await readBody(request, checkUpdate, { unknownFields: "refuse" });
  const status = text(body["Status"]);
  if (status !== "passing" && status !== "warning" && status !== "critical")
    throw new Refusal(400, `Invalid check status: '${status}'`);
  refuseNamespace(request);
  await context.agent.local.updateTtl(request.rest, status, text(body["Output"]));
}
