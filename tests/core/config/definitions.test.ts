import { fc } from "../../support/property.ts";
import { checkDefinition } from "../../../core/config/definition-defaults.ts";
import type { CheckDefinition, ServiceDefinition } from "../../../core/config/definitions.ts";
import { parseCheckRegistration, parseServiceRegistration } from "../../../core/config/definitions-parse.ts";
import { validateCheckDefinition, validateServiceDefinition } from "../../../core/config/definitions-validate.ts";
import { type LiteralJsonValue, parseLiteralJson } from "../../../core/config/json.ts";
import { emptySources, loadConfig } from "../../../core/config/load.ts";
import { AgentError, messageOf } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { readCases } from "./cases.ts";
import { configHost } from "./host.ts";

function answer(kind: string, body: string): string {
  try {
    const parsed = parseLiteralJson(body);
    const problem =
      kind === "service"
        ? validateServiceDefinition(parseServiceRegistration(parsed))
        : validateCheckDefinition(parseCheckRegistration(parsed));
    return problem ?? "accepted";
  } catch (error) {
    return messageOf(error);
  }
}

describe("a registration is accepted, or refused in Consul's words", () => {
  for (const { kind, title, input, outcome } of readCases("registrations.txt")) {
    it(`${kind}: ${title}`, () => assert.equal(answer(kind, input).trim(), outcome));
  }
});

/** A body as a client's JSON library writes it. */
function written(body: unknown): LiteralJsonValue {
  return parseLiteralJson(JSON.stringify(body));
}

const service = (body: object): ServiceDefinition => parseServiceRegistration(written(body));

const plainCheck: CheckDefinition = checkDefinition({});

describe("a registration's fields", () => {
  it("are read under CamelCase names, durations as text or nanoseconds", () => {
    assert.deepEqual(
      service({
        ID: "web1",
        Name: "web",
        Kind: "connect-proxy",
        Tags: ["a"],
        Address: "10.0.0.1",
        TaggedAddresses: { lan: { Address: "10.0.0.2", Port: 2 } },
        Meta: { v: "1" },
        Port: 80,
        Token: "t",
        EnableTagOverride: true,
        Weights: { Passing: 3, Warning: 2 },
        Check: { CheckID: "c", HTTP: "http://x", Interval: "10s", Timeout: 5_000_000_000, Header: { a: ["b"] } },
        Checks: [{ TTL: "1m", TLSSkipVerify: true }],
        Proxy: {
          DestinationServiceName: "db",
          Config: { x: [1] },
          Upstreams: [{ DestinationName: "u", LocalBindPort: 1, MeshGateway: { Mode: "local" } }],
          Expose: { Checks: true, Paths: [{ Path: "/a", ListenerPort: 1 }] },
        },
        Connect: { Native: true, SidecarService: { Port: 5 } },
      }),
      {
        id: "web1",
        name: "web",
        kind: "connect-proxy",
        tags: ["a"],
        address: "10.0.0.1",
        taggedAddresses: { lan: { address: "10.0.0.2", port: 2 } },
        meta: { v: "1" },
        port: 80,
        token: "t",
        enableTagOverride: true,
        weights: { passing: 3, warning: 2 },
        checks: [
          { ...plainCheck, id: "c", http: "http://x", interval: 10_000, timeout: 5000, header: { a: ["b"] } },
          { ...plainCheck, ttl: 60_000, tlsSkipVerify: true },
        ],
        proxy: {
          DestinationServiceName: "db",
          Config: { x: [1] },
          Upstreams: [{ DestinationName: "u", LocalBindPort: 1, MeshGateway: { Mode: "local" } }],
          Expose: { Checks: true, Paths: [{ Path: "/a", ListenerPort: 1 }] },
        },
        connectNative: true,
        sidecar: { ...service({}), port: 5 },
      },
    );
  });

  it("are read under snake_case twins, and in any letter case", () => {
    const read = service({
      name: "a",
      enable_tag_override: true,
      tagged_addresses: { lan: { address: "1.2.3.4", port: 5 } },
      proxy: { destination_service_name: "db", upstreams: [{ destination_name: "u", local_bind_port: 7 }] },
      check: { docker_container_id: "d", tls_skip_verify: true, script_args: ["x"], deregister_critical_service_after: "1h" },
    });
    assert.equal(read.enableTagOverride, true);
    assert.deepEqual(read.taggedAddresses, { lan: { address: "1.2.3.4", port: 5 } });
    assert.deepEqual(read.proxy, { DestinationServiceName: "db", Upstreams: [{ DestinationName: "u", LocalBindPort: 7 }] });
    assert.deepEqual(read.checks, [
      { ...plainCheck, dockerContainerId: "d", tlsSkipVerify: true, args: ["x"], deregisterCriticalServiceAfter: 3_600_000 },
    ]);
  });

  it("named like properties of every object are data", () => {
    const service = parseServiceRegistration(parseLiteralJson('{"Name":"a","Meta":{"__proto__":"x","constructor":"y"}}'));
    assert.deepEqual(Object.entries(service.meta ?? {}), [
      ["__proto__", "x"],
      ["constructor", "y"],
    ]);
    assert.throws(() => parseServiceRegistration(parseLiteralJson('{"__proto__":1}')), {
      message: 'Request decode failed: json: unknown field "__proto__"',
    });
  });
});

