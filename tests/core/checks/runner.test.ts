/** Checks through their ports: what is asked of a port, and what the result says, in Consul's words. */
import { CheckRunner } from "../../../core/agent/check-runner.ts";
import type { CheckFields } from "../../../core/catalog/records.ts";
import type { CheckDefinition } from "../../../core/config/definitions.ts";
import type { LocalCheck, LocalService } from "../../../core/plugin/agent-api.ts";
import type { Command, CommandResult, HttpClientRequest, HttpClientResponse, Logger } from "../../../core/ports/mod.ts";
import type { ByteStream } from "../../../core/ports/streams.ts";
import { type Bytes, utf8 } from "../../../core/types/bytes.ts";
import type { Cancel } from "../../../core/types/cancel.ts";
import { AgentError } from "../../../core/types/errors.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { constantRandom, settle, VirtualClock } from "../../support/virtual-clock.ts";
import { noCheck } from "./script.ts";

class Bench {
  readonly clock = new VirtualClock();
  readonly results: string[] = [];
  readonly reaped: string[] = [];
  readonly logged: string[] = [];
  readonly requests: HttpClientRequest[] = [];
  readonly commands: Command[] = [];
  readonly dialled: string[] = [];
  readonly local = { checks: new Map<string, LocalCheck>(), services: new Map<string, LocalService>(), version: 0 };
  http: (request: HttpClientRequest) => Promise<HttpClientResponse> = async () => response(200, "OK", "fine");
  script: (command: Command, cancel: Cancel | undefined) => Promise<CommandResult> = async () => exited(0, "hi\n");
  dial: () => Promise<ByteStream> = async () => ({ abort: () => {} }) as unknown as ByteStream;
  outputMax = 4096;
  readonly runner: CheckRunner;

  constructor() {
    const logger: Logger = {
      log: (_level, message, fields) => this.logged.push(`${message} ${JSON.stringify(fields)}`),
      enabled: () => true,
      child: () => logger,
    };
    this.runner = new CheckRunner({
      clock: this.clock,
      random: constantRandom(0.5),
      logger,
      httpClient: {
        request: (request) => {
          this.requests.push(request);
          return this.http(request);
        },
      },
      processes: {
        run: (command, cancel) => {
          this.commands.push(command);
          return this.script(command, cancel);
        },
        start: () => assert.fail("a check's program runs with limits"),
      },
      streams: {
        connect: (to) => {
          this.dialled.push(`${to.host} ${to.port}`);
          return this.dial();
        },
        listen: () => Promise.reject(new Error("a check does not listen")),
      },
      outputMaxSize: () => this.outputMax,
      localState: this.local,
      onResult: (id, status, output) => {
        this.results.push(`${id} ${status} ${output}`);
        this.setLocal({ checkId: id, status, output });
      },
      onReap: (serviceId, checkId) => this.reaped.push(`${serviceId} ${checkId}`),
    });
  }

  add(fields: Partial<CheckDefinition>): void {
    this.runner.add({ ...noCheck, ...fields });
  }

  /** What the last result said after one run of this check. */
  async once(fields: Partial<CheckDefinition>): Promise<string | undefined> {
    this.add({ id: "c", interval: 1000, ...fields });
    await this.clock.advance(500);
    return this.results.at(-1);
  }

  setLocal(fields: Partial<CheckFields> & { readonly checkId: string }): void {
    const before = this.local.checks.get(fields.checkId)?.check;
    const check = {
      name: fields.checkId,
      serviceId: "",
      status: "critical",
      output: "",
      ...before,
      ...fields,
    } as LocalCheck["check"];
    if (before?.status === check.status && before.output === check.output) return;
    this.local.checks.set(fields.checkId, { check, token: "", inSync: true });
    this.local.version++;
  }
}

function response(status: number, statusText: string, body: string): HttpClientResponse {
  return { status, statusText, headers: {}, body: utf8(body), truncated: false };
}

function exited(code: number, output: string | Bytes, total?: number): CommandResult {
  const bytes = typeof output === "string" ? utf8(output) : output;
  return { kind: "exited", code, output: bytes, outputBytesTotal: total ?? bytes.length };
}

