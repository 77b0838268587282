/** /v1/operator/keyring over keys that answer as told: what is asked of them, and what becomes of it. Texts are Consul 1.8.7's. */
import type { KeyringAnswer, KeyringApi, KeyringRequest } from "../../../core/plugin/agent-api.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { createAgentUnderTest } from "./agent-under-test.ts";

const key = "tbLJg26ZJyJ9pK3qhc9jig==";
const pool: KeyringAnswer = {
  wan: false,
  datacenter: "dc1",
  segment: "",
  messages: {},
  keys: { [key]: 2 },
  primaryKeys: { [key]: 2 },
  nodes: 2,
  error: "",
};

async function ask(
  method: string,
  target: string,
  body: string | undefined,
  answers: readonly KeyringAnswer[] | "client" = [pool],
) {
  const under = await createAgentUnderTest();
  const asked: KeyringRequest[] = [];
  const keyring: KeyringApi = {
    run(request) {
      asked.push(request);
      return Promise.resolve(answers === "client" ? [] : answers);
    },
  };
  if (answers !== "client") Object.assign(under.agent, { keyring });
  const init = { method, ...(body === undefined ? {} : { body, headers: { "Content-Length": String(body.length) } }) };
  const request = new Request(`http://127.0.0.1/v1/operator/keyring${target}`, init);
  const response = await under.app.fetch(request, { host: "127.0.0.1", port: 1 });
  return { asked, status: response.status, type: response.headers.get("content-type"), body: await response.text() };
}

const json = JSON.stringify({ Key: key });

describe("/v1/operator/keyring", () => {
  const list = { operation: "list", key: "", relayFactor: 0, localOnly: false };
  const asks: readonly (readonly [method: string, target: string, body: string | undefined, asked: object])[] = [
    ["GET", "", undefined, list],
    ["GET", "?relay-factor=5&local-only=T", undefined, { ...list, relayFactor: 5, localOnly: true }],
    ["GET", "?relay-factor=%2B0&local-only=false&dc=elsewhere", undefined, list],
    ["POST", "", json, { ...list, operation: "install", key }],
    ["PUT", "?relay-factor=2", json, { ...list, operation: "use", key, relayFactor: 2 }],
    ["DELETE", "", json, { ...list, operation: "remove", key }],
    [
      "DELETE",
      "",
      `{"key":"a","RelayFactor":255,"LocalOnly":true}`,
      { ...list, operation: "remove", key: "a", relayFactor: 255 },
    ],
    ["POST", "?relay-factor=1", `{"RelayFactor":9}`, { ...list, operation: "install", relayFactor: 1 }],
  ];
  for (const [method, target, body, expected] of asks)
    it(`${method} ${target} ${body ?? ""}`.trim(), async () => {
      const { asked, status } = await ask(method, target, body);
      assert.deepEqual([status, asked], [200, [expected]]);
    });

  const refused: readonly (readonly [method: string, target: string, body: string | undefined, status: number, said: string])[] =
    [
      ["GET", "?relay-factor=6", undefined, 400, "Bad request: Invalid relay-factor: Relay factor must be in range: [0, 5]"],
      ["GET", "?relay-factor=-1", undefined, 400, "Bad request: Invalid relay-factor: Relay factor must be in range: [0, 5]"],
      [
        "GET",
        "?relay-factor=x",
        undefined,
        400,
        'Bad request: Error parsing relay factor: strconv.Atoi: parsing "x": invalid syntax',
      ],
      [
        "GET",
        "?relay-factor=9223372036854775808",
        undefined,
        400,
        'Bad request: Error parsing relay factor: strconv.Atoi: parsing "9223372036854775808": value out of range',
      ],
      [
        "GET",
        "?local-only=x",
        undefined,
        400,
        'Bad request: Error parsing local-only: strconv.ParseBool: parsing "x": invalid syntax',
      ],
      [
        "POST",
        "?local-only=1",
        json,
        400,
        "Bad request: Invalid use of local-only: local-only can only be set for list requests",
      ],
      ["POST", "", "", 400, "Bad request: Request decode failed: EOF"],
      ["PUT", "", `{"Foo":1}`, 400, 'Bad request: Request decode failed: json: unknown field "Foo"'],
      [
        "DELETE",
        "",
        `{"RelayFactor":256}`,
        400,
        "Bad request: Request decode failed: json: cannot unmarshal number 256 into Go struct field keyringArgs.RelayFactor of type uint8",
      ],
      ["PATCH", "", json, 405, "method PATCH not allowed"],
    ];
  for (const [method, target, body, status, said] of refused)
    it(`refuses ${method} ${target} ${body ?? ""}`.trim(), async () => {
      const answer = await ask(method, target, body);
      assert.deepEqual([answer.status, answer.body, answer.asked], [status, said, []]);
    });

  it("a list has the WAN first as it comes, with what members said", async () => {
    const answers = [
      { ...pool, wan: true, keys: { b: 1, a: 2 }, messages: { "n2.dc1": "truncated <1>" } },
      { ...pool, segment: "alpha" },
    ];
    const { status, type, body } = await ask("GET", "", undefined, answers);
    assert.deepEqual([status, type], [200, "application/json"]);
    assert.equal(
      body,
      `[{"WAN":true,"Datacenter":"dc1","Segment":"","Messages":{"n2.dc1":"truncated \\u003c1\\u003e"},"Keys":{"a":2,"b":1},"PrimaryKeys":{"${key}":2},"NumNodes":2},` +
        `{"WAN":false,"Datacenter":"dc1","Segment":"alpha","Keys":{"${key}":2},"PrimaryKeys":{"${key}":2},"NumNodes":2}]`,
    );
  });

  it("pools with an error make it a 500 that names each with its members, and no other", async () => {
    const error = "2/2 nodes reported failure";
    const messages = { n2: "Requested key is not in the keyring", n1: "Requested key is not in the keyring" };
    const answers = [
      { ...pool, wan: true, messages: { "n1.dc1": "fine" } },
      { ...pool, error, messages },
      { ...pool, datacenter: "dc2" },
    ];
    for (const [method, body] of [["GET"], ["PUT", json]] as const) {
      const answer = await ask(method, "", body, answers);
      assert.equal(answer.status, 500);
      assert.equal(
        answer.body,
        "3 errors occurred:\n\t* dc1 (LAN) error: 2/2 nodes reported failure\n\t* n1: Requested key is not in the keyring\n" +
          "\t* n2: Requested key is not in the keyring\n\n",
      );
    }
  });

  it("a change that all did is answered by nothing; a client has no keys to offer", async () => {
    assert.deepEqual(await ask("POST", "", json).then(({ status, type, body }) => [status, type, body]), [200, null, ""]);
    const { status, body } = await ask("GET", "", undefined, "client");
    assert.deepEqual([status, body], [500, "keyring operations must run against a server node"]);
    assert.equal((await ask("GET", "?relay-factor=9", undefined, "client")).status, 400);
  });
});
