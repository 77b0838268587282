/** The small virtual world of other tests, held to what real clocks and sockets do. */
import type { Runtime } from "../../core/ports/mod.ts";
import { clockContract } from "../contract/clock.ts";
import { datagramsContract } from "../contract/datagrams.ts";
import { streamsContract } from "../contract/streams.ts";
import type { Subject } from "../contract/subject.ts";
import { describe } from "../support/harness.ts";
import { VirtualWorld } from "../support/virtual.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const world = new VirtualWorld();
const subject: Subject<"datagrams" | "streams"> = {
  name: "the virtual world",
  address: "10.0.0.1",
  runtime: { clock: world.clock, datagrams: world.datagrams(), streams: world.streams("10.0.0.1") } as Runtime &
    Required<Pick<Runtime, "datagrams" | "streams">>,
  port: () => Promise.resolve(0),
  run: (body) => world.settle(body()),
  gaps: {},
};

const clock = new VirtualClock();
/** Lets virtual time pass, a millisecond at a time, until the body is done. */
async function passing(body: () => Promise<void>): Promise<void> {
  let over = false;
  const done = body().finally(() => {
    over = true;
  });
  while (!over) await clock.advance(1);
  return done;
}

describe("the virtual clock", () => {
  clockContract({ ...subject, name: "the virtual clock", runtime: { ...subject.runtime, clock }, run: passing });
});

describe("the virtual world", () => {
  clockContract(subject);
  datagramsContract(subject);
  streamsContract(subject);
});
