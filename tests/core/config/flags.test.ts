import { AGENT_FLAGS, type GivenFlag, sourcesFromFlags } from "../../../core/config/flags.ts";
import { configKeys } from "../../../core/config/keys.ts";
import { loadConfig } from "../../../core/config/load.ts";
import { messageOf } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { readCases } from "./cases.ts";
import { configHost } from "./host.ts";

/** "-dev -hcl a=1 '-node-meta=a b:1'" as the command line hands it over. */
function flagsOf(line: string): readonly GivenFlag[] {
  const words = (line.match(/'[^']*'|\S+/g) ?? []).map((word) => word.replace(/^'|'$/g, ""));
  const given: GivenFlag[] = [];
  for (let at = 0; at < words.length; at++) {
    const [name, ...value] = (words[at] as string).slice(1).split("=");
    const flag = AGENT_FLAGS.find((candidate) => candidate.name === name);
    if (value.length > 0) given.push({ name: name as string, value: value.join("=") });
    else given.push({ name: name as string, value: flag?.kind === "bool" ? true : (words[++at] as string) });
  }
  return given;
}

describe("flags of the agent are accepted, or refused in Consul's words", () => {
  for (const { title, input, outcome } of readCases("flags.txt")) {
    it(`${title}: ${input}`, async () => {
      const read = async (): Promise<string> => {
        await loadConfig(sourcesFromFlags(flagsOf(input)), configHost({ file: "x" }));
        return "starts";
      };
      assert.equal((await read().catch((error: unknown) => messageOf(error))).trim(), outcome);
    });
  }
});

describe("the flags of the agent", () => {
  it("are Consul's 65, each with a help of its own", () => {
    assert.equal(AGENT_FLAGS.length, 65);
    assert.equal(new Set(AGENT_FLAGS.map((flag) => flag.help)).size, 65);
    assert.deepEqual(AGENT_FLAGS.map((flag) => flag.name).sort(), [...AGENT_FLAGS.map((flag) => flag.name)].sort());
  });

  it("set the keys whose rows name them, with the rows' types", () => {
    const kinds: Record<string, string> = { strings: "list", map: "map", bool: "bool", int: "int", duration: "duration" };
    for (const row of configKeys) {
      if (row.flag === undefined) continue;
      const flag = AGENT_FLAGS.find((candidate) => candidate.name === row.flag);
      assert.equal(flag?.key, row.key, row.flag);
      assert.equal(flag?.kind, kinds[row.type] ?? "string", row.flag);
    }
    for (const flag of AGENT_FLAGS) {
      if (flag.key !== undefined)
        assert.ok(
          configKeys.some((row) => row.flag === flag.name),
          flag.name,
        );
    }
  });

  it("give metadata as key:value, without a colon an empty value, the last of a key wins", () => {
    const { scalars } = sourcesFromFlags(flagsOf("-node-meta=a:b:c -node-meta=d -node-meta=a:e"));
    assert.deepEqual(scalars.get("node_meta"), { a: "e", d: "" });
  });

  it("take typed values as they are", () => {
    const { scalars, devMode } = sourcesFromFlags([
      { name: "http-port", value: 1 },
      { name: "dev", value: true },
      { name: "server", value: "T" },
    ]);
    assert.deepEqual([scalars.get("ports.http"), devMode, scalars.get("server")], [1, true, true]);
  });

  it("keep the order of files and directories", () => {
    assert.deepEqual(sourcesFromFlags(flagsOf("-config-dir=b -config-file=a -config-dir=c")).files, ["b", "a", "c"]);
  });

  it("refuse a name that is none", () => {
    assert.throws(() => sourcesFromFlags([{ name: "zz", value: "1" }]), { message: "flag provided but not defined: -zz" });
  });
});
