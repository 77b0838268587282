import type { Packet } from "../../core/ports/datagrams.ts";
import { text, utf8 } from "../../core/types/bytes.ts";
import { assert, describe } from "../support/harness.ts";
import { claim, deferred, pattern, rejection, type Subject } from "./subject.ts";

export function datagramsContract(subject: Subject<"datagrams">): void {
  const { datagrams, clock } = subject.runtime;
  const at = { host: subject.address, port: 0 };

  describe(`datagrams of ${subject.name}`, () => {
    claim(subject, "port 0 picks a free port, and what is sent there arrives with its sender", async () => {
      const arrived = deferred<{ payload: string; from: Packet["from"]; receivedAt: number; shownAt: number }>();
      const receiver = await datagrams.bind(at, ({ payload, from, receivedAt }) =>
        arrived.resolve({ payload: text(payload), from, receivedAt, shownAt: clock.monotonic() }),
      );
      const sender = await datagrams.bind(at, () => {});
      assert.ok(receiver.local.port > 0 && receiver.local.port !== sender.local.port);
      const sentAt = clock.monotonic();
      sender.send(receiver.local, utf8("ping"));
      const packet = await arrived.promise;
      assert.equal(packet.payload, "ping");
      assert.deepEqual(packet.from, sender.local);
      assert.ok(sentAt <= packet.receivedAt && packet.receivedAt <= packet.shownAt);
      await Promise.all([receiver.close(), sender.close()]);
    });

    claim(subject, "a datagram of 60,000 bytes and one of none arrive whole", async () => {
      const sizes: number[] = [];
      const both = deferred<void>();
      const receiver = await datagrams.bind(at, ({ payload }) => {
        if (payload.length > 0) assert.deepEqual(new Uint8Array(payload), pattern(payload.length));
        sizes.push(payload.length);
        if (sizes.length === 2) both.resolve();
      });
      receiver.send(receiver.local, pattern(60_000));
      receiver.send(receiver.local, new Uint8Array(0));
      await both.promise;
      assert.deepEqual(sizes.sort(), [0, 60_000]);
      await receiver.close();
    });

    claim(subject, "a taken port is refused with address-in-use", async () => {
      const first = await datagrams.bind({ ...at, port: await subject.port() }, () => {});
      const error = await rejection(datagrams.bind(first.local, () => {}));
      assert.equal(error.code, "address-in-use");
      assert.match(error.message, /^listen udp .*: bind: address already in use$/);
      await first.close();
      await (await datagrams.bind(first.local, () => {})).close();
    });

    claim(subject, "a datagram to a port where nobody listens does not cost the next one, to another", async () => {
      const all = deferred<void>();
      let arrived = 0;
      const receiver = await datagrams.bind(at, () => {
        if (++arrived === 10) all.resolve();
      });
      const sender = await datagrams.bind(at, () => {});
      const nobody = await datagrams.bind(at, () => {});
      await nobody.close();
      for (let round = 0; round < 10; round++) {
        sender.send(nobody.local, utf8("nobody is here"));
        // The refusal of the first has come back by the time the second leaves.
        await new Promise<void>((resolve) => void clock.after(5, resolve));
        sender.send(receiver.local, utf8("ping"));
      }
      await all.promise;
      await Promise.all([receiver.close(), sender.close()]);
    });

    claim(subject, "sending never throws: to nobody, to nonsense, too much, or after the close", async () => {
      const socket = await datagrams.bind(at, () => {});
      const nobody = await datagrams.bind(at, () => {});
      await nobody.close();
      socket.send(nobody.local, utf8("nobody is here"));
      socket.send({ host: subject.address, port: 0 }, utf8("no port"));
      socket.send({ host: subject.address, port: 70_000 }, utf8("no port either"));
      socket.send(nobody.local, pattern(100_000));
      await socket.close();
      socket.send(nobody.local, utf8("closed"));
      await socket.close();
    });
  });
}
