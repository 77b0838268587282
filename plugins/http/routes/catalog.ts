/** /v1/catalog/: nodes, services, and registering them directly. */
import { checkTypeOf } from "../../../core/catalog/check-type.ts";
import type { NodeRecord, ServiceInstance, ServiceRecord } from "../../../core/catalog/records.ts";
import type { WriteOptions } from "../../../core/plugin/agent-api.ts";
import {
  checkFields,
  deregisterRequest,
  fields,
  flag,
  list,
  readBody,
  registerRequest,
  rejected,
  serviceFields,
  stringMap,
  text,
} from "../bodies.ts";
import { type ApiContext, serveShared } from "../context.ts";
import type { HttpReply, HttpRequest, Route } from "../extension.ts";
import type { DecodedFields } from "../json-decode.ts";
import { jsonArray, jsonString, jsonStrings } from "../json-write.ts";
import { isPretty, type ReadParameters, readNodeMeta, readParameters, readToken, refuseNamespace } from "../query.ts";
import { booleanReply, jsonBody, jsonReply } from "../reply.ts";
import { nodeJson, nodeServiceJson, serviceNodeJson } from "../shapes.ts";
import { rendered } from "../shared.ts";
import { translation } from "../translate.ts";
import { readSelection, requiredName, selectionKey } from "./selection.ts";

export function catalogRoutes(context: ApiContext): readonly Route[] {
  const { agent } = context;
  const discovery = (request: HttpRequest): ReadParameters => {
    const parameters = readParameters(request, agent, "discovery");
    refuseNamespace(request);
    return parameters;
  };
  return [
    { path: "/v1/catalog/register", methods: ["PUT"], handle: (request) => register(context, request) },
    { path: "/v1/catalog/deregister", methods: ["PUT"], handle: (request) => deregister(context, request) },
    {
      path: "/v1/catalog/datacenters",
      methods: ["GET"],
      async handle(request) {
        const known = (await agent.cluster.currentDatacenters?.()) ?? agent.cluster.datacenters();
        return jsonReply(jsonStrings(known), isPretty(request, agent));
      },
    },
    // The one read of the catalog that does not mind a namespace: nodes have none.
    {
      path: "/v1/catalog/nodes",
      methods: ["GET"],
      handle: (request) => nodes(context, request, readParameters(request, agent, "discovery")),
    },
    { path: "/v1/catalog/services", methods: ["GET"], handle: (request) => services(context, request, discovery(request)) },
    { path: "/v1/catalog/service/", methods: ["GET"], handle: (request) => instances(context, request, discovery(request), "") },
    {
      path: "/v1/catalog/connect/",
      methods: ["GET"],
      handle: (request) => instances(context, request, discovery(request), "connect"),
    },
    { path: "/v1/catalog/node/", methods: ["GET"], handle: (request) => node(context, request, discovery(request), "map") },
    {
      path: "/v1/catalog/node-services/",
      methods: ["GET"],
      handle: (request) => node(context, request, discovery(request), "list"),
    },
  ];
}

function nodes(context: ApiContext, request: HttpRequest, parameters: ReadParameters): Promise<HttpReply> {
  const selection = readSelection(context, request, parameters);
  const seen = translation(context.agent, parameters);
  return serveShared<"nodes">(context, request, {
    key: `catalog nodes\n${selectionKey(selection)}`,
    query: { kind: "nodes", ...selection },
    parameters,
    showConsistency: true,
    errorsCarryIndex: true,
    render: (answer, meta, pretty, consistency) =>
      rendered(200, jsonBody(jsonArray(answer.map(seen.node), nodeJson), pretty), meta, consistency),
  });
}

function services(context: ApiContext, request: HttpRequest, parameters: ReadParameters): Promise<HttpReply> {
  const nodeMeta = readNodeMeta(request);
  return serveShared<"services">(context, request, {
    key: `catalog services\n${nodeMeta === undefined ? "" : JSON.stringify(nodeMeta)}`,
    query: { kind: "services", ...(nodeMeta === undefined ? {} : { nodeMeta }) },
    parameters,
    showConsistency: true,
    errorsCarryIndex: true,
    cacheable: true,
    render(answer, meta, pretty, consistency) {
      const json = `{${answer.map(({ service, tags }) => `${jsonString(service)}:${jsonStrings(tags)}`).join(",")}}`;
      return rendered(200, jsonBody(json, pretty), meta, consistency);
    },
  });
}

