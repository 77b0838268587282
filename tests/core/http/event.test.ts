/** Blocking readers of events, in virtual time; the replies themselves are in tests/cases/http/event.txt. */
import { settle } from "../../support/virtual-clock.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { type AgentUnderTest, createAgentUnderTest } from "./agent-under-test.ts";

const from = { host: "127.0.0.1", port: 40_000 };

async function ask({ app }: AgentUnderTest, target: string, init: RequestInit = {}): Promise<Response> {
  return app.fetch(new Request(`http://127.0.0.1${target}`, init), from);
}

const fire = (agent: AgentUnderTest, name: string): Promise<Response> => ask(agent, `/v1/event/fire/${name}`, { method: "PUT" });

/** The index after an event was fired. */
async function indexAfter(agent: AgentUnderTest, name: string): Promise<string> {
  await fire(agent, name);
  return (await ask(agent, "/v1/event/list")).headers.get("x-consul-index") as string;
}

/** What a request that waits was answered with so far. */
function watch(agent: AgentUnderTest, target: string, signal?: AbortSignal) {
  const state: { names?: readonly string[]; index?: string | null } = {};
  void ask(agent, target, signal === undefined ? {} : { signal }).then(async (response) => {
    state.index = response.headers.get("x-consul-index");
    state.names = ((await response.json()) as readonly { readonly Name: string }[]).map(({ Name }) => Name);
  });
  return state;
}

describe("/v1/event/list", () => {
  it("the index is the two halves of the newest event's ID folded together, and 1 when there is none", async () => {
    const agent = await createAgentUnderTest();
    assert.equal((await ask(agent, "/v1/event/list")).headers.get("x-consul-index"), "1");
    const { ID } = (await (await fire(agent, "a")).json()) as { readonly ID: string };
    const digits = ID.replaceAll("-", "");
    const folded = BigInt(`0x${digits.slice(0, 16)}`) ^ BigInt(`0x${digits.slice(16)}`);
    assert.equal((await ask(agent, "/v1/event/list")).headers.get("x-consul-index"), String(folded));
  });

  it("a reader with the present index waits for the next event; with any other it is answered at once", async () => {
    const agent = await createAgentUnderTest();
    const index = await indexAfter(agent, "first");
    const behind = watch(agent, "/v1/event/list?index=99");
    const waiting = watch(agent, `/v1/event/list?index=${index}`);
    await settle();
    await settle();
    assert.deepEqual(behind.names, ["first"]);
    assert.equal(waiting.names, undefined);
    await fire(agent, "second");
    await settle();
    assert.deepEqual(waiting.names, ["first", "second"]);
    assert.notEqual(waiting.index, index);
  });

  it("an event of another name does not wake who waits for one", async () => {
    const agent = await createAgentUnderTest();
    const waiting = watch(agent, "/v1/event/list?name=wanted&index=1");
    await settle();
    await fire(agent, "other");
    await settle();
    assert.equal(waiting.names, undefined);
    await fire(agent, "wanted");
    await settle();
    assert.deepEqual(waiting.names, ["wanted"]);
  });

  it("who waits is answered unchanged after `wait`, ten minutes when it says nothing, and never later", async () => {
    for (const [wait, millis] of [
      ["&wait=2s", 2000],
      ["", 600_000],
      ["&wait=20m", 600_000],
    ] as const) {
      const agent = await createAgentUnderTest();
      const waiting = watch(agent, `/v1/event/list?index=1${wait}`);
      await settle();
      await agent.clock.advance(millis - 1);
      assert.equal(waiting.names, undefined);
      await agent.clock.advance(1);
      assert.deepEqual(waiting.names, []);
    }
  });

  it("a client that goes away leaves no timer and no follower", async () => {
    const agent = await createAgentUnderTest();
    const before = agent.clock.pending;
    const client = new AbortController();
    void ask(agent, "/v1/event/list?index=1", { signal: client.signal }).catch(() => {});
    await settle();
    assert.equal(agent.clock.pending, before + 1);
    client.abort();
    await settle();
    assert.equal(agent.clock.pending, before);
  });
});
