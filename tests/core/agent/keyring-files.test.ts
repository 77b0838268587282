import { fc } from "../../support/property.ts";
import { MemoryFileStore } from "../../../adapters/shared/memory.ts";
import { openKeyrings } from "../../../core/agent/keyring-files.ts";
import { toBase64, text, utf8 } from "../../../core/types/bytes.ts";
import { messageOf } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { recordingLogger } from "./rpc-pair.ts";

const first = "tbLJg26ZJyJ9pK3qhc9jig==";
const second = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=";
const mend = "Restore the file from a backup, or remove it and start with `encrypt` set to the cluster's key";

interface Given {
  readonly encrypt?: string;
  readonly lan?: string;
  readonly wan?: string;
  readonly client?: boolean;
  readonly noWan?: boolean;
  readonly disabled?: boolean;
}

/** Starts over files with these contents; what came of it as text, and what is in the files then. */
async function start(given: Given) {
  const files = new MemoryFileStore();
  if (given.lan !== undefined) await files.put("serf/local.keyring", utf8(given.lan));
  if (given.wan !== undefined) await files.put("serf/remote.keyring", utf8(given.wan));
  const log: string[] = [];
  const config = {
    server: given.client !== true,
    ports: { serfWan: given.noWan === true ? -1 : 8302 } as never,
    dataDir: "/data",
    encrypt: given.encrypt ?? "",
    disableKeyringFile: given.disabled ?? false,
    encryptVerifyIncoming: true,
    encryptVerifyOutgoing: true,
  };
  const opened = await openKeyrings({ config, files, logger: recordingLogger(log) }).catch((error) => messageOf(error));
  const content = async (name: string) => {
    const bytes = await files.get(name);
    return bytes === undefined ? undefined : text(bytes);
  };
  return {
    files,
    opened,
    keys:
      typeof opened === "string"
        ? opened
        : { lan: opened.lan?.keyring.encoded() ?? "plain", wan: opened.wan?.keyring.encoded() ?? "plain" },
    lan: await content("serf/local.keyring"),
    wan: await content("serf/remote.keyring"),
    log,
  };
}