describe("an HTTP check", () => {
  const url = "http://127.0.0.1:80/health";

  it("asks with Consul's headers, on a connection of its own, for at most ten seconds", async () => {
    const bench = new Bench();
    assert.equal(await bench.once({ http: url }), `c passing HTTP GET ${url}: 200 OK Output: fine`);
    const request = bench.requests[0];
    assert.equal(request?.method, "GET");
    assert.deepEqual(request?.headers, { "User-Agent": ["Consul Health Check"], Accept: ["text/plain, text/*, */*"] });
    assert.equal(request?.timeout, 10_000);
    assert.equal(request?.closeAfter, true);
    assert.equal(request?.redirectsMax, 10);
    assert.equal(request?.body, undefined);
  });

  it("asks with the definition's method, body and headers", async () => {
    const bench = new Bench();
    const header = { "user-agent": ["mine"], "X-A": ["1", "2"] };
    assert.equal(
      await bench.once({ http: url, method: "PUT", body: "hello", header, timeout: 300 }),
      `c passing HTTP PUT ${url}: 200 OK Output: fine`,
    );
    assert.deepEqual(bench.requests[0]?.headers, { ...header, Accept: ["text/plain, text/*, */*"] });
    assert.deepEqual(bench.requests[0]?.body, utf8("hello"));
    assert.equal(bench.requests[0]?.timeout, 300);
  });

  for (const [code, phrase, status] of [
    [204, "No Content", "passing"],
    [299, "Odd Phrase", "passing"],
    [304, "Not Modified", "critical"],
    [429, "Too Many Requests", "warning"],
    [500, "Internal Server Error", "critical"],
  ] as const) {
    it(`is ${status} for ${code}`, async () => {
      const bench = new Bench();
      bench.http = async () => response(code, phrase, "bad\n");
      assert.equal(await bench.once({ http: url }), `c ${status} HTTP GET ${url}: ${code} ${phrase} Output: bad\n`);
    });
  }

  it("keeps the end of the body", async () => {
    const bench = new Bench();
    bench.http = async () => response(200, "OK", `start${"z".repeat(9990)}endd`);
    assert.equal(
      await bench.once({ http: url, outputMaxSize: 20 }),
      `c passing HTTP GET ${url}: 200 OK Output: ${"z".repeat(16)}endd`,
    );
  });

  it("is critical with the error as it came", async () => {
    const bench = new Bench();
    const message = `Get "${url}": dial tcp 127.0.0.1:80: connect: connection refused`;
    bench.http = () => Promise.reject(new AgentError("connection-refused", { message }));
    assert.equal(await bench.once({ http: url }), `c critical ${message}`);
  });
});

describe("a TCP check", () => {
  it("passes when it can connect", async () => {
    const bench = new Bench();
    assert.equal(await bench.once({ tcp: "127.0.0.1:33700" }), "c passing TCP connect 127.0.0.1:33700: Success");
    assert.equal(await bench.once({ tcp: "[::1]:1" }), "c passing TCP connect [::1]:1: Success");
    assert.deepEqual(bench.dialled, ["127.0.0.1 33700", "::1 1"]);
  });

  it("is critical with the error as it came", async () => {
    const bench = new Bench();
    bench.dial = () =>
      Promise.reject(new AgentError("connection-refused", { message: "dial tcp 127.0.0.1:1: connect: connection refused" }));
    assert.equal(await bench.once({ tcp: "127.0.0.1:1" }), "c critical dial tcp 127.0.0.1:1: connect: connection refused");
  });

  it("is critical when the address is none", async () => {
    const bench = new Bench();
    assert.equal(await bench.once({ tcp: "localhost" }), "c critical dial tcp: address localhost: missing port in address");
    assert.equal(await bench.once({ tcp: "::1:80" }), "c critical dial tcp: address ::1:80: too many colons in address");
    assert.equal(await bench.once({ tcp: "localhost:99999" }), "c critical dial tcp: address 99999: invalid port");
    assert.deepEqual(bench.dialled, []);
  });
});

