/**
 * What this agent believes it registered, and whether the catalog has heard of it.
 *
 *   registrations.ts ──set/remove──► LocalState ──changed()──► anti-entropy.ts ──register/deregister──► catalog
 *
 * Removing keeps the id as a pending deletion until the catalog confirmed it. Data only: no awaiting, no timers.
 */
import type { CheckFields, ServiceFields } from "../catalog/records.ts";
import type { LocalCheck, LocalService } from "../plugin/agent-api.ts";

export type CheckWithService = LocalCheck["check"];

export class LocalState {
  readonly #services = new Map<string, LocalService>();
  readonly #checks = new Map<string, LocalCheck>();
  /** Deleted here, perhaps still in the catalog. */
  readonly removedServices = new Set<string>();
  readonly removedChecks = new Set<string>();
  /** Checks whose output alone changed: it may wait (check_update_interval). */
  readonly deferredOutputs = new Set<string>();
  #version = 0;
  readonly #followers = new Set<() => void>();
  #onChange: () => void = () => {};

  get services(): ReadonlyMap<string, LocalService> {
    return this.#services;
  }

  get checks(): ReadonlyMap<string, LocalCheck> {
    return this.#checks;
  }

  /** Grows with every change that a reader could see. */
  get version(): number {
    return this.#version;
  }

  /** Called after each change that a reader could see, until the result is called. */
  follow(follower: () => void): () => void {
    this.#followers.add(follower);
    return () => void this.#followers.delete(follower);
  }

  /** Called after each change that the catalog has to learn. */
  onChange(listener: () => void): void {
    this.#onChange = listener;
  }

  setService(service: ServiceFields, token: string): void {
    this.#services.set(service.id, { service, token, inSync: false });
    this.removedServices.delete(service.id);
    for (const [id, entry] of this.#checks) {
      if (entry.check.serviceId !== service.id) continue;
      this.#checks.set(id, { ...entry, check: { ...entry.check, serviceName: service.service, serviceTags: service.tags } });
    }
    this.#changed();
  }

  /** False when it was not there. Its checks are the caller's to remove. */
  removeService(id: string): boolean {
    if (!this.#services.delete(id)) return false;
    this.removedServices.add(id);
    this.#changed();
    return true;
  }

  setCheck(fields: CheckFields, token: string): void {
    const service = fields.serviceId === "" ? undefined : this.#services.get(fields.serviceId)?.service;
    const check = { ...fields, serviceName: service?.service ?? "", serviceTags: service?.tags ?? [] };
    this.#checks.set(fields.checkId, { check, token, inSync: false });
    this.removedChecks.delete(fields.checkId);
    this.deferredOutputs.delete(fields.checkId);
    this.#changed();
  }

  removeCheck(id: string): boolean {
    const entry = this.#checks.get(id);
    if (entry === undefined) return false;
    this.#checks.delete(id);
    this.deferredOutputs.delete(id);
    this.removedChecks.add(id);
    this.#changed();
    return true;
  }

  /**
   * A check's new status and output. Says what is owed to the catalog: "now" for a status, "later" for output alone,
   * "nothing" when neither changed.
   */
  updateCheck(id: string, status: CheckFields["status"], output: string): "now" | "later" | "nothing" {
    const entry = this.#checks.get(id);
    if (entry === undefined) return "nothing";
    const { check } = entry;
    if (check.status === status && check.output === output) return "nothing";
    const owed = check.status === status ? "later" : "now";
    const inSync = owed === "later" && entry.inSync;
    this.#checks.set(id, { ...entry, check: { ...check, status, output }, inSync });
    this.#visible();
    if (owed === "later") this.deferredOutputs.add(id);
    else {
      this.deferredOutputs.delete(id);
      this.#onChange();
    }
    return owed;
  }

  /** The catalog must be told of this check's output now. */
  flushOutput(id: string): void {
    if (!this.deferredOutputs.delete(id)) return;
    this.markCheck(id, false);
    this.#onChange();
  }

  markService(id: string, inSync: boolean): void {
    const entry = this.#services.get(id);
    if (entry !== undefined && entry.inSync !== inSync) this.#services.set(id, { ...entry, inSync });
  }

  markCheck(id: string, inSync: boolean): void {
    const entry = this.#checks.get(id);
    if (entry !== undefined && entry.inSync !== inSync) this.#checks.set(id, { ...entry, inSync });
  }

  /** The catalog's side of a tag, where `enableTagOverride` gives it the say. */
  adoptTags(id: string, tags: readonly string[]): void {
    const entry = this.#services.get(id);
    if (entry === undefined) return;
    this.#services.set(id, { ...entry, service: { ...entry.service, tags } });
    this.#visible();
  }

  #changed(): void {
    this.#visible();
    this.#onChange();
  }

  #visible(): void {
    this.#version++;
    for (const follower of [...this.#followers]) follower();
  }
}
