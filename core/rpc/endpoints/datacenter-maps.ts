/** Coordinate.ListDatacenters on the wire: the servers of each datacenter and their coordinates. */
import { Fields } from "../../codec/fields.ts";
import type { Encodable, Value } from "../../codec/msgpack.ts";
import type { DatacenterMap } from "../../plugin/agent-api.ts";
import { decodeCoordinate, encodeCoordinate } from "./wire-records.ts";
import { structs } from "./wire-values.ts";

export function encodeDatacenterMaps(maps: readonly DatacenterMap[]): Encodable {
  return maps.map(({ datacenter, areaId, coordinates }) => ({
    AreaID: areaId,
    Coordinates: coordinates.map(({ node, coordinate }) => ({ Coord: encodeCoordinate(coordinate), Node: node, Segment: "" })),
    Datacenter: datacenter,
  }));
}

/** Throws `Malformed`. */
export function decodeDatacenterMaps(reply: Value): readonly DatacenterMap[] {
  return structs(new Fields(new Map([["maps", reply]])), "maps").map((map) => ({
    datacenter: map.text("Datacenter"),
    areaId: map.text("AreaID"),
    coordinates: structs(map, "Coordinates").map((entry) => ({
      node: entry.text("Node"),
      coordinate: decodeCoordinate(entry.fields("Coord")),
    })),
  }));
}