describe("the keyring files", () => {
  it("are made from `encrypt` where there are none, for a server's two pools and a client's one", async () => {
    const server = await start({ encrypt: first });
    assert.deepEqual([server.keys, server.lan, server.wan], [{ lan: [first], wan: [first] }, `["${first}"]`, `["${first}"]`]);
    const client = await start({ encrypt: first, client: true });
    assert.deepEqual([client.keys, client.lan, client.wan], [{ lan: [first], wan: "plain" }, `["${first}"]`, undefined]);
    const alone = await start({ encrypt: first, noWan: true });
    assert.deepEqual([alone.keys, alone.wan], [{ lan: [first], wan: "plain" }, undefined]);
  });

  it("count, whatever `encrypt` says; one that lacks that key warns", async () => {
    const same = await start({ encrypt: first, lan: `["${second}","${first}"]`, wan: `["${first}"]` });
    assert.deepEqual([same.keys, same.log], [{ lan: [second, first], wan: [first] }, []]);
    const other = await start({ encrypt: second, lan: `["${first}"]`, wan: `["${first}"]` });
    const warning = "warn: keyring doesn't include key provided with -encrypt, using keyring";
    assert.deepEqual([other.keys, other.log], [{ lan: [first], wan: [first] }, [warning, warning]]);
    assert.equal(other.lan, `["${first}"]`);
    // The missing one is made, and so holds another key than the one that is there.
    const half = await start({ encrypt: second, lan: `["${first}"]` });
    assert.deepEqual([half.keys, half.log], [{ lan: [first], wan: [second] }, [warning]]);
    assert.deepEqual((await start({ encrypt: "aGVsbG8=", lan: `["${first}"]`, client: true })).log, [warning]);
  });

  it("are enough by themselves; each is its own pool's", async () => {
    assert.deepEqual((await start({ lan: `["${first}"]` })).keys, { lan: [first], wan: "plain" });
    assert.deepEqual((await start({ wan: `["${first}"]` })).keys, { lan: "plain", wan: [first] });
    assert.deepEqual((await start({})).keys, { lan: "plain", wan: "plain" });
    assert.deepEqual((await start({ wan: "broken", client: true })).keys, { lan: "plain", wan: "plain" });
  });

  it("are neither read nor written where they are disabled", async () => {
    assert.deepEqual((await start({ disabled: true, lan: `["${first}"]` })).keys, { lan: "plain", wan: "plain" });
    const given = await start({ disabled: true, encrypt: second, lan: "broken" });
    assert.deepEqual([given.keys, given.lan, given.wan], [{ lan: [second], wan: [second] }, "broken", undefined]);
  });

  it("hold changed keys as Consul writes them, and are read again", async () => {
    const { opened, files } = await start({ encrypt: first });
    assert.ok(typeof opened !== "string");
    await opened.lan?.storeKeys?.([second, first]);
    assert.equal(text((await files.get("serf/local.keyring")) ?? utf8("")), `[\n  "${second}",\n  "${first}"\n]`);
    assert.equal(text((await files.get("serf/remote.keyring")) ?? utf8("")), `["${first}"]`);
  });

  // Recorded from Consul 1.8.7, up to what its messages leave out: where, and what to do.
  const broken: readonly (readonly [content: string, problem: string])[] = [
    [`["${first}`, "unexpected end of JSON input"],
    [" ", "unexpected end of JSON input"],
    ["", "unexpected end of JSON input"],
    ["xx", "invalid character 'x' looking for beginning of value"],
    ['{"a":1}', "json: cannot unmarshal object into Go value of type []string"],
    ['"a"', "json: cannot unmarshal string into Go value of type []string"],
    ["true", "json: cannot unmarshal bool into Go value of type []string"],
    ["[1]", "json: cannot unmarshal number into Go value of type string"],
    [`["${first}", []]`, "json: cannot unmarshal array into Go value of type string"],
    ['["zz"]', "illegal base64 data at input byte 0"],
    ['["aGVsbG8="]', "key size must be 16, 24 or 32 bytes"],
    [`["${first}","aGVsbG8="]`, "key size must be 16, 24 or 32 bytes"],
    ["[null]", "key size must be 16, 24 or 32 bytes"],
  ];
  for (const [content, problem] of broken)
    it(`end the start where they are broken: ${content}`, async () => {
      const { keys } = await start({ lan: content });
      assert.equal(keys, `Failed to configure keyring: ${problem}. /data/serf/local.keyring cannot be read. ${mend}`);
      const wan = await start({ wan: content });
      assert.match(String(wan.keys), /remote\.keyring cannot be read/);
      assert.equal(wan.wan, content);
    });

  it("end the start where they hold no key, or more than can be tried on each packet", async () => {
    const none = `Failed to configure keyring: no keys present in keyring: /data/serf/local.keyring. ${mend}`;
    assert.deepEqual([(await start({ lan: "[]" })).keys, (await start({ lan: "null" })).keys], [none, none]);
    const many = JSON.stringify(Array.from({ length: 65 }, (_, fill) => toBase64(new Uint8Array(16).fill(fill))));
    assert.match(
      String((await start({ lan: many })).keys),
      /local\.keyring holds 65 keys, and 64 are the limit\. Remove old ones$/,
    );
  });

  it("a key of a wrong length ends the start before any file is made", async () => {
    const remedy = "`encrypt` has another length; `consul keygen` makes a key";
    const made = await start({ encrypt: "aGVsbG8=" });
    assert.equal(made.keys, `Failed to configure keyring: Invalid key: key size must be 16, 24 or 32 bytes. ${remedy}`);
    assert.deepEqual([made.lan, made.wan], [undefined, undefined]);
    const disabled = await start({ encrypt: "aGVsbG8=", disabled: true });
    assert.equal(disabled.keys, `Failed to configure keyring: key size must be 16, 24 or 32 bytes. ${remedy}`);
  });

  it("random contents are keys or a refusal with its reason, never anything else", async () => {
    const item = fc.oneof(fc.base64String({ maxLength: 48 }), fc.jsonValue(), fc.constant(first));
    const content = fc.oneof(
      fc.string(),
      fc.array(item, { maxLength: 4 }).map((list) => JSON.stringify(list)),
    );
    await fc.assert(
      fc.asyncProperty(content, async (lan) => {
        const { keys } = await start({ lan });
        assert.ok(typeof keys !== "string" || keys.startsWith("Failed to configure keyring: "), String(keys));
      }),
    );
  });
});
