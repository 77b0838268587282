import { ServerCalls } from "../../../core/agent/server-calls.ts";
import type { KnownServer, ServerList } from "../../../core/agent/server-list.ts";
import type { Logger } from "../../../core/ports/mod.ts";
import type { RpcClient } from "../../../core/rpc/client.ts";
import { AgentError } from "../../../core/types/errors.ts";
import type { Millis } from "../../../core/types/ids.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { settle, VirtualClock } from "../../support/virtual-clock.ts";

const second = 1000;

/** Three servers; each call is held for `held` and then ends with its server, but the one with the number `answers`. */
function createCalls(held: Millis, answers: number) {
  const clock = new VirtualClock();
  const order: KnownServer[] = ["s1", "s2", "s3"].map((name) => ({ name, address: { host: name, port: 8300 } }));
  const asked: string[] = [];
  const client = {
    call: ({ host }: { readonly host: string }) => {
      asked.push(host);
      const answer = asked.length === answers;
      return new Promise((resolve, reject) => {
        clock.after(held, () =>
          answer ? resolve(true) : reject(new AgentError("connection-closed", { message: "rpc error making call: EOF" })),
        );
      });
    },
  } as unknown as RpcClient;
  const servers = {
    first: () => order[0],
    size: 3,
    failed: () => void order.push(order.shift() as KnownServer),
  } as unknown as ServerList;
  const logger = { log: () => {} } as unknown as Logger;
  const random = { uint32: () => 0, fork: () => random };
  const calls = new ServerCalls({ client, servers, clock, random, logger, holdTimeout: () => 7 * second });
  const ask = (isRead: boolean) =>
    calls
      .call({ method: "KVS.Get", args: {}, isRead, timeout: 60 * second }, () => `answered by ${asked.at(-1)}`)
      .catch((error: AgentError) => error.message);
  return { clock, asked, ask };
}

/** What it comes to, and after how many seconds. */
async function outcome(clock: VirtualClock, work: Promise<string>): Promise<readonly [string, number]> {
  const began = clock.monotonic();
  let result: string | undefined;
  void work.then((value) => {
    result = value;
  });
  for (let turn = 0; turn < 200 && result === undefined; turn++) {
    await clock.advance(second);
    await settle();
  }
  return [result ?? "never", Math.round((clock.monotonic() - began) / second)];
}

describe("calls to servers that end under them", () => {
  it("a read that each of them held for a while goes on at the next one", async () => {
    const { clock, asked, ask } = createCalls(9 * second, 4);
    const [result] = await outcome(clock, ask(true));
    assert.deepEqual([result, asked], ["answered by s1", ["s1", "s2", "s3", "s1"]]);
  });

  it("in all no longer than the call may take and the servers are waited for", async () => {
    const { clock, ask } = createCalls(9 * second, 0);
    const [result, took] = await outcome(clock, ask(true));
    assert.equal(result, "rpc error making call: EOF");
    assert.ok(took >= 60 && took <= 80, `${took} s`);
  });

  it("where they end at once the time counts from the first failure", async () => {
    const { clock, ask } = createCalls(second, 0);
    const [, took] = await outcome(clock, ask(true));
    assert.ok(took >= 7 && took <= 10, `${took} s`);
  });

  it("a write is not made again", async () => {
    const { clock, asked, ask } = createCalls(9 * second, 0);
    await outcome(clock, ask(false));
    assert.deepEqual(asked, ["s1"]);
  });
});
