import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fc } from "../../support/property.ts";
import { Events, type EventTarget } from "../../../core/agent/events.ts";
import { decodeUserEvent, encodeUserEvent } from "../../../core/agent/user-event.ts";
import { Malformed } from "../../../core/codec/msgpack.ts";
import type { AgentConfig } from "../../../core/config/config.ts";
import type { EventToFire, LocalService, UserEvent } from "../../../core/plugin/agent-api.ts";
import type { Crypto, Logger } from "../../../core/ports/mod.ts";
import { fromHex, text, toHex, utf8 } from "../../../core/types/bytes.ts";
import type { AgentError } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";

interface Sent {
  readonly name: string;
  readonly payload: Uint8Array;
  readonly where: EventTarget;
}

/** An agent called "web-1" with a service "api-1" (named "api") that has the tags "v1" and "blue". */
function createEvents(remoteExec?: (event: UserEvent) => void) {
  const sent: Sent[] = [];
  const lines: string[] = [];
  let ids = 0;
  const logger = { log: (level: string, message: string) => lines.push(`${level} ${message}`) } as unknown as Logger;
  const service = { service: { id: "api-1", service: "api", tags: ["v1", "blue"] } } as unknown as LocalService;
  const events = new Events({
    config: () => ({ nodeName: "web-1" }) as AgentConfig,
    local: { services: new Map([["api-1", service]]) },
    crypto: { randomBytes: (length: number) => new Uint8Array(length).fill(++ids) } as unknown as Crypto,
    logger,
    send: async (name, payload, where) => void sent.push({ name, payload, where }),
    remoteExec,
  });
  return { events, sent, lines };
}

const plain: EventToFire = { name: "deploy", payload: undefined, nodeFilter: "", serviceFilter: "", tagFilter: "" };
const id = "cd6d758d-2ca6-5b6f-9f7e-c0b9f281ff23";

function heard(change: Partial<UserEvent>): Uint8Array {
  return encodeUserEvent({ ...plain, id, version: 1, time: 0, ...change });
}

describe("the payload of a user event", () => {
  for (const name of ["098-consul-event-deploy", "099-consul-event-plain", "100-consul-event-rexec"])
    it(`${name}: what Consul wrote is read, and written again to the byte`, () => {
      const vector = JSON.parse(readFileSync(join(process.env["TEST_ROOT"] as string, `tests/vectors/${name}.json`), "utf8"));
      const { inner } = vector.decoded;
      const told = inner.serf.body.Payload.consulUserEvent;
      const whole = vector.hex as string;
      // The payload is the last field: its own map begins with the key "ID".
      const hex = whole.slice(whole.lastIndexOf("a24944d924") - 2);
      const event = decodeUserEvent(fromHex(hex) as Uint8Array, 7);
      assert.deepEqual(
        { ...event, payload: event.payload && text(event.payload) },
        {
          id: told.ID,
          name: told.n,
          payload: told.p,
          nodeFilter: told.nf ?? "",
          serviceFilter: told.sf ?? "",
          tagFilter: told.tf ?? "",
          version: 1,
          time: 7,
        },
      );
      assert.equal(toHex(encodeUserEvent(event)), hex);
    });

  it("an ID that is no UUID is refused: readers make an index of it", () => {
    assert.throws(() => decodeUserEvent(heard({ id: "x" }), 1), Malformed);
  });

  it("random bytes are an event or malformed, and nothing else", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decodeUserEvent(bytes, 1);
        } catch (error) {
          assert.ok(error instanceof Malformed);
        }
      }),
    );
  });
});

describe("firing", () => {
  it("an event gets an ID and goes out under its name, to the datacenter and with the token given", async () => {
    const { events, sent } = createEvents();
    const fired = await events.fire({ ...plain, payload: utf8("1.2") }, { datacenter: "dc2", token: "t" });
    assert.equal(fired.id, "01010101-0101-4101-8101-010101010101");
    assert.equal(fired.time, 0);
    const { name, payload, where } = sent[0] as Sent;
    assert.deepEqual([name, where], ["deploy", { datacenter: "dc2", token: "t" }]);
    assert.equal(text(decodeUserEvent(payload, 0).payload as Uint8Array), "1.2");
    assert.deepEqual(events.list(), [], "it is heard when gossip brings it, not before");
  });

  const refused: readonly (readonly [string, Partial<EventToFire>, string])[] = [
    ["no name", { name: "" }, "User event missing name"],
    ["a tag without a service", { tagFilter: "a" }, "Cannot provide tag filter without service filter"],
    ["a broken filter", { nodeFilter: "(" }, "Invalid node filter: error parsing regexp: missing closing ): `(`"],
  ];
  for (const [what, change, message] of refused)
    it(`${what} is refused in Consul's words, and nothing is sent`, async () => {
      const { events, sent } = createEvents();
      await assert.rejects(events.fire({ ...plain, ...change }), (error: AgentError) => {
        assert.deepEqual([error.code, error.message], ["rejected", message]);
        return true;
      });
      assert.equal(sent.length, 0);
    });
});

describe("hearing", () => {
  const cases: readonly (readonly [Partial<UserEvent>, boolean])[] = [
    [{}, true],
    [{ nodeFilter: "^web" }, true],
    [{ nodeFilter: "^db" }, false],
    [{ serviceFilter: "^api-1$" }, true],
    [{ serviceFilter: "^api$" }, false],
    [{ serviceFilter: "api", tagFilter: "^v" }, true],
    [{ serviceFilter: "api", tagFilter: "^green" }, false],
    [{ nodeFilter: "web", serviceFilter: "nothing" }, false],
    [{ nodeFilter: "(" }, false],
    [{ version: 2 }, true],
  ];
  for (const [change, concerns] of cases)
    it(`${JSON.stringify(change)} ${concerns ? "concerns" : "does not concern"} web-1 with api-1 tagged v1 and blue`, () => {
      const { events } = createEvents();
      events.receive(heard(change), 3);
      assert.equal(events.list().length, concerns ? 1 : 0);
    });

  it("the last 256 are kept, oldest first, and who follows is called for each", () => {
    const { events } = createEvents();
    let calls = 0;
    const unfollow = events.follow(() => calls++);
    for (let time = 1; time <= 300; time++) events.receive(heard({}), time);
    assert.equal(events.list().length, 256);
    assert.equal(events.list()[0]?.time, 45);
    assert.equal(events.list().at(-1)?.time, 300);
    unfollow();
    events.receive(heard({}), 301);
    assert.equal(calls, 300);
  });

  it("a list that was handed out stays as it was", () => {
    const { events } = createEvents();
    events.receive(heard({}), 1);
    const before = events.list();
    events.receive(heard({}), 2);
    assert.equal(before.length, 1);
  });

  it("what is no event is said in the log and changes nothing", () => {
    const { events, lines } = createEvents();
    events.receive(utf8("nonsense"), 1);
    assert.deepEqual(events.list(), []);
    assert.deepEqual(lines, ["error Failed to decode event"]);
  });

  it("a call for remote execution is not kept: it is carried out, or refused where that is switched off", () => {
    const asked: UserEvent[] = [];
    const willing = createEvents((event) => asked.push(event));
    willing.events.receive(heard({ name: "_rexec" }), 1);
    assert.deepEqual([asked.length, willing.events.list().length], [1, 0]);
    const unwilling = createEvents();
    unwilling.events.receive(heard({ name: "_rexec" }), 1);
    assert.deepEqual(unwilling.events.list(), []);
    assert.deepEqual(unwilling.lines, ["info ignoring remote exec event, disabled."]);
  });
});
