/**
 * Makes the catalog agree with what this agent registered. The agent is the authority for its node.
 *
 *   idle ──change──► push what is out of sync          (at once, several changes in one turn together)
 *   idle ──every 60 s + up to as much again × f──► compare everything, then push
 *   failed ──15 s + up to as much again × f──► compare everything again
 *
 * f = 1 up to 128 nodes, then ceil(log2 n − 7) + 1: large clusters sync more slowly (Consul 1.8, agent/ae).
 * What is left alone: the service `consul` on servers and the check `serfHealth`, which the leader keeps.
 */
import type { Command, CommandResult } from "../catalog/commands.ts";
import type { CheckRecord, NodeRecord, ServiceFields, ServiceRecord, StringMap } from "../catalog/records.ts";
import type { LocalCheck } from "../plugin/agent-api.ts";
import { runNext } from "../ports/clock.ts";
import type { Clock, Logger, Random, Timer } from "../ports/mod.ts";
import { between } from "../ports/random.ts";
import { AgentError, messageOf } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import { sameJson } from "./same-json.ts";
import type { LocalState } from "./local-state.ts";

const fullSyncInterval: Millis = 60_000;
const retryInterval: Millis = 15_000;
const nodesWithoutScaling = 128;

export interface NodeInfo {
  readonly id: string;
  readonly node: string;
  readonly address: string;
  readonly datacenter: string;
  readonly taggedAddresses: StringMap;
  readonly meta: StringMap;
}

export interface AntiEntropyOptions {
  readonly state: LocalState;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly node: () => NodeInfo;
  readonly clusterSize: () => number;
  /** What the catalog holds for this node. */
  readonly remote: () => Promise<{
    readonly node: NodeRecord | undefined;
    readonly services: readonly ServiceRecord[];
    readonly checks: readonly CheckRecord[];
  }>;
  readonly write: (command: Command) => Promise<CommandResult>;
  readonly now: () => number;
}

export class AntiEntropy {
  readonly #options: AntiEntropyOptions;
  readonly #state: LocalState;
  #nodeInSync = false;
  #running = false;
  #wantsFull = false;
  #wantsChanges = false;
  #stopped = true;
  #timer: Timer | undefined;
  #idle: (() => void)[] = [];

  constructor(options: AntiEntropyOptions) {
    this.#options = options;
    this.#state = options.state;
  }

  start(): void {
    this.#stopped = false;
    this.#state.onChange(() => this.#want(false));
    this.#want(true);
  }

  /** Compare everything soon: the configuration was reloaded or a server appeared. */
  syncFull(): void {
    this.#nodeInSync = false;
    this.#want(true);
  }