describe("a script check", () => {
  it("is passing, warning or critical by the exit code", async () => {
    const bench = new Bench();
    const codes: number[] = [0, 1, 2, 255];
    bench.script = async () => exited(codes.shift() ?? 0, "said\n");
    bench.add({ id: "c", args: ["sh", "-c", "x"], interval: 1000 });
    await bench.clock.advance(3500);
    assert.deepEqual(bench.results, ["c passing said\n", "c warning said\n", "c critical said\n", "c critical said\n"]);
    assert.deepEqual(bench.commands[0], { argv: ["sh", "-c", "x"], env: {}, timeout: 30_000, outputBytesMax: 4096 });
  });

  it("says how much of the output is missing", async () => {
    const bench = new Bench();
    bench.script = async () => exited(0, "bcdefghij\n", 21);
    assert.equal(await bench.once({ args: ["x"], outputMaxSize: 10 }), "c passing Captured 10 of 21 bytes\n...\nbcdefghij\n");
    assert.equal(bench.commands[0]?.outputBytesMax, 10);
  });

  it("is critical when it does not end in time", async () => {
    const bench = new Bench();
    bench.script = async () => ({ kind: "timeout", output: utf8("before\n"), outputBytesTotal: 7 });
    assert.equal(await bench.once({ args: ["x"], timeout: 1500 }), "c critical Timed out (1.5s) running check\n\nbefore\n");
    bench.script = async () => ({ kind: "timeout", output: utf8(""), outputBytesTotal: 0 });
    assert.equal(await bench.once({ args: ["x"] }), "c critical Timed out (30s) running check");
  });

  it("is critical when it cannot start or is killed", async () => {
    const bench = new Bench();
    bench.script = async () => ({ kind: "failed", error: new Error('exec: "x": executable file not found in $PATH') });
    assert.equal(await bench.once({ args: ["x"] }), 'c critical exec: "x": executable file not found in $PATH');
    bench.script = async () => ({ kind: "signalled", signal: "SIGKILL", output: utf8("x\n"), outputBytesTotal: 2 });
    assert.equal(await bench.once({ args: ["x"] }), "c critical x\n");
  });

  it("is ended when its check is removed, and nothing is reported", async () => {
    const bench = new Bench();
    let ended = 0;
    bench.script = (_command, cancel) =>
      new Promise((resolve) => {
        cancel?.addEventListener("abort", () => {
          ended++;
          resolve({ kind: "failed", error: new Error("context canceled") });
        });
      });
    bench.add({ id: "c", args: ["x"], interval: 1000 });
    await bench.clock.advance(600);
    bench.runner.remove("c");
    await settle();
    assert.equal(ended, 1);
    assert.deepEqual(bench.results, []);
    assert.equal(bench.clock.pending, 0);
  });

  it("runs 64 at a time; the others wait their turn", async () => {
    const bench = new Bench();
    const ends: (() => void)[] = [];
    bench.script = () => new Promise((resolve) => ends.push(() => resolve(exited(0, ""))));
    for (let at = 0; at < 70; at++) bench.add({ id: `c${at}`, args: ["x"], interval: 1000 });
    await bench.clock.advance(500);
    assert.equal(bench.commands.length, 64);
    for (const end of ends.splice(0, 3)) end();
    await settle();
    assert.equal(bench.commands.length, 67);
    bench.runner.stop();
  });
});

describe("a TTL check", () => {
  it("keeps the front of what an update said, also when the time is over", async () => {
    const bench = new Bench();
    bench.add({ id: "c", ttl: 2000, outputMaxSize: 10 });
    assert.equal(bench.runner.updateTtl("c", "passing", "0123456789abcdef"), true);
    assert.deepEqual(bench.results, ["c passing 0123456789 ... (captured 10 of 16 bytes)"]);
    await bench.clock.advance(2000);
    const said = "TTL expired (last output before timeout follows): 0123456789 ... (captured 10 of 16 bytes)";
    assert.equal(bench.results.at(-1), `c critical ${said}`);
  });

  it("refuses updates of other checks", () => {
    const bench = new Bench();
    bench.add({ id: "web", http: "http://127.0.0.1/", interval: 1000 });
    assert.equal(bench.runner.updateTtl("web", "passing", ""), false);
    assert.equal(bench.runner.updateTtl("nobody", "passing", ""), false);
    bench.runner.stop();
  });

  it("that stays critical gives its service up", async () => {
    const bench = new Bench();
    bench.add({ id: "c", ttl: 10_000, serviceId: "web1", deregisterCriticalServiceAfter: 90_000 });
    await bench.clock.advance(90_000);
    assert.deepEqual(bench.reaped, []);
    await bench.clock.advance(30_000);
    assert.deepEqual(bench.reaped, ["web1 c"]);
    bench.runner.stop();
  });
});

