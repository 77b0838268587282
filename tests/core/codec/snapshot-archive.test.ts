import { createHash } from "node:crypto";
import { fc } from "../../support/property.ts";
import { Sha256 } from "../../../core/codec/sha256.ts";
import { type ArchiveMeta, decompressed, readArchive, writeArchive } from "../../../core/codec/snapshot-archive.ts";
import { tarEnd, tarHeader, tarPadding } from "../../../core/codec/tar.ts";
import { type Bytes, concat, equalBytes, toHex, utf8 } from "../../../core/types/bytes.ts";
import { AgentError, messageOf } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";

const anyBytes = fc.uint8Array({ maxLength: 3000 });

function metaOf(size: number): ArchiveMeta {
  return { version: 1, id: "2-13-1", index: 13, term: 2, servers: [{ id: "s1", address: "127.0.0.1:8300", voter: true }], size };
}

/** `content` in pieces of `size`. */
async function* pieces(content: Bytes, size: number): AsyncGenerator<Bytes> {
  for (let at = 0; at < content.length; at += size) yield content.subarray(at, at + size);
}

async function archived(state: Bytes): Promise<Bytes> {
  const parts: Bytes[] = [];
  const hash = new Sha256().update(state).digest();
  for await (const part of writeArchive(metaOf(state.length), hash, 1_700_000_000, pieces(state, 100))) parts.push(part);
  return concat(parts);
}

async function read(archive: Bytes, size = 1000): Promise<{ meta: ArchiveMeta; state: Bytes }> {
  const state: Bytes[] = [];
  const meta = await readArchive(pieces(archive, size), { onState: (piece) => void state.push(piece.slice()) });
  return { meta, state: concat(state) };
}

/** Undefined when the archive is accepted. */
async function faultOf(reading: Promise<unknown>): Promise<string | undefined> {
  try {
    await reading;
    return undefined;
  } catch (error) {
    assert.ok(error instanceof AgentError && error.code === "rejected", messageOf(error));
    return error.message;
  }
}

function tarOf(files: Readonly<Record<string, string>>): Bytes {
  const parts = Object.entries(files).flatMap(([name, content]) => {
    const bytes = utf8(content);
    return [tarHeader({ name, size: bytes.length }, 0), bytes, tarPadding(bytes.length)];
  });
  return concat([...parts, tarEnd]);
}

const sumsOf = (files: Readonly<Record<string, string>>): string =>
  Object.entries(files)
    .map(([name, content]) => `${toHex(new Sha256().update(utf8(content)).digest())}  ${name}\n`)
    .join("");

describe("SHA-256 in pieces", () => {
  it("is the platform's, however the content is cut", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 8 }), (parts) => {
        const hash = new Sha256();
        for (const part of parts) hash.update(part);
        assert.equal(toHex(hash.digest()), createHash("sha256").update(concat(parts)).digest("hex"));
      }),
    );
  });
});

describe("an archive of a snapshot", () => {
  it("gives back what went in, wherever it is cut", async () => {
    await fc.assert(
      fc.asyncProperty(anyBytes, fc.integer({ min: 1, max: 2000 }), async (state, size) => {
        const found = await read(await archived(state), size);
        assert.deepEqual(found.meta, metaOf(state.length));
        assert.ok(equalBytes(found.state, state));
      }),
      { numRuns: 50 },
    );
  });

  it("is refused with any of its bytes changed", async () => {
    const archive = await archived(utf8("the state of a small cluster"));
    for (let at = 0; at < archive.length; at++) {
      for (const mask of [1 << (at % 8), 0x20]) {
        const flipped = archive.slice();
        flipped[at] = (archive[at] as number) ^ mask;
        assert.notEqual(await faultOf(read(flipped)), undefined, `byte ${at}`);
      }
    }
  });

  it("is refused wherever it is cut off before its end", async () => {
    const archive = await archived(utf8("the state of a small cluster"));
    for (let length = 0; length < archive.length - tarEnd.length; length += 37)
      assert.notEqual(await faultOf(read(archive.subarray(0, length))), undefined, `length ${length}`);
  });

  it("of random bytes is refused, and costs no more memory than its own length", async () => {
    await fc.assert(
      fc.asyncProperty(anyBytes, async (bytes) => {
        assert.notEqual(await faultOf(read(bytes)), undefined);
      }),
    );
  });

  it("that claims a state beyond the limit is refused before any of it is read", async () => {
    const archive = tarHeader({ name: "state.bin", size: 5000 }, 0);
    assert.equal(
      await faultOf(readArchive(pieces(archive, 512), { stateBytesMax: 4999 })),
      "failed to read snapshot file: failed to read or write snapshot data: 5000 bytes exceed the limit of 4999",
    );
  });

  const meta = '{"Version":1}\n';
  const whole = { "meta.json": meta, "state.bin": "x" };
  const cases: readonly (readonly [string, Bytes, string])[] = [
    ["without files", tarEnd, 'failed checking integrity of snapshot: file missing for "meta.json"'],
    ["without sums", tarOf(whole), 'failed checking integrity of snapshot: file missing for "meta.json"'],
    [
      "without its state",
      tarOf({ "meta.json": meta, SHA256SUMS: sumsOf(whole) }),
      'failed checking integrity of snapshot: hash check failed for "state.bin"',
    ],
    ["with another file", tarOf({ ...whole, other: "", SHA256SUMS: sumsOf(whole) }), 'unexpected file "other" in snapshot'],
    [
      "with sums that are none",
      tarOf({ ...whole, SHA256SUMS: "zz\n" }),
      "failed checking integrity of snapshot: no hex data for %x string",
    ],
    [
      "with a sum too many",
      tarOf({ ...whole, SHA256SUMS: `${sumsOf(whole)}aabb  foo\n` }),
      'failed checking integrity of snapshot: list missing hash for "foo"',
    ],
    [
      "with broken metadata",
      tarOf({ ...whole, "meta.json": "{" }),
      "failed to decode snapshot metadata: unexpected end of JSON input",
    ],
    ["of zeros cut short", new Uint8Array(100), "failed reading snapshot: unexpected EOF"],
    ["of something else", new Uint8Array(2000).fill(7), "failed reading snapshot: archive/tar: invalid tar header"],
  ];
  for (const [what, archive, text] of cases) {
    it(`${what} is refused as Consul does`, async () => {
      const fault = await faultOf(read(archive));
      if (what === "with broken metadata")
        assert.match(fault ?? "", /^failed to read snapshot file: failed to decode snapshot metadata: /);
      else assert.equal(fault, `failed to read snapshot file: ${text}`);
    });
  }

  it("that is no gzip file is refused as Consul does", async () => {
    const opened = (file: Bytes) => faultOf(readArchive(decompressed(file, (inner) => pieces(inner, 100))));
    assert.equal(await opened(utf8("")), "failed to decompress snapshot: EOF");
    assert.equal(await opened(utf8("hi")), "failed to decompress snapshot: unexpected EOF");
    assert.equal(await opened(utf8("not a gzip file")), "failed to decompress snapshot: gzip: invalid header");
  });
});
