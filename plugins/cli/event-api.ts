/** The event part of the HTTP API, as the event and exec commands need it. */
import type { Bytes } from "../../core/types/bytes.ts";
import { type Api, readBody } from "./api.ts";
import { filterQuery } from "./event-filters.ts";
import { isObject } from "./json.ts";

/** The event's ID. Rejects with `ApiError`. */
export async function fireEvent(
  api: Api,
  name: string,
  payload: Bytes,
  filters: { readonly node: string; readonly service: string; readonly tag: string },
): Promise<string> {
  const body = readBody(await api.put(`/v1/event/fire/${name}`, filterQuery(filters), payload));
  return isObject(body) ? String(body["ID"] ?? "") : "";
}
