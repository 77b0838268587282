/**
 * Whole commands against a scripted agent. The scripts in tests/cases/cli were recorded from Consul 1.8.7 where it has
 * the command. Each line begins with what it is:
 *
 *     $ consul kv put a 1         the command line; quotes as in a shell
 *     env NAME=value              file PATH, stdin: content follows in lines that begin with "|"
 *     > PUT /v1/kv/a              the request expected next; "> Name: value" for a header, "> |line" for its body
 *     < 200                       the answer; "< |line" for its body, "< name: value" for a header, "< error TEXT" for none
 *     out |line   err |line       exactly these lines; "out ~text", "err ~text": somewhere in it
 *     exit 1                      0 when not said
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { HttpClientRequest } from "../../../core/ports/http.ts";
import type { Crypto } from "../../../core/ports/crypto.ts";
import { text } from "../../../core/types/bytes.ts";
import { runCommandLine } from "../../../plugins/cli/command-line.ts";
import type { CliContext } from "../../../plugins/cli/context.ts";
import { FakeHost, type Scripted, ScriptedHttpClient } from "../../support/fake-host.ts";
import { assert, describe, it } from "../../support/harness.ts";

interface Expected {
  readonly exact: string[];
  readonly parts: string[];
}
interface Case {
  readonly line: string;
  readonly env: Record<string, string>;
  readonly files: Record<string, string>;
  stdin: string;
  readonly requests: { start: string; headers: string[]; body: string[] }[];
  readonly answers: { status: number; body: string[]; headers: Record<string, string>; error?: string }[];
  readonly out: Expected;
  readonly err: Expected;
  exit: number;
}

function parseCases(script: string): Case[] {
  const cases: Case[] = [];
  let content: (line: string) => void = () => assert.fail("content before its owner");
  for (const line of script.split("\n")) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    if (line.startsWith("$ consul")) {
      cases.push({
        line: line.slice(9).trim(),
        env: {},
        files: {},
        stdin: "",
        requests: [],
        answers: [],
        out: { exact: [], parts: [] },
        err: { exact: [], parts: [] },
        exit: 0,
      });
      continue;
    }
    const current = cases.at(-1) as Case;
    const word = /^[a-z]+|^[<>|]/.exec(line)?.[0] ?? line;
    const rest = line.slice(word.length + 1);
    if (word === "|") content(line.slice(1));
    else if (word === "env") current.env[rest.split("=")[0] as string] = rest.slice(rest.indexOf("=") + 1);
    else if (word === "file") {
      current.files[rest] = "";
      content = (more) => (current.files[rest] += `${more}\n`);
    } else if (word === "stdin") content = (more) => (current.stdin += `${more}\n`);
    else if (word === ">") {
      if (rest.startsWith("|")) current.requests.at(-1)?.body.push(rest.slice(1));
      else if (/^(GET|POST|PUT|DELETE) /.test(rest)) current.requests.push({ start: rest, headers: [], body: [] });
      else current.requests.at(-1)?.headers.push(rest);
    } else if (word === "<") {
      if (rest.startsWith("|")) current.answers.at(-1)?.body.push(rest.slice(1));
      else if (rest.startsWith("error ")) current.answers.push({ status: 0, body: [], headers: {}, error: rest.slice(6) });
      else if (/^[a-z-]+: /.test(rest))
        (current.answers.at(-1) as Case["answers"][number]).headers[rest.split(": ")[0] as string] = rest.split(
          ": ",
        )[1] as string;
      else current.answers.push({ status: Number(rest), body: [], headers: {} });
    } else if (word === "out" || word === "err")
      (rest.startsWith("|") ? current[word].exact : current[word].parts).push(rest.slice(1));
    else if (word === "exit") current.exit = Number(rest);
    else assert.fail(`unknown line in a script: ${line}`);
  }
  return cases;
}

/** Words of a command line as a shell splits them, as far as the scripts need. */
function shellWords(line: string): string[] {
  return [...line.matchAll(/(?:[^\s'"]|'[^']*'|"[^"]*")+/g)].map(([word]) =>
    word.replace(/'([^']*)'|"([^"]*)"/g, (_all, single, double) => single ?? double),
  );
}

const zeroCrypto = { randomBytes: (length: number) => new Uint8Array(length) } as unknown as Crypto;

async function runCase(each: Case): Promise<void> {
  const host = new FakeHost({ argv: shellWords(each.line), env: each.env, files: each.files, stdin: each.stdin });
  const answers: Scripted[] = each.answers.map(({ status, body, headers, error }) =>
    error === undefined ? { status, headers, body: body.join("\n") } : { error },
  );
  const httpClient = new ScriptedHttpClient(answers);
  const context = {
    argv: host.argv,
    host,
    httpClient,
    crypto: zeroCrypto,
    clock: {},
    runAgent: fakeAgent(host),
  } as unknown as CliContext;
  const code = await runCommandLine(context);
  const { stdout, stderr } = host.written;

  assert.deepEqual(
    httpClient.requests.map(startOf),
    each.requests.map(({ start }) => start),
    stderr,
  );
  httpClient.requests.forEach((request, at) => {
    const expected = each.requests[at] as Case["requests"][number];
    for (const header of expected.headers) {
      const [name, value] = header.split(": ") as [string, string];
      assert.equal(request.headers?.[name], value);
    }
    if (expected.body.length > 0) assert.equal(text(request.body as Uint8Array), expected.body.join("\n"));
  });
  check(stdout, each.out);
  check(stderr, each.err);
  assert.equal(code, each.exit);
}

function startOf(request: HttpClientRequest): string {
  const target = request.url.replace("http://127.0.0.1:8500", "");
  return `${request.method} ${request.socketPath === undefined ? "" : `${request.socketPath} `}${target}`;
}

function check(output: string, expected: Expected): void {
  for (const part of expected.parts) assert.ok(output.includes(part), `${JSON.stringify(part)} is not in:\n${output}`);
  if (expected.parts.length === 0) assert.equal(output, expected.exact.map((line) => `${line}\n`).join(""));
}

/** An agent that says what it was started with. */
function fakeAgent(host: FakeHost): CliContext["runAgent"] {
  return ({ flags }) => {
    host.stdout(`agent ${flags.map(({ name, value }) => `${name}=${value}`).join(" ")}\n`);
    return Promise.resolve(3);
  };
}

const folder = join(process.env["TEST_ROOT"] as string, "tests/cases/cli");
for (const name of readdirSync(folder).sort()) {
  describe(`commands: ${name}`, () => {
    for (const each of parseCases(readFileSync(join(folder, name), "utf8"))) it(`consul ${each.line}`, () => runCase(each));
  });
}
