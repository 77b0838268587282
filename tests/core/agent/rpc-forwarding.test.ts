/** Which calls on the server port are passed to another datacenter. */
import { forwarding } from "../../../core/agent/rpc-forwarding.ts";
import { Fields } from "../../../core/codec/fields.ts";
import { decode, type Encodable, encode } from "../../../core/codec/msgpack.ts";
import { CancelSource } from "../../../core/rpc/cancel-source.ts";
import type { RpcHandler } from "../../../core/rpc/server.ts";
import { assert, describe, it } from "../../support/harness.ts";

const here: RpcHandler = async () => "here";
const methods = ["KVS.Get", "Status.Leader", "Status.Ping", "Catalog.ListDatacenters", "Coordinate.ListDatacenters"];

async function answer(method: string, fields: Encodable): Promise<Encodable> {
  const handlers = forwarding(new Map(methods.map((name) => [name, here])), {
    datacenter: "dc1",
    forward: async (datacenter, forwarded, args) => `${datacenter} ${forwarded} ${args.text("Key")}`,
  });
  const call = { method, from: { host: "127.0.0.1", port: 1 }, cancel: new CancelSource() };
  return handlers.get(method)?.(new Fields(decode(encode(fields))), call) ?? "no handler";
}

describe("a call on the server port", () => {
  const cases: readonly (readonly [string, Encodable, string])[] = [
    ["KVS.Get", { Datacenter: "dc1", Key: "k" }, "here"],
    ["KVS.Get", { Datacenter: "dc2", Key: "k" }, "dc2 KVS.Get k"],
    // Consul compares names as they are.
    ["KVS.Get", { Datacenter: "DC1", Key: "k" }, "DC1 KVS.Get k"],
    ["KVS.Get", { Datacenter: "", Key: "k" }, "here"],
    ["KVS.Get", { Key: "k" }, "here"],
    ["Status.Leader", { Datacenter: "dc2" }, "dc2 Status.Leader "],
    ["Status.Leader", {}, "here"],
    ["Status.Ping", { Datacenter: "dc2" }, "here"],
    ["Catalog.ListDatacenters", { Datacenter: "dc2" }, "here"],
    ["Coordinate.ListDatacenters", { Datacenter: "dc2" }, "here"],
    ["KVS.Unknown", { Datacenter: "dc2" }, "no handler"],
  ];
  for (const [method, fields, expected] of cases)
    it(`${method} ${JSON.stringify(fields)}: ${expected}`, async () => {
      assert.equal(await answer(method, fields), expected);
    });

  it("with something else than a name as its datacenter is refused as any malformed call", async () => {
    await assert.rejects(answer("KVS.Get", { Datacenter: [1] }), { name: "Malformed" });
  });
});
