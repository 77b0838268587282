import { runSoon } from "../../core/ports/clock.ts";
import { assert, describe } from "../support/harness.ts";
import { claim, deferred, type Subject } from "./subject.ts";

export function clockContract(subject: Subject): void {
  const { clock } = subject.runtime;
  /** True when the timer was not early. */
  const elapsed = (delay: number): Promise<boolean> => {
    const due = clock.monotonic() + delay;
    const fired = deferred<boolean>();
    clock.after(delay, () => fired.resolve(clock.monotonic() >= due));
    return fired.promise;
  };

  describe(`clock of ${subject.name}`, () => {
    claim(subject, "a timer fires no earlier than its delay", async () => {
      for (const delay of [0, 0.4, 1, 1.5, 7, 20]) assert.ok(await elapsed(delay), `delay ${delay}`);
    });

    claim(subject, "what is to run soon runs in the order in which it was asked for, each once and not at once", async () => {
      const order: number[] = [];
      const all = deferred<void>();
      for (const which of [1, 2, 3]) {
        runSoon(clock, () => {
          order.push(which);
          if (which === 3) all.resolve();
        });
      }
      assert.deepEqual(order, []);
      await all.promise;
      assert.deepEqual(order, [1, 2, 3]);
    });

    claim(subject, "timers fire in the order of their delays, not of their making", async () => {
      for (;;) {
        const order: number[] = [];
        const all = deferred<void>();
        const began = clock.monotonic();
        for (const delay of [30, 10, 20]) {
          clock.after(delay, () => {
            order.push(delay);
            if (order.length === 3) all.resolve();
          });
        }
        const took = clock.monotonic() - began;
        await all.promise;
        // When the machine stood still while they were made, the later ones are due later than that.
        if (took >= 10) continue;
        assert.deepEqual(order, [10, 20, 30]);
        return;
      }
    });

    claim(subject, "a cancelled timer does not fire, and cancelling again is harmless", async () => {
      let fired = false;
      const timer = clock.after(1, () => {
        fired = true;
      });
      timer.cancel();
      timer.cancel();
      await elapsed(5);
      assert.equal(fired, false);
    });

    claim(subject, "a timer cancelled after it fired is harmless", async () => {
      const fired = deferred<void>();
      const timer = clock.after(0, () => fired.resolve());
      await fired.promise;
      timer.cancel();
    });

    claim(subject, "a delay beyond 2^31 milliseconds does not fire at once", async () => {
      let fired = false;
      const timers = [2 ** 31, 2 ** 40, Infinity].map((delay) =>
        clock.after(delay, () => {
          fired = true;
        }),
      );
      await elapsed(5);
      for (const timer of timers) timer.cancel();
      assert.equal(fired, false);
    });

    claim(subject, "monotonic time never goes back, and wall time is of this century", async () => {
      let last = clock.monotonic();
      for (let reading = 0; reading < 1000; reading++) {
        const now = clock.monotonic();
        assert.ok(now >= last);
        last = now;
      }
      assert.ok(clock.wall() > Date.UTC(2020, 0) && clock.wall() < Date.UTC(2100, 0));
      assert.equal(clock.wall() % 1, 0);
    });
  });
}