  /** Resolves when nothing is owed to the catalog that was not tried. */
  settled(): Promise<void> {
    if (!this.#running) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#state.onChange(() => {});
  }

  #want(full: boolean): void {
    if (this.#stopped) return;
    if (full) this.#wantsFull = true;
    else this.#wantsChanges = true;
    if (this.#running) return;
    this.#running = true;
    // A turn later, so that a service and its checks go together.
    runNext(() => void this.#run());
  }

  async #run(): Promise<void> {
    let failed = false;
    while (!this.#stopped && !failed && (this.#wantsFull || this.#wantsChanges)) {
      const full = this.#wantsFull;
      this.#wantsFull = false;
      this.#wantsChanges = false;
      try {
        if (full) await this.#compare();
        await this.#push();
      } catch (error) {
        failed = true;
        const silent = error instanceof AgentError && error.code === "closed";
        if (!silent)
          this.#options.logger
            .child("anti_entropy")
            .log("error", full ? "failed to sync remote state" : "failed to sync changes", {
              error: messageOf(error),
            });
      }
    }
    this.#running = false;
    for (const resolve of this.#idle.splice(0)) resolve();
    if (!this.#stopped) this.#arm(failed ? retryInterval : fullSyncInterval);
  }

  #arm(interval: Millis): void {
    this.#timer?.cancel();
    const delay = interval + between(this.#options.random, 0, interval * scale(this.#options.clusterSize()));
    this.#timer = this.#options.clock.after(delay, () => this.#want(true));
  }

  /** Marks what differs; what only the catalog knows is owed a deletion. */
  async #compare(): Promise<void> {
    const remote = await this.#options.remote();
    this.#nodeInSync = remote.node !== undefined && sameNode(remote.node, this.#options.node());
    const remoteServices = new Map(remote.services.map((service) => [service.id, service]));
    for (const [id, { service }] of this.#state.services) {
      const theirs = remoteServices.get(id);
      if (theirs !== undefined && service.enableTagOverride && !sameJson(theirs.tags, service.tags))
        this.#state.adoptTags(id, theirs.tags);
      this.#state.markService(id, theirs !== undefined && sameService(theirs, this.#state.services.get(id)?.service ?? service));
    }
    for (const id of remoteServices.keys())
      if (id !== "consul" && !this.#state.services.has(id)) this.#state.removedServices.add(id);
    for (const id of this.#state.removedServices) if (!remoteServices.has(id)) this.#state.removedServices.delete(id);

    const remoteChecks = new Map(remote.checks.map((check) => [check.checkId, check]));
    for (const [id, entry] of this.#state.checks) {
      const theirs = remoteChecks.get(id);
      this.#state.markCheck(id, theirs !== undefined && sameCheck(theirs, entry, this.#state.deferredOutputs.has(id)));
    }
    for (const [id, check] of remoteChecks) {
      if (id === "serfHealth")
        this.#options.logger.log("debug", "Skipping remote check since it is managed automatically", { check: id });
      else if (!this.#state.checks.has(id) && check.serviceId !== "consul") this.#state.removedChecks.add(id);
    }
    for (const id of this.#state.removedChecks) if (!remoteChecks.has(id)) this.#state.removedChecks.delete(id);
  }

  async #push(): Promise<void> {
    for (const id of [...this.#state.removedServices]) {
      await this.#write({
        kind: "deregister",
        node: this.#options.node().node,
        serviceId: id,
        checkId: undefined,
        now: this.#options.now(),
      });
      this.#state.removedServices.delete(id);
      this.#options.logger.log("info", "Deregistered service", { service: id });
    }
    for (const id of [...this.#state.removedChecks]) {
      await this.#write({
        kind: "deregister",
        node: this.#options.node().node,
        serviceId: undefined,
        checkId: id,
        now: this.#options.now(),
      });
      this.#state.removedChecks.delete(id);
      this.#options.logger.log("info", "Deregistered check", { check: id });
    }
    for (const [id, entry] of [...this.#state.services]) if (!entry.inSync) await this.#pushService(id, entry.service);
    for (const [id, entry] of [...this.#state.checks])
      if (!entry.inSync && this.#state.checks.get(id) === entry && !this.#goesWithService(entry))
        await this.#pushCheck(id, entry);
    if (this.#nodeInSync) return;
    await this.#register(undefined, []);
    this.#options.logger.log("info", "Synced node info");
  }

  /** Registered since the services went out: the catalog does not know the service yet, and would refuse its check alone. */
  #goesWithService({ check }: LocalCheck): boolean {
    return this.#state.services.get(check.serviceId)?.inSync === false;
  }

  /** A service goes with its checks that are out of sync, in one command. */
  async #pushService(id: string, service: ServiceFields): Promise<void> {
    const checks = [...this.#state.checks.values()].filter(({ check, inSync }) => check.serviceId === id && !inSync);
    await this.#register(service, checks);
    // Only what was sent is in sync: it may have changed meanwhile.
    if (this.#state.services.get(id)?.service === service) this.#state.markService(id, true);
    for (const sent of checks)
      if (this.#state.checks.get(sent.check.checkId) === sent) this.#state.markCheck(sent.check.checkId, true);
    this.#options.logger.log("info", "Synced service", { service: id });
  }

  async #pushCheck(id: string, entry: LocalCheck): Promise<void> {
    await this.#register(undefined, [entry]);
    if (this.#state.checks.get(id) === entry) this.#state.markCheck(id, true);
    this.#options.logger.log("info", "Synced check", { check: id });
  }

  async #register(service: ServiceFields | undefined, checks: readonly LocalCheck[]): Promise<void> {
    const { taggedAddresses, meta, ...node } = this.#options.node();
    await this.#write({
      kind: "register",
      ...node,
      taggedAddresses,
      nodeMeta: meta,
      skipNodeUpdate: this.#nodeInSync,
      service,
      checks: checks.map(({ check: { serviceName: _name, serviceTags: _tags, ...fields } }) => fields),
      now: this.#options.now(),
    });
    this.#nodeInSync = true;
  }

  async #write(command: Command): Promise<void> {
    const result = await this.#options.write(command);
    if (result.kind === "rejected") throw new AgentError("rejected", { message: result.message });
  }
}

/** 1 up to 128 nodes, one more for each doubling begun. */
function scale(nodes: number): number {
  let factor = 1;
  for (let covered = nodesWithoutScaling; covered < nodes; covered *= 2) factor++;
  return factor;
}

function sameNode(theirs: NodeRecord, ours: NodeInfo): boolean {
  return (
    theirs.id === ours.id &&
    theirs.address === ours.address &&
    sameJson(theirs.taggedAddresses ?? {}, ours.taggedAddresses) &&
    sameJson(theirs.meta ?? {}, ours.meta)
  );
}

function sameService(theirs: ServiceRecord, ours: ServiceFields): boolean {
  const { node: _node, createIndex: _create, modifyIndex: _modify, ...fields } = theirs;
  return sameJson(fields, ours);
}

function sameCheck(theirs: CheckRecord, ours: LocalCheck, outputMayDiffer: boolean): boolean {
  const { check } = ours;
  return (
    theirs.name === check.name &&
    theirs.status === check.status &&
    theirs.notes === check.notes &&
    theirs.serviceId === check.serviceId &&
    theirs.type === check.type &&
    (outputMayDiffer || theirs.output === check.output)
  );
}