describe("a definition in a file", () => {
  it("means what the same registration means", async () => {
    const fragment = `service { name="web" id="web1" tags=["a"] address="10.0.0.1" port=80 meta { v="1" } token="t"
      tagged_addresses { lan { address="10.0.0.2" port=2 } } weights { passing=3 warning=2 } enable_tag_override=true kind="connect-proxy"
      proxy { destination_service_name="db" config { x = 1 } upstreams { destination_name="u" local_bind_port=1 mesh_gateway { mode="local" } }
        expose { checks=true paths { path="/a" listener_port=1 } } }
      connect { native=true sidecar_service { port=5 } }
      checks { id="c" http="http://x" interval="10s" header { a=["b"] } } check { ttl="1m" TLSSkipVerify=true } }`;
    const { services } = await loadConfig({ ...emptySources, devMode: true, fragments: [fragment] }, configHost());
    const same = service({
      ID: "web1",
      Name: "web",
      Kind: "connect-proxy",
      Tags: ["a"],
      Address: "10.0.0.1",
      Port: 80,
      Meta: { v: "1" },
      Token: "t",
      TaggedAddresses: { lan: { Address: "10.0.0.2", Port: 2 } },
      Weights: { Passing: 3, Warning: 2 },
      EnableTagOverride: true,
      Proxy: {
        DestinationServiceName: "db",
        Config: { x: 1 },
        Upstreams: [{ DestinationName: "u", LocalBindPort: 1, MeshGateway: { Mode: "local" } }],
        Expose: { Checks: true, Paths: [{ Path: "/a", ListenerPort: 1 }] },
      },
      Connect: { Native: true, SidecarService: { Port: 5, Weights: { Passing: 1, Warning: 1 } } },
      Checks: [
        { CheckID: "c", HTTP: "http://x", Interval: "10s", Header: { a: ["b"] } },
        { TTL: "1m", TLSSkipVerify: true },
      ],
    });
    assert.deepEqual(services, [same]);
  });

  it("holds free forms in which blocks and lists of one are plain values, as in Consul", async () => {
    const fragment =
      'service { name="a" proxy { config { a { l = ["x"] m = [{n=1}] o = [[1]] q {x=1} q {x=2} } l3=[["x"]] s { t "u" { v = 1 } } } } }';
    const { services } = await loadConfig({ ...emptySources, devMode: true, fragments: [fragment] }, configHost());
    assert.deepEqual(services[0]?.proxy, {
      Config: { a: { l: "x", m: { n: 1 }, o: [1], q: [{ x: 1 }, { x: 2 }] }, l3: ["x"], s: { t: { u: { v: 1 } } } },
    });
  });

  it("may be a check of the node, and has weights of one", async () => {
    const fragment = 'check { id="mem" args=["a","b"] interval="1s" } service { name="a" }';
    const { services, checks } = await loadConfig({ ...emptySources, devMode: true, fragments: [fragment] }, configHost());
    assert.deepEqual(checks, [{ ...plainCheck, id: "mem", args: ["a", "b"], interval: 1000 }]);
    assert.deepEqual(services[0]?.weights, { passing: 1, warning: 1 });
  });
});

describe("metadata", () => {
  it("is bounded in pairs, keys and values", () => {
    const problem = (meta: Record<string, string>): string | undefined =>
      validateServiceDefinition({ ...service({ Name: "a" }), meta });
    const pairs = (count: number): Record<string, string> =>
      Object.fromEntries(Array.from({ length: count }, (_, at) => [`k${at}`, ""]));
    assert.equal(problem(pairs(64)), undefined);
    assert.equal(problem(pairs(65)), "Invalid Service Meta: Node metadata cannot contain more than 64 key/value pairs");
    assert.equal(problem({ [`k${"x".repeat(127)}`]: "v".repeat(512) }), undefined);
    assert.match(String(problem({ ["x".repeat(129)]: "" })), /Key is too long \(limit: 128 characters\)$/);
    assert.match(String(problem({ k: "v".repeat(513) })), /Value is too long \(limit: 512 characters\)$/);
  });
});

it("any JSON given as a registration is answered or refused, never crashed on", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.boolean(), (body, service) => {
      try {
        if (service) validateServiceDefinition(parseServiceRegistration(written(body)));
        else validateCheckDefinition(parseCheckRegistration(written(body)));
      } catch (error) {
        assert.ok(error instanceof AgentError && error.code === "bad-request", String(error));
      }
    }),
  );
});

it("any value in any known field is answered or refused, never crashed on", () => {
  const names = [
    "Name",
    "Check",
    "Checks",
    "Proxy",
    "Connect",
    "SidecarService",
    "Upstreams",
    "Expose",
    "Paths",
    "Meta",
    "TTL",
    "Weights",
    "Args",
    "Header",
  ];
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { depthSize: "small" },
      fc.jsonValue({ maxDepth: 1 }),
      fc.dictionary(fc.constantFrom(...names), tie("value")),
      fc.array(tie("value"), { maxLength: 3 }),
    ),
  }));
  fc.assert(
    fc.property(value, (body) => {
      try {
        validateServiceDefinition(parseServiceRegistration(written(body)));
      } catch (error) {
        assert.ok(error instanceof AgentError && error.code === "bad-request", String(error));
      }
    }),
  );
});
