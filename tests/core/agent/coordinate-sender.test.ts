/** How often an agent sends its coordinate. */
import { CoordinateSender } from "../../../core/agent/coordinate-sender.ts";
import { createRandom, seedOf } from "../../../adapters/shared/random.ts";
import type { Command } from "../../../core/catalog/commands.ts";
import type { Logger } from "../../../core/ports/mod.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { VirtualClock } from "../../support/virtual-clock.ts";

const origin = { vec: [0, 0, 0, 0, 0, 0, 0, 0], error: 1.5, adjustment: 0, height: 1e-5 };

function sender(clusterSize: number, write: (command: Command) => Promise<undefined> = async () => undefined) {
  const clock = new VirtualClock();
  const sent: Command[] = [];
  const log: string[] = [];
  const logger: Logger = { log: (level, text) => void log.push(`${level} ${text}`), enabled: () => true, child: () => logger };
  const subject = new CoordinateSender({
    clock,
    random: createRandom(seedOf("coordinates")),
    logger,
    node: "n1",
    coordinate: () => origin,
    clusterSize: () => clusterSize,
    write: (command) => {
      sent.push(command);
      return write(command) as never;
    },
  });
  return { clock, sent, log, subject };
}

describe("an agent's coordinate on its way to the servers", () => {
  it("is sent between 15 and 30 seconds after the start, and again after as long", async () => {
    const { clock, sent, subject } = sender(1);
    subject.start();
    await clock.advance(14_999);
    assert.equal(sent.length, 0);
    await clock.advance(15_001);
    assert.deepEqual(sent, [{ kind: "coordinates", updates: [{ node: "n1", segment: "", coordinate: origin }] }]);
    await clock.advance(90_000);
    assert.ok(sent.length >= 4 && sent.length <= 7, `${sent.length}`);
    subject.stop();
  });

  it("comes less often from each agent of a large cluster", async () => {
    const { clock, sent, subject } = sender(6400);
    subject.start();
    await clock.advance(99_999);
    assert.equal(sent.length, 0);
    await clock.advance(100_001);
    assert.equal(sent.length, 1);
    subject.stop();
  });

  it("is tried again when it was refused, and never after the stop", async () => {
    const { clock, sent, log, subject } = sender(1, () => Promise.reject(new Error("No cluster leader")));
    subject.start();
    await clock.advance(60_000);
    assert.ok(sent.length >= 2);
    assert.match(log.join("\n"), /^error Coordinate update error/);
    subject.stop();
    const before = sent.length;
    await clock.advance(120_000);
    assert.equal(sent.length, before);
  });
});
