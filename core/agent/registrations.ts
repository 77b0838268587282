/**
 * Registering services and checks with this agent: from the HTTP API, from files, from what an earlier run left.
 *
 *   definition ──fill in──► LocalState (services, checks)     every change is told to the catalog by anti-entropy
 *        │                  CheckRunner (runs them)           results come back through `onCheckResult`
 *        └─ persisted below the data directory when it came through the API (Consul's own layout)
 *
 * Consul 1.8: agent.AddService, AddCheck, loadServices, loadChecks.
 */
import type { CheckFields, JsonObject, ServiceAddress, ServiceFields } from "../catalog/records.ts";
import type { AgentConfig } from "../config/config.ts";
import type { CheckDefinition, ServiceDefinition } from "../config/definitions.ts";
import { checkTypeProblem } from "../config/definitions-validate.ts";
import type { LocalApi, LocalCheck, LocalService } from "../plugin/agent-api.ts";
import type { Hooks } from "../plugin/hooks.ts";
import type { Logger } from "../ports/telemetry.ts";
import { AgentError, messageOf } from "../types/errors.ts";
import type { Clock, Random, Timer } from "../ports/mod.ts";
import { between } from "../ports/random.ts";
import type { CheckRunner } from "./check-runner.ts";
import { unsupportedCheck } from "./checks.ts";
import type { LocalState } from "./local-state.ts";
import type { Persisted } from "./persisted.ts";

const nodeMaintenanceId = "_node_maintenance";
const serviceMaintenanceId = (serviceId: string): string => `_service_maintenance:${serviceId}`;
const nodeMaintenanceReason = "Maintenance mode is enabled for this node, but no reason was provided. This is a default message.";
const serviceMaintenanceReason =
  "Maintenance mode is enabled for this service, but no reason was provided. This is a default message.";
const invalidDnsName = /[^a-zA-Z0-9-]/;

export interface RegistrationsOptions {
  readonly state: LocalState;
  readonly config: () => AgentConfig;
  readonly hooks: Hooks;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: Random;
  readonly persisted: Persisted | undefined;
}

type Origin = "remote" | "file" | "persisted";
type Snapshot = ReadonlyMap<string, LocalCheck>;

export class Registrations implements LocalApi {
  readonly #state: LocalState;
  readonly #options: RegistrationsOptions;
  readonly #deferred = new Map<string, Timer>();
  #runner: CheckRunner | undefined;

  constructor(options: RegistrationsOptions) {
    this.#options = options;
    this.#state = options.state;
  }

  get services(): ReadonlyMap<string, LocalService> {
    return this.#state.services;
  }

  get checks(): ReadonlyMap<string, LocalCheck> {
    return this.#state.checks;
  }

  get version(): number {
    return this.#state.version;
  }

  follow(follower: () => void): () => void {
    return this.#state.follow(follower);
  }

  attach(runner: CheckRunner): void {
    this.#runner = runner;
  }

  async registerService(
    given: ServiceDefinition,
    from: "remote" | "file",
    options: { readonly replaceExistingChecks?: boolean } = {},
  ): Promise<void> {
    const definition = this.#options.hooks.filter("registerService", given);
    const fields = serviceFields(definition);
    this.#refuseUnsupported(definition);
    const checks = serviceCheckDefinitions(definition, fields);
    for (const check of checks) this.#allowCheck(check, from);
    if (invalidDnsName.test(fields.service)) {
      this.#options.logger.log(
        "warn",
        "Service name will not be discoverable via DNS due to invalid characters. Valid characters include all alpha-numerics and dashes.",
        { service: fields.service },
      );
    }
    const before: Snapshot = new Map(this.#state.checks);
    if (options.replaceExistingChecks === true) {
      const kept = new Set(checks.map((check) => check.id));
      for (const [id, { check }] of before) if (check.serviceId === fields.id && !kept.has(id)) await this.deregisterCheck(id);
    }
    this.#state.setService(fields, definition.token);
    for (const check of checks) this.#addCheck(check, before);
    if (from === "remote") await this.#options.persisted?.saveService(definition, fields.id);
    else await this.#options.persisted?.forgetService(fields.id);
    if (from === "remote") for (const check of checks) await this.#options.persisted?.saveCheck(check);
  }

