/** Who gets a data directory when several want it, and what else may be in the place of its files. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { createClock } from "../../../adapters/node-api/clock.ts";
import { NodeDirectory } from "../../../adapters/node-api/directory.ts";
import { lightBeacon } from "../../../adapters/node-api/beacon.ts";
import { lockDirectory } from "../../../adapters/node-api/directory-lock.ts";
import { type FileSystem, nodeFileSystem } from "../../../adapters/node-api/file-system.ts";
import { NodeFileStore } from "../../../adapters/node-api/files.ts";
import { text, utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";

const clock = createClock();

async function inTemporary(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "proconsul-lock-"));
  try {
    await body(directory);
  } finally {
    await rm(directory, { recursive: true });
  }
}

const failing = (call: "link" | "sync", code: string): FileSystem => {
  const fail = async (): Promise<never> => {
    throw Object.assign(new Error(`${code}: not here`), { code });
  };
  if (call === "link") return { ...nodeFileSystem, link: fail };
  const open: FileSystem["open"] = async (path, flags, mode) => {
    const handle = await nodeFileSystem.open(path, flags, mode);
    if ((await handle.stat()).isDirectory()) handle.sync = fail;
    return handle;
  };
  return { ...nodeFileSystem, open };
};

describe("the lock of a data directory", () => {
  const take = (path: string, fileSystem: FileSystem = nodeFileSystem) =>
    lockDirectory(path, { clock, fileSystem, onTakenOver: () => {} });

  it("goes to one of many that want it at once, also where the file system has no links", () =>
    inTemporary(async (directory) => {
      for (const fileSystem of [nodeFileSystem, failing("link", "EPERM"), failing("link", "ENOTSUP")]) {
        const path = join(directory, "lock");
        const tried = await Promise.allSettled(Array.from({ length: 10 }, () => take(path, fileSystem)));
        const got = tried.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
        assert.equal(got.length, 1);
        const [alive, lock] = (await readdir(directory)).sort().toReversed();
        assert.match(`${alive} ${lock}`, /^proconsul\.[0-9a-f]{16}\.alive lock$/);
        await got[0]?.release();
        assert.deepEqual(await readdir(directory), []);
      }
    }));

  it("that is being written by another process is waited for, and not taken over", () =>
    inTemporary(async (directory) => {
      const path = join(directory, "lock");
      await writeFile(path, "");
      const waiting = take(path);
      // A process that lives, and is not this one.
      clock.after(60, () => void writeFile(path, `${process.ppid} -\n`));
      await assert.rejects(waiting, { code: "storage-failed", message: new RegExp(`in use by process ${process.ppid} `) });
    }));

  it("of another container is left alone as long as somebody lives there, and taken over afterwards", () =>
    inTemporary(async (directory) => {
      const path = join(directory, "lock");
      const other = await lightBeacon(directory, nodeFileSystem);
      // The same id as ours in a namespace of its own, and another beginning: without the beacon, a predecessor's.
      await writeFile(path, `${process.pid} boot:1 pid:[1] ${other.name}\n`);
      await assert.rejects(take(path), { code: "storage-failed", message: new RegExp(`in use by process ${process.pid} `) });
      await other.close();
      const takenOver: string[] = [];
      const onTakenOver = (holder: string) => void takenOver.push(holder);
      const lock = await lockDirectory(path, { clock, fileSystem: nodeFileSystem, onTakenOver });
      assert.deepEqual(takenOver, [String(process.pid)]);
      await lock.release();
      assert.deepEqual(await readdir(directory), []);
    }));

  it("names no beacon that is elsewhere", () =>
    inTemporary(async (directory) => {
      const path = join(directory, "lock");
      await writeFile(join(directory, "precious"), "x");
      await writeFile(path, "1 boot:1 pid:[1] ../precious\n");
      await (await take(path)).release();
      await writeFile(path, "1 boot:1 pid:[1] precious\n");
      await (await take(path)).release();
      assert.deepEqual(await readdir(directory), ["precious"]);
    }));

  it("is not removed by who lost it", () =>
    inTemporary(async (directory) => {
      const path = join(directory, "lock");
      const lock = await take(path);
      await writeFile(path, "somebody else\n");
      await lock.release();
      assert.equal(await readFile(path, "utf8"), "somebody else\n");
    }));
});

describe("a data directory", () => {
  it("where directories cannot be synced is used as it is, and one whose disk fails is not", () =>
    inTemporary(async (directory) => {
      for (const code of ["EINVAL", "EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EBADF", "EISDIR"]) {
        const files = new NodeFileStore(directory, [], failing("sync", code));
        await files.put(`below/${code}`, utf8("x"));
        assert.equal(text((await files.get(`below/${code}`)) ?? utf8("")), "x");
      }
      const files = new NodeFileStore(directory, [], failing("sync", "EIO"));
      await assert.rejects(files.put("x", utf8("x")), { code: "storage-failed", message: /input\/output error/ });
    }));

  it("with pipes, devices, folders and circles where files belong says so, and does not wait or read for ever", () =>
    inTemporary(async (directory) => {
      const log = new NodeDirectory(directory);
      const files = new NodeFileStore(directory, []);
      await promisify(execFile)("mkfifo", [join(directory, "pipe")]);
      await symlink("/dev/zero", join(directory, "device"));
      await symlink("circle", join(directory, "circle"));
      await symlink("..", join(directory, "up"));
      await mkdir(join(directory, "folder"));
      for (const name of ["pipe", "device"]) {
        await assert.rejects(log.open(name, "read"), { code: "storage-failed", message: /it is no plain file/ });
        await assert.rejects(files.get(name), { code: "storage-failed", message: /it is no plain file/ });
        await assert.rejects(files.append(name, utf8("x")), { code: "storage-failed" });
      }
      await assert.rejects(files.get("circle"), { code: "storage-failed", message: /too many levels of symbolic links/ });
      assert.equal(await files.get("folder"), undefined);
      assert.deepEqual(await files.list(""), ["circle", "device", "pipe", "up"]);
      // Written, it is a file.
      await files.put("device", utf8("x"));
      assert.equal(text((await files.get("device")) ?? utf8("")), "x");
    }));

  it("is rid of what killed processes had not finished", () =>
    inTemporary(async (directory) => {
      await mkdir(join(directory, "services"));
      for (const name of ["services/a.12-3.tmp", "node-id.9-1.tmp", "mine.tmp", "services/b"])
        await writeFile(join(directory, name), "x");
      const files = new NodeFileStore(directory, []);
      await files.sweep();
      assert.deepEqual((await readdir(directory, { recursive: true })).sort(), ["mine.tmp", "services", "services/b"]);
    }));
});
