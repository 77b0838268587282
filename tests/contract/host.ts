import { text, utf8 } from "../../core/types/bytes.ts";
import { assert, describe } from "../support/harness.ts";
import { ample, claim, deferred, pattern, rejection, type Subject } from "./subject.ts";

export function hostContract(subject: Subject<"host">, folder: string): void {
  const { host } = subject.runtime;
  const path = (name: string): string => `${folder}/${name}`;

  describe(`host of ${subject.name}`, () => {
    claim(subject, "the machine has a name, an internal IPv4 interface, memory and a process id", async () => {
      assert.ok(host.hostname().length > 0 && host.pid > 0);
      assert.ok(host.interfaces().some(({ address, family, internal }) => address === "127.0.0.1" && family === 4 && internal));
      const { residentBytes, heapUsedBytes, heapTotalBytes } = host.memory();
      assert.ok(residentBytes > 0 && heapUsedBytes > 0 && heapTotalBytes > 0);
      const descriptors = host.fileDescriptorsMax();
      assert.ok(descriptors === undefined || descriptors > 0);
      assert.equal(host.env["PATH"], process.env["PATH"]);
    });

    claim(subject, "a file written is read, appended to, measured, listed and removed", async () => {
      await host.makeDirectory(path("deep/er"));
      await host.makeDirectory(path("deep/er"));
      await host.writeFile(path("deep/b"), pattern(1000), 0o600);
      await host.writeFile(path("deep/B"), utf8("one "));
      await host.appendFile(path("deep/B"), utf8("two"));
      assert.deepEqual(await host.readFile(path("deep/b")), pattern(1000));
      assert.equal(text(await host.readFile(path("deep/B"))), "one two");
      assert.deepEqual(await host.stat(path("deep/b")), { kind: "file", size: 1000 });
      assert.equal((await host.stat(path("deep/er")))?.kind, "directory");
      assert.deepEqual(await host.readDirectory(path("deep")), ["B", "b", "er"]);
      await host.renameFile(path("deep/b"), path("deep/B"));
      assert.deepEqual(await host.readFile(path("deep/B")), pattern(1000));
      assert.equal(await host.stat(path("deep/b")), undefined);
      await host.removeFile(path("deep/B"));
      assert.equal(await host.stat(path("deep/B")), undefined);
    });

    claim(subject, "what is missing or no file is refused in Go's words", async () => {
      const missing = await rejection(host.readFile(path("nope.json")));
      assert.equal(missing.message, `open ${path("nope.json")}: no such file or directory`);
      assert.equal(missing.code, "not-found");
      assert.equal(
        (await rejection(host.readDirectory(path("nope")))).message,
        `open ${path("nope")}: no such file or directory`,
      );
      assert.equal((await rejection(host.readFile(folder))).message, `read ${folder}: is a directory`);
      assert.equal((await rejection(host.removeFile(path("nope")))).message, `remove ${path("nope")}: no such file or directory`);
    });

    claim(subject, "a signal reaches its receiver until cancelled", async () => {
      const controller = new AbortController();
      const received = deferred<void>();
      // Waiting for a signal keeps no process alive; a timer does.
      const awake = subject.runtime.clock.after(ample, () => {});
      let count = 0;
      host.onSignal(
        "SIGHUP",
        () => {
          count++;
          received.resolve();
        },
        controller.signal,
      );
      process.kill(process.pid, "SIGHUP");
      await received.promise;
      controller.abort();
      const again = deferred<void>();
      host.onSignal("SIGHUP", () => again.resolve());
      process.kill(process.pid, "SIGHUP");
      await again.promise;
      awake.cancel();
      assert.equal(count, 1);
    });

    claim(subject, "it measures the machine on Linux, and says so elsewhere", async () => {
      if (host.platform !== "linux") {
        assert.equal((await rejection(Promise.resolve(host.report?.()))).code, "not-supported");
        return;
      }
      const report = await host.report?.();
      assert.ok(report !== undefined);
      assert.ok((report.memory["total"] as number) > (report.memory["free"] as number));
      assert.ok(report.cpus.length > 0);
      assert.equal(report.host["hostname"], host.hostname());
      assert.ok((report.disk["total"] as number) >= (report.disk["used"] as number));
      const numbers = [report.memory, report.disk]
        .flatMap((part) => Object.values(part))
        .filter((value) => typeof value === "number");
      assert.ok(numbers.every((value) => Number.isFinite(value) && value >= 0));
    });
  });
}
