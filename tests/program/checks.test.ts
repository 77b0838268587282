/** Health checks as in any tutorial: a definition file, a program that fails and recovers, and what HTTP and DNS say meanwhile. */
import { chmodSync, writeFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before } from "node:test";
import { assert, describe, it } from "../support/harness.ts";
import { insist } from "../support/patience.ts";
import { needsDig, RunningAgent, temporaryFolder } from "../support/program.ts";
import { until } from "../support/until.ts";

interface Check {
  readonly CheckID: string;
  readonly Status: string;
  readonly Output: string;
}

/** Waits until a service's check is as wanted. */
async function untilCheck(agent: RunningAgent, service: string, wanted: (check: Check) => boolean): Promise<Check> {
  const checks = await until<Check[]>(agent, `/v1/health/checks/${service}`, (shown) => shown.some(wanted));
  return checks.find(wanted) as Check;
}

describe("checks of a service defined in a file", () => {
  const folder = temporaryFolder();
  const verdict = join(folder, "verdict");
  let healthy = true;
  let web: http.Server;
  let agent: RunningAgent;

  before(async () => {
    web = http.createServer((_request, response) => {
      response.statusCode = healthy ? 200 : 500;
      response.end(healthy ? "fine" : "broken");
    });
    await new Promise<void>((resolve) => web.listen(0, "127.0.0.1", resolve));
    const port = (web.address() as AddressInfo).port;
    writeFileSync(verdict, "#!/bin/sh\necho disk is filling; exit 1\n");
    chmodSync(verdict, 0o755);
    writeFileSync(
      join(folder, "web.hcl"),
      `services {
        name = "web"
        port = ${port}
        tags = ["v1"]
        check {
          id       = "web-http"
          http     = "http://127.0.0.1:${port}/health"
          interval = "1s"
          timeout  = "60s"
        }
      }
      services {
        name = "disk"
        checks = [{ id = "disk-script", args = ["${verdict}"], interval = "1s" }]
      }
      services {
        name = "port"
        check { id = "port-tcp", tcp = "127.0.0.1:${port}", interval = "1s", timeout = "60s" }
      }`,
    );
    agent = await RunningAgent.start({ args: ["-dev", "-node=n1", `-config-dir=${folder}`, "-enable-local-script-checks"] });
  });
  after(async () => {
    web.close();
    await agent?.stop();
  });

  it("an HTTP check passes with its program, and the service is found", needsDig, async () => {
    const check = await untilCheck(agent, "web", ({ Status }) => Status === "passing");
    assert.match(check.Output, /^HTTP GET http:\/\/127\.0\.0\.1:\d+\/health: 200 OK Output: fine$/);
    assert.equal(await agent.dig("web.service.consul", "+short"), "127.0.0.1\n");
  });

  it("it turns critical with its program, and DNS follows", needsDig, async () => {
    healthy = false;
    const check = await untilCheck(agent, "web", ({ Status }) => Status === "critical");
    assert.match(check.Output, /500 Internal Server Error Output: broken$/);
    assert.match(await agent.dig("web.service.consul"), /status: NXDOMAIN/);
    assert.deepEqual(await agent.json("/v1/health/service/web?passing"), []);
  });

  it("it recovers with its program", needsDig, async () => {
    healthy = true;
    await untilCheck(agent, "web", ({ Status }) => Status === "passing");
    assert.equal(await agent.dig("v1.web.service.consul", "+short"), "127.0.0.1\n");
  });

  it("a script's exit code 1 is a warning, with its output", needsDig, async () => {
    const check = await untilCheck(agent, "disk", ({ Status }) => Status === "warning");
    assert.equal(check.Output, "disk is filling\n");
    assert.equal(await agent.dig("disk.service.consul", "+short"), "127.0.0.1\n");
  });

  it("a TCP check connects", async () => {
    const check = await untilCheck(agent, "port", ({ Status }) => Status === "passing");
    assert.match(check.Output, /^TCP connect 127\.0\.0\.1:\d+: Success$/);
  });

  it("a TTL check does what it is told, and expires", async () => {
    for (const [Name, TTL] of [
      ["heartbeat", "1h"],
      ["last-words", "1s"],
    ]) {
      const registered = await agent.request("PUT", "/v1/agent/check/register", JSON.stringify({ Name, TTL }));
      assert.equal(registered.status, 200);
      assert.equal((await agent.request("PUT", `/v1/agent/check/pass/${Name}?note=alive`)).status, 200);
    }
    const checks = async (): Promise<Record<string, Check>> => (await agent.json("/v1/agent/checks")) as Record<string, Check>;
    const told = (await checks())["heartbeat"];
    assert.deepEqual([told?.Status, told?.Output], ["passing", "alive"]);
    const expired = "TTL expired (last output before timeout follows): alive";
    await insist(
      async () => (await checks())["last-words"],
      (check) => check?.Status === "critical" && check.Output === expired,
    );
    await until<Check[]>(agent, "/v1/health/node/n1", (shown) =>
      shown.some(({ CheckID, Status }) => CheckID === "last-words" && Status === "critical"),
    );
    assert.equal((await checks())["heartbeat"]?.Status, "passing");
  });

  it("maintenance takes a service out of DNS and puts it back", needsDig, async () => {
    assert.equal((await agent.request("PUT", "/v1/agent/service/maintenance/port?enable=true&reason=upgrade")).status, 200);
    await untilCheck(agent, "port", ({ CheckID, Status }) => CheckID === "_service_maintenance:port" && Status === "critical");
    assert.match(await agent.dig("port.service.consul"), /status: NXDOMAIN/);
    assert.equal((await agent.request("PUT", "/v1/agent/service/maintenance/port?enable=false")).status, 200);
    const checks = (await agent.json("/v1/agent/checks")) as Record<string, Check>;
    assert.equal(checks["_service_maintenance:port"], undefined);
  });

  it("a script check from the API is refused unless enabled for the API too", async () => {
    const { status, body } = await agent.request(
      "PUT",
      "/v1/agent/check/register",
      JSON.stringify({ Name: "x", Args: ["/bin/true"], Interval: "1s" }),
    );
    assert.equal(status, 500);
    assert.equal(
      body,
      "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true",
    );
  });
});