function instances(
  context: ApiContext,
  request: HttpRequest,
  parameters: ReadParameters,
  through: "" | "connect",
): Promise<HttpReply> {
  const selection = readSelection(context, request, parameters);
  const tags = request.query.all("tag");
  const service = requiredName(request, "Missing service name");
  const seen = translation(context.agent, parameters);
  return serveShared<"serviceInstances">(context, request, {
    key: `catalog service\n${through}\n${service}\n${JSON.stringify(tags)}\n${selectionKey(selection)}`,
    query: {
      kind: "serviceInstances",
      service,
      ...selection,
      ...(tags.length === 0 ? {} : { tags }),
      ...(through === "" ? {} : { through }),
    },
    parameters,
    showConsistency: true,
    errorsCarryIndex: true,
    cacheable: true,
    render: (answer: readonly ServiceInstance[], meta, pretty, consistency) =>
      rendered(200, jsonBody(jsonArray(answer.map(seen.instance), serviceNodeJson), pretty), meta, consistency),
  });
}

function node(context: ApiContext, request: HttpRequest, parameters: ReadParameters, layout: "map" | "list"): Promise<HttpReply> {
  const name = requiredName(request, "Missing node name");
  const { filter } = parameters;
  const seen = translation(context.agent, parameters);
  return serveShared<"nodeServices">(context, request, {
    key: `catalog node\n${layout}\n${name}\n${filter}`,
    query: { kind: "nodeServices", node: name, filter },
    parameters,
    showConsistency: true,
    errorsCarryIndex: true,
    render(answer, meta, pretty, consistency) {
      const shown = answer && { node: seen.node(answer.node), services: answer.services.map(seen.service) };
      const json = layout === "map" ? nodeMapJson(shown) : nodeListJson(shown, filter !== "");
      return rendered(200, jsonBody(json, pretty), meta, consistency);
    },
  });
}

type NodeServices = { readonly node: NodeRecord; readonly services: readonly ServiceRecord[] } | undefined;
const plainService = (service: ServiceRecord): string => nodeServiceJson(service);

function nodeMapJson(answer: NodeServices): string {
  if (answer === undefined) return "null";
  const entries = answer.services.map((service) => `${jsonString(service.id)}:${nodeServiceJson(service)}`);
  return `{"Node":${nodeJson(answer.node)},"Services":{${entries.join(",")}}}`;
}

/** Where there is no service at all Consul says null; where the filter left none, []. */
function nodeListJson(answer: NodeServices, filtered: boolean): string {
  if (answer === undefined) return '{"Node":null,"Services":null}';
  const services = answer.services.length === 0 && !filtered ? "null" : jsonArray(answer.services, plainService);
  return `{"Node":${nodeJson(answer.node)},"Services":${services}}`;
}

async function register(context: ApiContext, request: HttpRequest): Promise<HttpReply> {
  refuseNamespace(request);
  const body = await readBody(request, registerRequest, { unknownFields: "refuse" });
  const { agent } = context;
  const service = fields(body["Service"]);
  const one = fields(body["Check"]);
  const checks = [...list(body["Checks"]), ...(one === undefined ? [] : [one])];
  const result = await agent.store.write(
    {
      kind: "register",
      node: text(body["Node"]),
      id: text(body["ID"]),
      address: text(body["Address"]),
      datacenter: text(body["Datacenter"]) || agent.config.datacenter,
      taggedAddresses: stringMap(body["TaggedAddresses"]),
      nodeMeta: stringMap(body["NodeMeta"]),
      skipNodeUpdate: flag(body["SkipNodeUpdate"]),
      service: service === undefined ? undefined : serviceFields(service),
      checks: checks.map(registeredCheck),
      now: agent.store.now(),
    },
    target(context, request, body),
  );
  if (result.kind === "rejected") throw rejected(result.message);
  return booleanReply(true, isPretty(request, agent));
}

function registeredCheck(given: DecodedFields) {
  const check = checkFields(given);
  const node = text(given["Node"]);
  return {
    ...check,
    type: check.type === "" ? checkTypeOf(check.definition) : check.type,
    ...(node === "" ? {} : { node }),
  };
}

async function deregister(context: ApiContext, request: HttpRequest): Promise<HttpReply> {
  refuseNamespace(request);
  const body = await readBody(request, deregisterRequest, { unknownFields: "refuse" });
  const { agent } = context;
  const result = await agent.store.write(
    {
      kind: "deregister",
      node: text(body["Node"]),
      serviceId: text(body["ServiceID"]) || undefined,
      checkId: text(body["CheckID"]) || undefined,
      now: agent.store.now(),
    },
    target(context, request, body),
  );
  if (result.kind === "rejected") throw rejected(result.message);
  return booleanReply(true, isPretty(request, agent));
}

/** The datacenter comes from the body alone: Consul 1.8 does not look at `?dc` here. */
function target(context: ApiContext, request: HttpRequest, body: DecodedFields): WriteOptions {
  const datacenter = text(body["Datacenter"]);
  const token = readToken(request);
  return {
    cancel: request.cancel,
    ...(datacenter === "" || datacenter === context.agent.config.datacenter ? {} : { datacenter }),
    ...(token === undefined ? {} : { token }),
  };
}
