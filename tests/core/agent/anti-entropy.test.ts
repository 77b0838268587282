import { AntiEntropy } from "../../../core/agent/anti-entropy.ts";
import { LocalState } from "../../../core/agent/local-state.ts";
import type { Command } from "../../../core/catalog/commands.ts";
import type { CheckFields, CheckRecord, NodeRecord, ServiceFields, ServiceRecord } from "../../../core/catalog/records.ts";
import type { Logger } from "../../../core/ports/mod.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { constantRandom, settle, VirtualClock } from "../../support/virtual-clock.ts";

const silent: Logger = { log: () => {}, enabled: () => false, child: () => silent };
const nodeInfo = {
  id: "id-1",
  node: "n1",
  address: "10.0.0.1",
  datacenter: "dc1",
  taggedAddresses: { lan: "10.0.0.1" },
  meta: {},
};

const service = (id: string, more: Partial<ServiceFields> = {}): ServiceFields => ({
  kind: "",
  id,
  service: id,
  tags: [],
  address: "",
  taggedAddresses: undefined,
  meta: undefined,
  port: 80,
  weights: { passing: 1, warning: 1 },
  enableTagOverride: false,
  proxy: undefined,
  connectNative: false,
  ...more,
});
const check = (checkId: string, more: Partial<CheckFields> = {}): CheckFields => ({
  checkId,
  name: checkId,
  status: "passing",
  notes: "",
  output: "",
  serviceId: "",
  type: "",
  definition: {},
  ...more,
});

/** A catalog that takes whatever it is told, and a diary of what it was told. */
class FakeCatalog {
  node: NodeRecord | undefined;
  readonly services = new Map<string, ServiceRecord>();
  readonly checks = new Map<string, CheckRecord>();
  readonly told: string[] = [];
  broken = false;

  async write(command: Command): Promise<{ kind: "done" }> {
    if (this.broken) throw new Error("No cluster leader");
    const indexes = { createIndex: 1, modifyIndex: 1 };
    if (command.kind === "register") {
      const parts = [
        command.skipNodeUpdate ? undefined : "node",
        command.service && `service ${command.service.id}`,
        ...command.checks.map(({ checkId }) => `check ${checkId}`),
      ];
      this.told.push(`register ${parts.filter((part) => part !== undefined).join(" + ")}`);
      if (!command.skipNodeUpdate)
        this.node = {
          id: command.id,
          node: command.node,
          address: command.address,
          datacenter: command.datacenter,
          taggedAddresses: command.taggedAddresses,
          meta: command.nodeMeta,
          ...indexes,
        };
      if (command.service) this.services.set(command.service.id, { ...command.service, node: command.node, ...indexes });
      for (const fields of command.checks)
        this.checks.set(fields.checkId, { ...fields, node: command.node, serviceName: "", serviceTags: [], ...indexes });
    }
    if (command.kind === "deregister") {
      this.told.push(`deregister ${command.serviceId ?? command.checkId}`);
      if (command.serviceId !== undefined) this.services.delete(command.serviceId);
      else if (command.checkId !== undefined) this.checks.delete(command.checkId);
    }
    return { kind: "done" };
  }
}

async function running(seed: (state: LocalState, catalog: FakeCatalog) => void = () => {}) {
  const clock = new VirtualClock();
  const state = new LocalState();
  const catalog = new FakeCatalog();
  seed(state, catalog);
  const sync = new AntiEntropy({
    state,
    clock,
    random: constantRandom(0.5),
    logger: silent,
    node: () => nodeInfo,
    clusterSize: () => 1,
    remote: async () => ({ node: catalog.node, services: [...catalog.services.values()], checks: [...catalog.checks.values()] }),
    write: (command) => catalog.write(command),
    now: () => clock.wall(),
  });
  sync.start();
  await settle();
  return { clock, state, catalog, sync };
}

