/** /v1/coordinate/: where nodes are on the map of round-trip times. */
import type { CoordinateEntry } from "../../../core/catalog/queries.ts";
import type { Coordinate } from "../../../core/catalog/records.ts";
import { emptyBytes } from "../../../core/types/bytes.ts";
import { coordinateUpdate, fields, number, readBody, rejected, text } from "../bodies.ts";
import { type ApiContext, serveShared } from "../context.ts";
import type { HttpReply, HttpRequest, Route } from "../extension.ts";
import type { Decoded } from "../json-decode.ts";
import { jsonArray, jsonString } from "../json-write.ts";
import { isPretty, readParameters, writeOptions } from "../query.ts";
import { emptyReply, jsonBody, jsonReply, Refusal } from "../reply.ts";
import { coordinateEntryJson } from "../shapes.ts";
import { type RenderedBody, rendered } from "../shared.ts";

export function coordinateRoutes(context: ApiContext): readonly Route[] {
  const refuseDisabled = (): void => {
    if (context.agent.config.disableCoordinates) throw new Refusal(401, "Coordinate support disabled");
  };
  return [
    {
      path: "/v1/coordinate/datacenters",
      methods: ["GET"],
      handle(request) {
        refuseDisabled();
        return datacenters(context, request);
      },
    },
    {
      path: "/v1/coordinate/nodes",
      methods: ["GET"],
      handle(request) {
        refuseDisabled();
        return entries(context, request, undefined);
      },
    },
    {
      path: "/v1/coordinate/node/",
      methods: ["GET"],
      handle(request) {
        refuseDisabled();
        return entries(context, request, request.rest);
      },
    },
    {
      path: "/v1/coordinate/update",
      methods: ["PUT"],
      handle(request) {
        refuseDisabled();
        return update(context, request);
      },
    },
  ];
}

/** The servers of each datacenter as the WAN pool knows them. */
async function datacenters(context: ApiContext, request: HttpRequest): Promise<HttpReply> {
  const { agent } = context;
  const maps = (await agent.cluster.datacenterMaps?.()) ?? [];
  const json = jsonArray(maps, ({ datacenter, areaId, coordinates }) => {
    const entries = jsonArray(coordinates, ({ node, coordinate }) => coordinateEntryJson({ node, segment: "", coordinate }));
    return `{"Datacenter":${jsonString(datacenter)},"AreaID":${jsonString(areaId)},"Coordinates":${entries}}`;
  });
  return jsonReply(json, isPretty(request, agent));
}

function entries(context: ApiContext, request: HttpRequest, node: string | undefined): Promise<HttpReply> {
  const parameters = readParameters(request, context.agent);
  const segment = request.query.get("segment");
  const inSegment = (found: readonly CoordinateEntry[]): readonly CoordinateEntry[] =>
    request.query.has("segment") ? found.filter((entry) => entry.segment === segment) : found;
  const shared = { parameters, showConsistency: false, errorsCarryIndex: true } as const;
  const segmentKey = request.query.has("segment") ? `\nsegment ${segment}` : "";
  if (node === undefined) {
    return serveShared<"coordinates">(context, request, {
      ...shared,
      key: `coordinates${segmentKey}`,
      query: { kind: "coordinates" },
      render: (found, meta, pretty) =>
        rendered(200, jsonBody(jsonArray(inSegment(found), coordinateEntryJson), pretty), meta, undefined),
    });
  }
  return serveShared<"coordinate">(context, request, {
    ...shared,
    key: `coordinate\n${node}${segmentKey}`,
    query: { kind: "coordinate", node },
    render(found, meta, pretty) {
      const shown = inSegment(found);
      return shown.length === 0
        ? withoutIndex(rendered(404, emptyBytes, meta, undefined, []))
        : rendered(200, jsonBody(jsonArray(shown, coordinateEntryJson), pretty), meta, undefined);
    },
  });
}

/** A node without a coordinate is answered before the index headers are set. */
function withoutIndex(found: RenderedBody): RenderedBody {
  return { ...found, headers: found.ownHeaders, fixedHeaders: true };
}

/** Dimensions of the space (Consul's `coordinate.DefaultConfig`). */
const dimensions = 8;

async function update(context: ApiContext, request: HttpRequest): Promise<HttpReply> {
  const body = await readBody(request, coordinateUpdate, { unknownFields: "refuse" });
  const { agent } = context;
  const coordinate = coordinateOf(body["Coord"]);
  const where = writeOptions(request, agent);
  // Other servers look for themselves.
  if (agent.config.server && where.datacenter === undefined) refuseOdd(coordinate);
  const segment = text(body["Segment"]);
  const updates = [{ node: text(body["Node"]), segment, coordinate }];
  const result = await agent.store.write({ kind: "coordinates", updates }, where);
  if (result.kind === "rejected") throw rejected(result.message);
  return emptyReply();
}

function refuseOdd({ vec, error, adjustment, height }: Coordinate): void {
  if (vec.length !== dimensions) throw rejected("incompatible coordinate");
  if (![...vec, error, adjustment, height].every(Number.isFinite)) throw rejected("invalid coordinate");
}

function coordinateOf(given: Decoded): Coordinate {
  const coord = fields(given) ?? {};
  return {
    vec: Array.isArray(coord["Vec"]) ? (coord["Vec"] as readonly Decoded[]).map(number) : [],
    error: number(coord["Error"]),
    adjustment: number(coord["Adjustment"]),
    height: number(coord["Height"]),
  };
}
