/** Keys in the files of a server that is killed at any moment, and files that end the start. */
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assert, describe, it } from "../support/harness.ts";
import { insist } from "../support/patience.ts";
import { consulPath, RunningAgent, run, temporaryFolder } from "../support/program.ts";

const old = "tbLJg26ZJyJ9pK3qhc9jig==";
const fresh = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=";

const start = (folder: string, ...args: readonly string[]): Promise<RunningAgent> =>
  RunningAgent.start({ args: ["-server", "-bootstrap", "-bind=127.0.0.1", "-node=n", `-data-dir=${folder}`, ...args] });

const change = (agent: RunningAgent, method: string, key: string) =>
  agent.request(method, "/v1/operator/keyring", JSON.stringify({ Key: key }));

/** Until it is acknowledged: gossip waits three seconds for answers, and the disk of a slow machine may take longer. */
const changed = (agent: RunningAgent, method: string, key: string) =>
  insist(
    () => change(agent, method, key),
    ({ status }) => status === 200,
  );

/** Of the WAN pool and of the LAN pool: the keys, the primary one first. */
async function keys(agent: RunningAgent): Promise<readonly (readonly string[])[]> {
  const { body } = await insist(
    () => agent.request("GET", "/v1/operator/keyring"),
    ({ status }) => status === 200,
  );
  const pools = JSON.parse(body) as { Keys: object; PrimaryKeys: object }[];
  return pools.map(({ Keys, PrimaryKeys }) => [...new Set([...Object.keys(PrimaryKeys), ...Object.keys(Keys)])]);
}

describe("the keyring of a server", () => {
  it("holds what was acknowledged, however soon after that it is killed; its files are their owner's alone", async () => {
    const folder = join(temporaryFolder(), "d");
    let agent = await start(folder, `-encrypt=${old}`);
    for (const name of ["local", "remote"]) {
      const path = join(folder, "serf", `${name}.keyring`);
      assert.equal(readFileSync(path, "utf8"), `["${old}"]`);
      assert.equal(statSync(path).mode & 0o777, 0o600);
    }
    const steps = [
      ["POST", fresh, [old, fresh]],
      ["PUT", fresh, [fresh, old]],
      ["DELETE", old, [fresh]],
    ] as const;
    for (const [method, key, held] of steps) {
      await changed(agent, method, key);
      await agent.stop();
      agent = await start(folder);
      assert.deepEqual(await keys(agent), [held, held], method);
    }
    await agent.stop();
  });

  it("killed in the middle of a change has either the old keys or the new ones, and the change may be repeated", async () => {
    const folder = join(temporaryFolder(), "d");
    let agent = await start(folder, `-encrypt=${old}`);
    const steps = [
      ["POST", fresh, [old], [old, fresh]],
      ["PUT", fresh, [old, fresh], [fresh, old]],
      ["DELETE", old, [fresh, old], [fresh]],
    ] as const;
    for (const [method, key, before, after] of steps) {
      const cut = change(agent, method, key).catch(() => undefined);
      await agent.said(new RegExp(`serf\\.wan: serf: Received ${{ POST: "install", PUT: "use", DELETE: "remove" }[method]}-key`));
      await agent.stop();
      await cut;
      agent = await start(folder);
      for (const held of await keys(agent))
        assert.ok(
          [before, after].some((possible) => possible.join() === held.join()),
          `${method}: ${held}`,
        );
      await changed(agent, method, key);
      assert.deepEqual(await keys(agent), [after, after]);
    }
    await agent.stop();
  });

  it("with disable_keyring_file is forgotten with the process", async () => {
    const folder = join(temporaryFolder(), "d");
    let agent = await start(folder, `-encrypt=${old}`, "-disable-keyring-file");
    await changed(agent, "POST", fresh);
    assert.deepEqual(await keys(agent), [
      [old, fresh],
      [old, fresh],
    ]);
    await agent.stop();
    agent = await start(folder, `-encrypt=${old}`, "-disable-keyring-file");
    assert.deepEqual(await keys(agent), [[old], [old]]);
    await agent.stop();
  });

  const refused: readonly (readonly [title: string, flags: readonly string[], file: string | undefined, said: RegExp])[] = [
    [
      "a key that is not base64",
      ["-encrypt=zz"],
      undefined,
      /^==> encrypt has invalid key: illegal base64 data at input byte 0\n$/m,
    ],
    [
      "a key of a wrong length",
      ["-encrypt=aGVsbG8="],
      undefined,
      /\[ERROR\] agent: Error starting agent: error="Failed to configure keyring: Invalid key: key size must be 16, 24 or 32 bytes\. /,
    ],
    [
      "a broken file",
      [],
      `["${old}`,
      /\[ERROR\] agent: Error starting agent: error="Failed to configure keyring: unexpected end of JSON input\. \S+\/serf\/local\.keyring cannot be read\. Restore the file/,
    ],
    [
      "an empty ring",
      [`-encrypt=${old}`],
      "[]",
      /\[ERROR\] agent: Error starting agent: error="Failed to configure keyring: no keys present in keyring: \S+\/serf\/local\.keyring\. Restore/,
    ],
  ];
  for (const [title, flags, file, said] of refused)
    it(`does not start with ${title}: exit code 1, and what to do`, async () => {
      const folder = join(temporaryFolder(), "d");
      if (file !== undefined) {
        mkdirSync(join(folder, "serf"), { recursive: true });
        writeFileSync(join(folder, "serf/local.keyring"), file);
      }
      const args = ["agent", "-server", "-bootstrap", "-bind=127.0.0.1", `-data-dir=${folder}`, "-http-port=-1", "-dns-port=-1"];
      const { code, stdout, stderr } = await run(consulPath, [...args, ...flags]);
      assert.equal(code, 1);
      assert.match(stdout + stderr, said);
      if (file !== undefined) assert.equal(readFileSync(join(folder, "serf/local.keyring"), "utf8"), file);
    });
});
