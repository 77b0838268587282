import { LogFile, type LogFileOptions, waitingCharactersMax } from "../../../adapters/shared/log-file.ts";
import { text } from "../../../core/types/bytes.ts";
import { FakeHost } from "../../support/fake-host.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { VirtualClock } from "../../support/virtual-clock.ts";

interface Scene {
  readonly file: LogFile;
  readonly host: FakeHost;
  readonly clock: VirtualClock;
  readonly problems: string[];
  /** Path to content. */
  files(): Promise<Record<string, string>>;
}

async function scene(options: Partial<LogFileOptions> & { readonly files?: Record<string, string> } = {}): Promise<Scene> {
  const host = new FakeHost({ files: options.files ?? {} });
  const clock = new VirtualClock();
  const problems: string[] = [];
  const file = new LogFile({
    path: "log/my.txt",
    rotateBytes: 0,
    rotateDuration: 86_400_000,
    maxFiles: 0,
    host,
    clock,
    onProblem: (problem) => problems.push(problem),
    ...options,
  });
  await file.begin();
  const files = async (): Promise<Record<string, string>> => {
    const found: Record<string, string> = {};
    for (const name of await host.readDirectory("log")) found[name] = text(await host.readFile(`log/${name}`));
    return found;
  };
  return { file, host, clock, problems, files };
}

describe("a log file", () => {
  const names: readonly (readonly [path: string, file: string])[] = [
    ["log/", "consul-1700000000000000000.log"],
    ["log/my.txt", "my-1700000000000000000.txt"],
    ["log/agent", "agent-1700000000000000000.log"],
    ["log/a.b.c", "a.b-1700000000000000000.c"],
    ["log/.hidden", "-1700000000000000000.hidden"],
  ];
  for (const [path, name] of names) {
    it(`${path} is named ${name}`, async () => {
      const { file, files } = await scene({ path });
      file.write("a line");
      await file.flushed();
      assert.deepEqual(await files(), { [name]: "a line\n" });
    });
  }

  it("is begun anew at each start, and leaves what was there alone", async () => {
    const { file, files } = await scene({ files: { "log/my.txt": "old", "log/my-1.txt": "older" }, maxFiles: -1 });
    file.write("new");
    await file.flushed();
    assert.deepEqual(await files(), { "my-1.txt": "older", "my-1700000000000000000.txt": "new\n", "my.txt": "old" });
  });

  it("is followed by the next when it has reached its size, never within a line, and in order within a millisecond", async () => {
    const { file, files } = await scene({ rotateBytes: 8 });
    for (const line of ["äää", "b", "c", "d", "a line of its own"]) file.write(line);
    await file.flushed();
    assert.deepEqual(await files(), {
      "my-1700000000000000000.txt": "äää\nb\n",
      "my-1700000000000000001.txt": "c\nd\na line of its own\n",
    });
    file.write("e");
    await file.flushed();
    assert.equal((await files())["my-1700000000000000002.txt"], "e\n");
  });

  it("is followed by the next when it is old, as soon as there is a line for it", async () => {
    const { file, clock, files } = await scene({ rotateDuration: 1_000 });
    await clock.advance(999);
    file.write("in time");
    await file.flushed();
    await clock.advance(5_001);
    assert.equal(Object.keys(await files()).length, 1);
    file.write("late");
    await file.flushed();
    assert.deepEqual(await files(), {
      "my-1700000000000000000.txt": "in time\n",
      "my-1700000006000000000.txt": "late\n",
    });
  });

  const others = { "log/my-1.txt": "", "log/my-2.txt": "", "log/my-other.txt": "", "log/my-3.log": "", "log/you-1.txt": "" };
  const kept: readonly (readonly [number, readonly string[]])[] = [
    [0, ["my-1.txt", "my-2.txt", "my-1700000000000000000.txt", "my-1700000000000000001.txt"]],
    [2, ["my-2.txt", "my-1700000000000000000.txt", "my-1700000000000000001.txt"].sort()],
    [-1, ["my-1700000000000000001.txt"]],
  ];
  for (const [maxFiles, stay] of kept) {
    it(`with log_rotate_max_files = ${maxFiles}, a rotation leaves ${stay.length} files of its name`, async () => {
      const { file, files } = await scene({ rotateBytes: 1, maxFiles, files: others });
      file.write("a");
      file.write("b");
      await file.flushed();
      const left = Object.keys(await files()).filter((name) => /^my-\d+\.txt$/.test(name));
      // Consul, too, takes the first by name for the oldest.
      assert.deepEqual(left, [...stay].sort());
      assert.deepEqual(
        Object.keys(await files()).filter((name) => !left.includes(name)),
        ["my-3.log", "my-other.txt", "you-1.txt"],
      );
    });
  }

  it("that cannot be begun says so at the start", async () => {
    const failing = { writeFile: () => Promise.reject(new Error("open log/my-1.txt: permission denied")) };
    await assert.rejects(scene({ host: failing as unknown as FakeHost }), /open log\/my-1.txt: permission denied/);
  });

  it("that cannot be written is a problem told once, until it can be again", async () => {
    let broken = false;
    const world = new FakeHost();
    const appendFile = (path: string, content: Uint8Array): Promise<void> =>
      broken ? Promise.reject(new Error("no space left on device")) : world.appendFile(path, content);
    const host = { ...bound(world), appendFile };
    const { file, problems } = await scene({ host });
    for (const state of [true, true, false, true]) {
      broken = state;
      file.write("a");
      await file.flushed();
    }
    assert.deepEqual(problems, ["no space left on device", "no space left on device"]);
  });

  it("that cannot be followed by another is written on", async () => {
    const world = new FakeHost();
    const removeFile = (): Promise<void> => Promise.reject(new Error("remove log/my-1.txt: permission denied"));
    const { file, problems } = await scene({ host: { ...bound(world), removeFile }, rotateBytes: 1, maxFiles: -1 });
    file.write("a");
    file.write("b");
    await file.flushed();
    assert.equal(text(await world.readFile("log/my-1700000000000000000.txt")), "a\nb\n");
    assert.deepEqual(problems, ["remove log/my-1.txt: permission denied"]);
  });

  it("loses lines that the disk is too slow for, says how many, and keeps no more in memory", async () => {
    const { file, files } = await scene();
    const line = "x".repeat(waitingCharactersMax / 4);
    for (let at = 0; at < 10; at++) file.write(line);
    await file.flushed();
    const lines = (Object.values(await files())[0] as string).split("\n");
    assert.equal(lines.length, 6);
    assert.equal(lines[4], "6 lines are missing here: the disk did not keep up");
  });
});

function bound(host: FakeHost): LogFileOptions["host"] {
  return {
    writeFile: (path, content) => host.writeFile(path, content),
    appendFile: (path, content) => host.appendFile(path, content),
    removeFile: (path) => host.removeFile(path),
    readDirectory: (path) => host.readDirectory(path),
  };
}
