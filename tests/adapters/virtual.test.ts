/** The small virtual world of other tests, held to what real clocks and sockets do. */
import type { Runtime } from "../../core/ports/mod.ts";
import { clockContract } from "../contract/clock.ts";
import { datagramsContract } from "../contract/datagrams.ts";
import { streamsContract } from "../contract/streams.ts";
import type { Subject } from "../contract/subject.ts";
import { describe } from "../support/harness.ts";
import { VirtualWorld } from "../support/virtual.ts";

const world = new VirtualWorld();
const subject: Subject<"datagrams" | "streams"> = {
  name: "the virtual world",
  address: "10.0.0.1",
  runtime: { clock: world.clock, datagrams: world.datagrams(), streams: world.streams("10.0.0.1") } as Runtime &
    Required<Pick<Runtime, "datagrams" | "streams">>,
  run: (body) => world.settle(body()),
  gaps: {},
};

describe("the virtual world", () => {
  clockContract(subject);
  datagramsContract(subject);
  streamsContract(subject);
});