/** An alias is also asked after its own result changed something: what it repeats is left out. */
function changes(results: readonly string[]): readonly string[] {
  return results.filter((result, at) => result !== results[at - 1]);
}

describe("an alias check", () => {
  const alias = { id: "copy", aliasService: "web" };

  function withService(): Bench {
    const bench = new Bench();
    bench.local.services.set("web", {} as LocalService);
    return bench;
  }

  it("takes the worst of the service's and the node's checks", async () => {
    const bench = withService();
    bench.add(alias);
    await bench.clock.advance(0);
    bench.setLocal({ checkId: "ok", serviceId: "web", status: "passing" });
    await bench.clock.advance(1000);
    bench.setLocal({ checkId: "tired", serviceId: "web", status: "warning", output: "slow" });
    bench.setLocal({ checkId: "elsewhere", serviceId: "db", status: "critical" });
    await bench.clock.advance(1000);
    bench.setLocal({ checkId: "disk", name: "Disk", status: "critical", output: "full" });
    await bench.clock.advance(1000);
    assert.deepEqual(changes(bench.results), [
      "copy passing No checks found.",
      "copy passing All checks passing.",
      'copy warning Aliased check "tired" failing: slow',
      'copy critical Aliased check "Disk" failing: full',
    ]);
    bench.runner.stop();
  });

  it("follows a result at once", async () => {
    const bench = withService();
    bench.add(alias);
    bench.add({ id: "beat", ttl: 60_000, serviceId: "web" });
    bench.setLocal({ checkId: "beat", serviceId: "web" });
    await bench.clock.advance(1000);
    bench.runner.updateTtl("beat", "passing", "up");
    assert.deepEqual(changes(bench.results).slice(-2), ["beat passing up", "copy passing All checks passing."]);
    bench.runner.stop();
  });

  it("is critical for a service that is not there", async () => {
    const bench = new Bench();
    bench.add(alias);
    await bench.clock.advance(0);
    assert.deepEqual(changes(bench.results), ["copy critical Service web could not be found on node "]);
    bench.runner.stop();
  });

  it("of an alias looks through it, and two that look at each other do not hold each other critical", async () => {
    const bench = withService();
    bench.local.services.set("sidecar", {} as LocalService);
    bench.setLocal({ checkId: "real", serviceId: "web", status: "critical", output: "down" });
    bench.setLocal({ checkId: "copy", serviceId: "sidecar" });
    bench.setLocal({ checkId: "back", serviceId: "web" });
    bench.add({ id: "copy", serviceId: "sidecar", aliasService: "web" });
    bench.add({ id: "back", serviceId: "web", aliasService: "sidecar" });
    await bench.clock.advance(2000);
    assert.equal(bench.local.checks.get("back")?.check.status, "critical");
    bench.setLocal({ checkId: "real", status: "passing", output: "" });
    await bench.clock.advance(2000);
    assert.equal(bench.local.checks.get("copy")?.check.status, "passing");
    assert.equal(bench.local.checks.get("back")?.check.status, "passing");
    bench.runner.stop();
  });
});

describe("the runner", () => {
  it("warns of an interval below a second and raises it", async () => {
    const bench = new Bench();
    bench.add({ id: "c", http: "http://127.0.0.1/", interval: 100 });
    await bench.clock.advance(2400);
    assert.equal(bench.results.length, 2);
    assert.equal(bench.logged[0], 'check has interval below minimum {"check":"c","minimum_interval":"1s"}');
    bench.runner.stop();
  });

  it("leaves no timer and reports nothing once stopped", async () => {
    const bench = new Bench();
    let answer: () => void = () => {};
    bench.http = () => new Promise((resolve) => (answer = () => resolve(response(200, "OK", ""))));
    bench.add({ id: "c", http: "http://127.0.0.1/", interval: 1000 });
    bench.add({ id: "copy", aliasService: "web" });
    bench.add({ id: "t", ttl: 5000 });
    await bench.clock.advance(600);
    const before = bench.results.length;
    bench.runner.stop();
    answer();
    await settle();
    assert.equal(bench.clock.pending, 0);
    assert.equal(bench.results.length, before);
    assert.equal(bench.runner.updateTtl("t", "passing", ""), false);
  });

  it("does nothing for a definition without a trigger", () => {
    const bench = new Bench();
    bench.add({ id: "c" });
    assert.equal(bench.clock.pending, 0);
  });
});
