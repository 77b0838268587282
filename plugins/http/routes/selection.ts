/** What catalog and health reads have in common: filter, near, node-meta. */
import type { Selection } from "../../../core/catalog/queries.ts";
import type { ApiContext } from "../context.ts";
import type { HttpRequest } from "../extension.ts";
import { type ReadParameters, readNear, readNodeMeta } from "../query.ts";
import { Refusal } from "../reply.ts";

export function readSelection(context: ApiContext, request: HttpRequest, parameters: ReadParameters): Selection {
  const near = readNear(request, context.agent);
  const nodeMeta = readNodeMeta(request);
  return { filter: parameters.filter, ...(near === undefined ? {} : { near }), ...(nodeMeta === undefined ? {} : { nodeMeta }) };
}

/** Two selections have equal keys exactly when they select alike. */
export function selectionKey({ filter, near, nodeMeta }: Selection): string {
  if ((filter ?? "") === "" && near === undefined && nodeMeta === undefined) return "";
  return JSON.stringify([filter ?? "", near ?? "", nodeMeta ?? {}]);
}

/** The path's argument. Throws 400 with `problem` when there is none. */
export function requiredName(request: HttpRequest, problem: string): string {
  if (request.rest === "") throw new Refusal(400, problem);
  return request.rest;
}
