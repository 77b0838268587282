/** `consul rtt`: the round-trip time between two nodes, estimated from their network coordinates. */
import { distance } from "../../../core/catalog/coordinates.ts";
import type { Coordinate } from "../../../core/catalog/records.ts";
import { type Api, openApi } from "../api.ts";
import { clientFlags } from "../client-flags.ts";
import { type Call, CommandError, defineCommand, orFail, say } from "../command.ts";
import { isObject, type Json } from "../json.ts";

const flags = {
  wan: {
    kind: "bool",
    initial: false,
    help: "Compare servers of any two datacenters. Names are then node.datacenter.",
  },
  ...clientFlags,
} as const;

export const command = defineCommand({
  usage: "consul rtt [options] node1 [node2]",
  description: `
Estimates how long a packet takes from node1 to node2 and back, without sending any: agents learn their network coordinates
from the gossip they exchange anyway. Without node2, the node of the agent that is asked.`,
  examples: [
    { purpose: "Between two machines", line: "consul rtt web-1 db-1" },
    { purpose: "Between servers of two datacenters", line: "consul rtt -wan server-1.dc1 server-1.dc2" },
  ],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  const { context, args, flags } = call;
  const [first, given, ...rest] = args;
  if (first === undefined || rest.length > 0)
    throw new CommandError('One or two node names must be specified\n\nRun "consul rtt -h" for its options and examples.');
  const api = await openApi(call);
  const second = given ?? (await orFail("Unable to look up agent info", ownName(api, flags.wan)));
  const [from, to] = await (flags.wan ? wanCoordinates : lanCoordinates)(api, first, second);
  for (const [coordinate, name] of [
    [from, first],
    [to, second],
  ] as const)
    if (coordinate === undefined) throw new CommandError(`Could not find a coordinate for node ${JSON.stringify(name)}`);
  const seconds = distance(from, to);
  if (!Number.isFinite(seconds)) throw new CommandError("The coordinates of the two nodes cannot be compared");
  // Go's durations are whole nanoseconds.
  const millis = (Math.trunc(seconds * 1e9) / 1e6).toFixed(3);
  say(context, `Estimated ${first} <-> ${second} rtt: ${millis} ms (using ${flags.wan ? "WAN" : "LAN"} coordinates)`);
  return 0;
}

type Pair = readonly [from: Coordinate | undefined, to: Coordinate | undefined];

async function ownName(api: Api, wan: boolean): Promise<string> {
  const self = await api.getJson("/v1/agent/self");
  const config = isObject(self) ? self["Config"] : undefined;
  const text = (name: string): string => String((isObject(config) ? config[name] : undefined) ?? "");
  return wan ? `${text("NodeName")}.${text("Datacenter")}` : text("NodeName");
}

async function lanCoordinates(api: Api, first: string, second: string): Promise<Pair> {
  const entries = listOf(await orFail("Error getting coordinates", api.getJson("/v1/coordinate/nodes")));
  const of = (name: string): ReadonlyMap<string, Coordinate> =>
    new Map(
      entries.filter((entry) => entry["Node"] === name).map((entry) => [String(entry["Segment"] ?? ""), coordinateOf(entry)]),
    );
  const [from, to] = [of(first), of(second)];
  // Of a node that is in one segment that one counts: a node in several is a server, which is in all.
  const only = (found: ReadonlyMap<string, Coordinate>): string | undefined =>
    found.size === 1 ? [...found.keys()][0] : undefined;
  const segment = only(to) ?? only(from) ?? "";
  return [from.get(segment), to.get(segment)];
}

async function wanCoordinates(api: Api, first: string, second: string): Promise<Pair> {
  const names = [first.split("."), second.split(".")] as const;
  if (names.some((parts) => parts.length !== 2))
    throw new CommandError("Node names must be specified as <node name>.<datacenter> with -wan");
  const datacenters = listOf(await orFail("Error getting coordinates", api.getJson("/v1/coordinate/datacenters")));
  const find = ([node, datacenter]: readonly string[]): ReadonlyMap<string, Coordinate> => {
    const found = new Map<string, Coordinate>();
    for (const each of datacenters) {
      if (each["Datacenter"] !== datacenter) continue;
      const entry = listOf(each["Coordinates"]).find((one) => one["Node"] === node);
      if (entry !== undefined) found.set(String(each["AreaID"] ?? ""), coordinateOf(entry));
    }
    return found;
  };
  const [from, to] = [find(names[0]), find(names[1])];
  // Coordinates of different areas say nothing of each other.
  const area = [...from.keys()].find((name) => to.has(name));
  return area === undefined ? [undefined, undefined] : [from.get(area), to.get(area)];
}

function listOf(json: Json | undefined): readonly { readonly [key: string]: Json }[] {
  return Array.isArray(json) ? (json as readonly Json[]).filter(isObject) : [];
}

function coordinateOf(entry: { readonly [key: string]: Json }): Coordinate {
  const coord = isObject(entry["Coord"]) ? entry["Coord"] : {};
  const vec = Array.isArray(coord["Vec"]) ? (coord["Vec"] as readonly Json[]).map(Number) : [];
  const number = (name: string): number => Number(coord[name] ?? 0);
  return { vec, error: number("Error"), adjustment: number("Adjustment"), height: number("Height") };
}