describe("anti-entropy", () => {
  it("registers the node at start when there is nothing else", async () => {
    const { catalog } = await running();
    assert.deepEqual(catalog.told, ["register node"]);
  });

  it("sends a service and its checks together, at once", async () => {
    const { state, catalog } = await running();
    state.setService(service("web"), "");
    state.setCheck(check("web-http", { serviceId: "web" }), "");
    state.setCheck(check("disk"), "");
    await settle();
    assert.deepEqual(catalog.told.slice(1), ["register service web + check web-http", "register check disk"]);
    assert.equal(state.services.get("web")?.inSync, true);
  });

  it("removes from the catalog what it does not know, but never `consul` and `serfHealth`", async () => {
    const { catalog } = await running((_state, theirs) => {
      const indexes = { createIndex: 1, modifyIndex: 1 };
      for (const id of ["consul", "stale"]) theirs.services.set(id, { ...service(id), node: "n1", ...indexes });
      for (const id of ["serfHealth", "old"])
        theirs.checks.set(id, { ...check(id), node: "n1", serviceName: "", serviceTags: [], ...indexes });
    });
    assert.deepEqual(catalog.told, ["deregister stale", "deregister old", "register node"]);
  });

  it("mends within two minutes what somebody else changed in the catalog", async () => {
    const { clock, state, catalog } = await running();
    state.setService(service("web"), "");
    await settle();
    catalog.services.delete("web");
    await clock.advance(120_000);
    assert.ok(catalog.services.has("web"));
  });

  it("says nothing when everything agrees", async () => {
    const { clock, state, catalog } = await running();
    state.setService(service("web", { meta: { a: "1", b: "2" } }), "");
    await settle();
    const told = catalog.told.length;
    await clock.advance(10 * 60_000);
    assert.equal(catalog.told.length, told);
  });

  it("tries again after a failure, sooner than the next full pass", async () => {
    const { clock, state, catalog } = await running();
    catalog.broken = true;
    state.setService(service("web"), "");
    await settle();
    assert.equal(catalog.services.size, 0);
    catalog.broken = false;
    await clock.advance(30_000);
    assert.ok(catalog.services.has("web"));
  });

  it("takes over tags that were changed in the catalog where enableTagOverride allows it", async () => {
    const { clock, state, catalog } = await running();
    state.setService(service("db", { tags: ["replica"], enableTagOverride: true }), "");
    await settle();
    catalog.services.set("db", { ...(catalog.services.get("db") as ServiceRecord), tags: ["primary"] });
    await clock.advance(120_000);
    assert.deepEqual(state.services.get("db")?.service.tags, ["primary"]);
    assert.deepEqual(catalog.services.get("db")?.tags, ["primary"]);
  });

  it("keeps an output that changed alone to itself until it is flushed", async () => {
    const { state, catalog } = await running();
    state.setCheck(check("disk", { output: "1 %" }), "");
    await settle();
    const told = catalog.told.length;
    assert.equal(state.updateCheck("disk", "passing", "2 %"), "later");
    await settle();
    assert.equal(catalog.told.length, told);
    state.flushOutput("disk");
    await settle();
    assert.equal(catalog.checks.get("disk")?.output, "2 %");
  });

  it("a change made while its service is on the way is sent too", async () => {
    const { state, catalog } = await running();
    state.setService(service("web"), "");
    await Promise.resolve();
    state.setService(service("web", { port: 81 }), "");
    await settle();
    assert.equal(catalog.services.get("web")?.port, 81);
    assert.equal(state.services.get("web")?.inSync, true);
  });

  it("a service that is registered while others are on the way goes with its check, never the check before it", async () => {
    const { state, catalog } = await running((local) => local.setService(service("first"), ""));
    const write = catalog.write.bind(catalog);
    let late = true;
    catalog.write = async (command) => {
      if (late && command.kind === "register" && command.service?.id === "again") {
        late = false;
        state.setService(service("late"), "");
        state.setCheck(check("service:late", { serviceId: "late" }), "");
      }
      return write(command);
    };
    state.setService(service("again"), "");
    await settle();
    assert.deepEqual(catalog.told.slice(-2), ["register service again", "register service late + check service:late"]);
  });

  it("stops without leaving a timer", async () => {
    const { clock, sync } = await running();
    sync.stop();
    assert.equal(clock.pending, 0);
  });
});