  async deregisterService(id: string): Promise<void> {
    const known = this.#state.removeService(id);
    await this.#options.persisted?.forgetService(id);
    for (const [checkId, { check }] of [...this.#state.checks]) if (check.serviceId === id) await this.deregisterCheck(checkId);
    if (!known) this.#options.logger.log("warn", "Failed to deregister service: Service does not exist", { service: id });
  }

  async registerCheck(given: CheckDefinition, from: "remote" | "file"): Promise<void> {
    const definition = { ...given, id: given.id === "" ? given.name : given.id };
    this.#allowCheck(definition, from);
    if (definition.serviceId !== "" && !this.#state.services.has(definition.serviceId)) {
      throw new AgentError("rejected", { message: `ServiceID "${definition.serviceId}" does not exist` });
    }
    this.#addCheck(definition, new Map());
    if (from === "remote") await this.#options.persisted?.saveCheck(definition);
    else await this.#options.persisted?.forgetCheck(definition.id);
  }

  async deregisterCheck(id: string): Promise<void> {
    this.#runner?.remove(id);
    this.#deferred.get(id)?.cancel();
    this.#deferred.delete(id);
    this.#state.removeCheck(id);
    await this.#options.persisted?.forgetCheck(id);
  }

  async updateTtl(checkId: string, status: "passing" | "warning" | "critical", output: string): Promise<void> {
    if (this.#runner?.updateTtl(checkId, status, output) === true) return;
    throw new AgentError("rejected", { message: `CheckID ${JSON.stringify(checkId)} does not have associated TTL` });
  }

  async setServiceMaintenance(id: string, enable: boolean, reason: string): Promise<boolean> {
    const entry = this.#state.services.get(id);
    if (entry === undefined) return false;
    const notes = reason === "" ? serviceMaintenanceReason : reason;
    await this.#setMaintenance(
      enable,
      { ...maintenanceCheck, checkId: serviceMaintenanceId(id), name: "Service Maintenance Mode", notes, serviceId: id },
      entry.token,
    );
    return true;
  }

  async setNodeMaintenance(enable: boolean, reason: string): Promise<void> {
    const notes = reason === "" ? nodeMaintenanceReason : reason;
    await this.#setMaintenance(
      enable,
      { ...maintenanceCheck, checkId: nodeMaintenanceId, name: "Node Maintenance Mode", notes, serviceId: "" },
      "",
    );
  }

  /** A result of a running check. Output alone waits up to 1.5 times check_update_interval before the catalog hears of it. */
  onCheckResult(checkId: string, status: CheckFields["status"], output: string): void {
    const config = this.#options.config();
    const owed = this.#state.updateCheck(checkId, status, config.discardCheckOutput ? "" : output);
    const interval = config.checkUpdateInterval;
    if (owed === "later" && !this.#deferred.has(checkId)) {
      if (interval === 0) this.#state.flushOutput(checkId);
      else {
        const delay = interval / 2 + between(this.#options.random, 0, interval);
        this.#deferred.set(
          checkId,
          this.#options.clock.after(delay, () => {
            this.#deferred.delete(checkId);
            this.#state.flushOutput(checkId);
          }),
        );
      }
    }
    if (owed === "now") {
      this.#deferred.get(checkId)?.cancel();
      this.#deferred.delete(checkId);
    }
    const definition = this.#state.checks.get(checkId)?.check;
    if (definition?.type === "ttl") void this.#options.persisted?.saveTtlState(checkId, status, output);
  }

  /** `deregister_critical_service_after` ran out for a check of this service. */
  async onReap(serviceId: string, checkId: string): Promise<void> {
    this.#options.logger.log("info", "Check for service has been critical for too long; deregistering service", {
      service: serviceId,
      check: checkId,
    });
    await this.deregisterService(serviceId);
  }

  /** Everything from the configuration files and then from the data directory; a file's definition wins. `before`: states to carry over. */
  async loadAll(before: Snapshot = new Map()): Promise<void> {
    const config = this.#options.config();
    for (const definition of config.services) {
      const id = definition.id === "" ? definition.name : definition.id;
      for (const problem of definition.checks.map(checkTypeProblem)) {
        if (problem !== undefined) {
          throw new AgentError("config-invalid", {
            message: `Failed to validate checks for service ${JSON.stringify(id)}: ${problem}`,
          });
        }
      }
      await this.#load("service", id, () => {
        if (definition.name === "") throw new AgentError("rejected", { message: "Service name missing" });
        return this.registerService(definition, "file");
      });
    }
    for (const definition of config.checks) {
      const id = definition.id === "" ? definition.name : definition.id;
      await this.#load("check", id, () => {
        if (id === "") throw new AgentError("rejected", { message: "CheckID missing" });
        const problem = checkTypeProblem(definition);
        if (problem !== undefined) throw new AgentError("rejected", { message: `Check is not valid: ${problem}` });
        return this.registerCheck(definition, "file");
      });
    }
    await this.#loadPersisted();
    for (const [id, { check }] of before) {
      if (this.#state.checks.has(id) && check.type !== "maintenance") this.#state.updateCheck(id, check.status, check.output);
    }
  }

  /** As Consul does at a reload: everything goes and is read again; the health of checks is carried over. */
  async reloadAll(): Promise<void> {
    const before: Snapshot = new Map(this.#state.checks);
    for (const id of [...this.#state.checks.keys()]) {
      this.#runner?.remove(id);
      this.#state.removeCheck(id);
    }
    for (const id of [...this.#state.services.keys()]) this.#state.removeService(id);
    await this.loadAll(before);
    for (const [id, entry] of before) {
      if (entry.check.type !== "maintenance" || this.#state.checks.has(id)) continue;
      if (entry.check.serviceId === "" || this.#state.services.has(entry.check.serviceId))
        this.#state.setCheck(entry.check, entry.token);
    }
  }

  stop(): void {
    for (const timer of this.#deferred.values()) timer.cancel();
    this.#deferred.clear();
    this.#runner?.stop();
  }

  async #load(what: "service" | "check", id: string, register: () => Promise<void>): Promise<void> {
    try {
      await register();
    } catch (error) {
      const message = `Failed to register ${what} ${what === "service" ? JSON.stringify(id) : `'${id}'`}: ${messageOf(error)}`;
      throw new AgentError("config-invalid", { message, cause: error });
    }
  }

  async #loadPersisted(): Promise<void> {
    const { persisted, logger } = this.#options;
    if (persisted === undefined) return;
    for (const definition of await persisted.services()) {
      const id = definition.id === "" ? definition.name : definition.id;
      if (this.#state.services.has(id)) await persisted.forgetService(id);
      else this.#state.setService(serviceFields(definition), definition.token);
    }
    for (const definition of await persisted.checks()) {
      if (
        this.#state.checks.has(definition.id) ||
        (definition.serviceId !== "" && !this.#state.services.has(definition.serviceId))
      ) {
        await persisted.forgetCheck(definition.id);
        continue;
      }
      try {
        this.#allowCheck(definition, "persisted");
        this.#addCheck(definition, new Map());
        const ttlState = definition.ttl > 0 ? await persisted.ttlState(definition.id, definition.ttl) : undefined;
        if (ttlState !== undefined) this.#runner?.updateTtl(definition.id, ttlState.status, ttlState.output);
      } catch (error) {
        logger.log("warn", "Failed to restore check", { check: definition.id, error: messageOf(error) });
      }
    }
  }

  #addCheck(definition: CheckDefinition, before: Snapshot): void {
    const earlier = before.get(definition.id)?.check;
    const status = earlier?.status ?? (definition.status === "" ? "critical" : definition.status);
    this.#runner?.remove(definition.id);
    this.#state.setCheck(
      {
        checkId: definition.id,
        name: definition.name === "" ? definition.id : definition.name,
        status,
        notes: definition.notes,
        output: earlier?.output ?? "",
        serviceId: definition.serviceId,
        type: checkType(definition),
        definition: {},
      },
      definition.token,
    );
    this.#runner?.add(definition);
  }

  #allowCheck(definition: CheckDefinition, from: Origin): void {
    const unsupported = unsupportedCheck(definition, this.#options.config().nodeName);
    if (unsupported !== undefined) throw new AgentError("not-supported", { message: unsupported });
    if (definition.args.length === 0) return;
    const { enableScriptChecks, enableLocalScriptChecks } = this.#options.config();
    if (from === "file" && !enableLocalScriptChecks && !enableScriptChecks) {
      throw new AgentError("rejected", {
        message:
          "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or 'enable_local_script_checks' to true",
      });
    }
    if (from !== "file" && !enableScriptChecks) {
      throw new AgentError("rejected", {
        message: "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true",
      });
    }
  }

  #refuseUnsupported(definition: ServiceDefinition): void {
    if (definition.sidecar === undefined) return;
    throw new AgentError("not-supported", {
      message: "connect.sidecar_service is not supported yet: register the proxy as a service of its own",
    });
  }

  async #setMaintenance(enable: boolean, check: CheckFields, token: string): Promise<void> {
    const known = this.#state.checks.has(check.checkId);
    if (enable === known) return;
    if (enable) {
      this.#state.setCheck(check, token);
      this.#options.logger.log(
        "info",
        check.serviceId === "" ? "Node entered maintenance mode" : "Service entered maintenance mode",
        check.serviceId === "" ? {} : { service: check.serviceId },
      );
    } else await this.deregisterCheck(check.checkId);
  }
}

const maintenanceCheck: CheckFields = {
  checkId: "",
  name: "",
  status: "critical",
  notes: "",
  output: "",
  serviceId: "",
  type: "maintenance",
  definition: {},
};

/** The kind of a check as its Type field names it; the order decides where several triggers are given. */
function checkType(definition: CheckDefinition): string {
  if (definition.ttl > 0) return "ttl";
  if (definition.http !== "") return "http";
  if (definition.tcp !== "") return "tcp";
  if (definition.args.length > 0) return "script";
  if (definition.aliasNode !== "" || definition.aliasService !== "") return "alias";
  return "";
}

function serviceFields(definition: ServiceDefinition): ServiceFields {
  return {
    kind: definition.kind,
    id: definition.id === "" ? definition.name : definition.id,
    service: definition.name,
    tags: definition.tags,
    address: definition.address,
    taggedAddresses: withIpAddresses(definition),
    meta: definition.meta,
    port: definition.port,
    weights: definition.weights ?? { passing: 1, warning: 1 },
    enableTagOverride: definition.enableTagOverride,
    proxy: withUpstreamTypes(definition.proxy),
    connectNative: definition.connectNative,
  };
}

/** An upstream is a service unless it says otherwise. */
function withUpstreamTypes(proxy: JsonObject | undefined): JsonObject | undefined {
  const upstreams = proxy?.["Upstreams"];
  if (proxy === undefined || !Array.isArray(upstreams)) return proxy;
  const typed = (upstreams as readonly JsonObject[]).map((upstream) => ({
    ...upstream,
    DestinationType: upstream["DestinationType"] || "service",
  }));
  return { ...proxy, Upstreams: typed };
}

/** Consul adds lan_ipv4 and wan_ipv4 (or _ipv6) where the address is an IP and they are not given. */
function withIpAddresses(definition: ServiceDefinition): Readonly<Record<string, ServiceAddress>> | undefined {
  const given = definition.taggedAddresses ?? {};
  const family = /^\d+\.\d+\.\d+\.\d+$/.test(definition.address) ? "ipv4" : definition.address.includes(":") ? "ipv6" : undefined;
  if (family === undefined) return definition.taggedAddresses;
  const own: ServiceAddress = { address: definition.address, port: definition.port };
  const all: Record<string, ServiceAddress> = { ...given };
  for (const name of [`lan_${family}`, `wan_${family}`]) all[name] ??= own;
  return Object.fromEntries(Object.entries(all).sort(([left], [right]) => (left < right ? -1 : 1)));
}

/** The service's checks with the IDs and names Consul derives: `service:ID`, or `service:ID:N` where there are several. */
function serviceCheckDefinitions(definition: ServiceDefinition, fields: ServiceFields): readonly CheckDefinition[] {
  const several = definition.checks.length > 1;
  return definition.checks.map((check, at) => ({
    ...check,
    id: check.id !== "" ? check.id : several ? `service:${fields.id}:${at + 1}` : `service:${fields.id}`,
    name: check.name !== "" ? check.name : `Service '${fields.service}' check`,
    serviceId: fields.id,
    token: check.token === "" ? definition.token : check.token,
  }));
}
