/** /v1/health/: checks, and instances with their checks. */
import type { QueryOf } from "../../../core/catalog/queries.ts";
import type { CheckRecord } from "../../../core/catalog/records.ts";
import { type ApiContext, serveShared } from "../context.ts";
import type { HttpReply, HttpRequest, Route } from "../extension.ts";
import { parseBool } from "../go.ts";
import { jsonArray } from "../json-write.ts";
import { type ReadParameters, readParameters, refuseNamespace } from "../query.ts";
import { jsonBody, Refusal } from "../reply.ts";
import { checkedInstanceJson, checkJson } from "../shapes.ts";
import { rendered } from "../shared.ts";
import { translation } from "../translate.ts";
import { readSelection, requiredName, selectionKey } from "./selection.ts";

type Kind = "nodeChecks" | "serviceChecks" | "checksInState";

export function healthRoutes(context: ApiContext): readonly Route[] {
  const { agent } = context;
  const begin = (request: HttpRequest): ReadParameters => {
    const parameters = readParameters(request, agent, "discovery");
    refuseNamespace(request);
    return parameters;
  };
  return [
    {
      path: "/v1/health/node/",
      methods: ["GET"],
      handle(request) {
        const parameters = begin(request);
        const node = requiredName(request, "Missing node name");
        const { filter } = parameters;
        return checks(context, request, parameters, `health node\n${node}\n${filter}`, { kind: "nodeChecks", node, filter });
      },
    },
    {
      path: "/v1/health/checks/",
      methods: ["GET"],
      handle(request) {
        const parameters = begin(request);
        const selection = readSelection(context, request, parameters);
        const service = requiredName(request, "Missing service name");
        return checks(context, request, parameters, `health checks\n${service}\n${selectionKey(selection)}`, {
          kind: "serviceChecks",
          service,
          ...selection,
        });
      },
    },
    {
      path: "/v1/health/state/",
      methods: ["GET"],
      handle(request) {
        const parameters = begin(request);
        const selection = readSelection(context, request, parameters);
        const state = requiredName(request, "Missing check state");
        return checks(context, request, parameters, `health state\n${state}\n${selectionKey(selection)}`, {
          kind: "checksInState",
          state,
          ...selection,
        });
      },
    },
    ...(["", "connect", "ingress"] as const).map(
      (through): Route => ({
        path: through === "" ? "/v1/health/service/" : `/v1/health/${through}/`,
        methods: ["GET"],
        handle: (request) => instances(context, request, begin(request), through),
      }),
    ),
  ];
}

const plainCheck = (check: CheckRecord): string => checkJson(check);

function checks(
  context: ApiContext,
  request: HttpRequest,
  parameters: ReadParameters,
  key: string,
  query: QueryOf<Kind>,
): Promise<HttpReply> {
  return serveShared<Kind>(context, request, {
    key,
    query,
    parameters,
    showConsistency: true,
    errorsCarryIndex: true,
    render: (answer, meta, pretty, consistency) =>
      rendered(200, jsonBody(jsonArray(answer, plainCheck), pretty), meta, consistency),
  });
}

function instances(
  context: ApiContext,
  request: HttpRequest,
  parameters: ReadParameters,
  through: "" | "connect" | "ingress",
): Promise<HttpReply> {
  const selection = readSelection(context, request, parameters);
  const tags = request.query.all("tag");
  const service = requiredName(request, "Missing service name");
  const passingOnly = readPassing(request);
  const seen = translation(context.agent, parameters);
  return serveShared<"checkedInstances">(context, request, {
    key: `health service\n${through}\n${service}\n${passingOnly}\n${JSON.stringify(tags)}\n${selectionKey(selection)}`,
    query: {
      kind: "checkedInstances",
      service,
      passingOnly,
      ...selection,
      ...(tags.length === 0 ? {} : { tags }),
      ...(through === "" ? {} : { through }),
    },
    parameters,
    showConsistency: true,
    errorsCarryIndex: true,
    cacheable: true,
    render: (answer, meta, pretty, consistency) =>
      rendered(200, jsonBody(jsonArray(answer.map(seen.instance), checkedInstanceJson), pretty), meta, consistency),
  });
}

function readPassing(request: HttpRequest): boolean {
  if (!request.query.has("passing")) return false;
  const given = request.query.get("passing");
  const passing = given === "" ? true : parseBool(given);
  if (passing === undefined) throw new Refusal(400, "Invalid value for ?passing");
  return passing;
}
