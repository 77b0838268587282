/** States of the original Consul, whole and broken. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { fc } from "../../support/property.ts";
import { looksLikeConsulState, surveyConsulState, translateConsulState } from "../../../core/agent/consul-state.ts";
import { Catalog } from "../../../core/catalog/catalog.ts";
import { readArchive } from "../../../core/codec/snapshot-archive.ts";
import { sourceOf } from "../../../core/codec/value-stream.ts";
import { encode } from "../../../core/codec/msgpack.ts";
import { type Bytes, concat } from "../../../core/types/bytes.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";

async function captured(): Promise<Bytes> {
  const file = readFileSync(join(process.env["TEST_ROOT"] as string, "tests/vectors/consul-snapshot-full.snap"));
  const parts: Bytes[] = [];
  await readArchive(
    (async function* () {
      yield new Uint8Array(gunzipSync(file));
    })(),
    { onState: (piece) => void parts.push(piece) },
  );
  return concat(parts);
}

async function translated(state: Bytes): Promise<Bytes> {
  const survey = await surveyConsulState(sourceOf(state));
  const frames: Bytes[] = [];
  for await (const frame of translateConsulState(sourceOf(state), survey)) frames.push(frame);
  return concat(frames);
}

describe("a state of the original Consul", () => {
  it("is known by its first bytes", async () => {
    assert.equal(looksLikeConsulState(await captured()), true);
    assert.equal(looksLikeConsulState(new Uint8Array([0x81, 0xa9])), false);
  });

  it("is surveyed: its indexes, and what is not kept here", async () => {
    const survey = await surveyConsulState(sourceOf(await captured()));
    assert.deepEqual([survey.lastIndex, survey.kvIndex], [19, 16]);
    assert.deepEqual(Object.fromEntries(survey.leftBehind), { "prepared queries": 1 });
    assert.deepEqual(Object.fromEntries(survey.indexes), {
      checks: 14,
      coordinates: 19,
      nodes: 14,
      "service:consul": 8,
      "service:db": 14,
      "service:web": 12,
      "service:web-proxy": 13,
      services: 14,
      sessions: 17,
    });
  });

  it("becomes a snapshot that a catalog restores", async () => {
    const catalog = new Catalog();
    const restoring = catalog.restore();
    restoring.push(await translated(await captured()));
    restoring.finish();
    const { lastContactThreshold, maxTrailingLogs, serverStabilizationTime, createIndex } = catalog.autopilot ?? {};
    assert.deepEqual([lastContactThreshold, maxTrailingLogs, serverStabilizationTime], [200, 250, 10_000]);
    assert.ok((createIndex ?? 0) > 0);
  });

  it("may have settings of servers that are newer than its last index", async () => {
    const settings = encode({ MaxTrailingLogs: 7, CreateIndex: 4, ModifyIndex: 99 });
    const state = concat([await captured(), Uint8Array.of(9), settings]);
    assert.equal((await surveyConsulState(sourceOf(state))).lastIndex, 99);
    const catalog = new Catalog();
    const restoring = catalog.restore();
    restoring.push(await translated(state));
    restoring.finish();
    assert.deepEqual([catalog.autopilot?.maxTrailingLogs, catalog.autopilot?.modifyIndex], [7, 99]);
  });

  it("that is broken anywhere is refused, or is another state; it never fails otherwise", async () => {
    const state = await captured();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(state.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        fc.option(fc.nat(state.length)),
        async (changes, cut) => {
          const broken = state.slice(0, cut ?? state.length);
          for (const [at, byte] of changes) if (at < broken.length) broken[at] = byte;
          const failure = await translated(broken).catch((error: unknown) => error);
          if (failure instanceof Uint8Array) return;
          assert.ok(failure instanceof AgentError && failure.code === "rejected", String(failure));
        },
      ),
      { numRuns: 300 },
    );
  });
});
