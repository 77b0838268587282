/**
 * /v1/snapshot: the whole state as an archive, and back.
 *
 * An archive is held whole and compressed, never more: what is inside streams both ways. So the memory that one costs is
 * `archiveBytesMax` at most, and one is received at a time.
 */
import { archiveBytesMax } from "../../../core/codec/snapshot-archive.ts";
import type { SnapshotApi } from "../../../core/plugin/agent-api.ts";
import { type Bytes, concat } from "../../../core/types/bytes.ts";
import { type Cancel, clientGone } from "../../../core/types/cancel.ts";
import { AgentError } from "../../../core/types/errors.ts";
import type { ApiContext } from "../context.ts";
import type { HttpReply, HttpRequest, Route } from "../extension.ts";
import { readDatacenter } from "../query.ts";
import { emptyReply } from "../reply.ts";
import { metaHeaders } from "../shared.ts";
import { notSupported } from "./unbuilt.ts";

export function snapshotRoutes(context: ApiContext): readonly Route[] {
  let receiving = false;
  return [
    {
      path: "/v1/snapshot",
      methods: ["GET", "PUT"],
      async handle(request) {
        const { agent } = context;
        const datacenter = readDatacenter(request, agent);
        const where = datacenter === undefined ? {} : { datacenter };
        if (agent.snapshots === undefined) throw notSupported("/v1/snapshot in a runtime without compression");
        if (request.method === "GET") return save(agent.snapshots, request, where);
        if (receiving) throw new AgentError("rate-limited", { message: "Cannot restore a snapshot: another is being restored" });
        receiving = true;
        try {
          return await restore(agent.snapshots, request, where);
        } finally {
          receiving = false;
        }
      },
    },
  ];
}

interface Where {
  readonly datacenter?: string;
}

async function save(snapshots: SnapshotApi, request: HttpRequest, where: Where): Promise<HttpReply> {
  const saved = await snapshots.save({ stale: request.query.has("stale"), cancel: request.cancel, ...where });
  try {
    const body = await whole(saved.content, request.cancel);
    return { status: 200, headers: ["Content-Type", "application/x-gzip", ...metaHeaders(saved.meta)], body };
  } finally {
    saved.release();
  }
}

async function restore(snapshots: SnapshotApi, request: HttpRequest, where: Where): Promise<HttpReply> {
  await snapshots.restore(await request.body(archiveBytesMax), {
    ...where,
    partial: request.query.has("partial"),
    cancel: request.cancel,
  });
  return emptyReply();
}

/** What is compressed is never in memory as a whole; the result is. */
async function whole(content: AsyncIterable<Bytes>, cancel: Cancel): Promise<Bytes> {
  const parts: Bytes[] = [];
  let length = 0;
  for await (const part of content) {
    if (cancel.aborted) throw clientGone();
    length += part.length;
    if (length > archiveBytesMax)
      throw new AgentError("too-large", { message: `Cannot make the archive: it exceeds ${archiveBytesMax} bytes` });
    parts.push(part);
  }
  return concat(parts);
}
