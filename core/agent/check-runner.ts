/**
 * Runs the agent's checks: the driver of `ChecksMachine` (checks.ts) over HTTP, streams and processes.
 */
import type { CheckFields, CheckStatus } from "../catalog/records.ts";
import type { CheckDefinition } from "../config/definitions.ts";
import type { Clock, Logger, Metrics, Random, Timer } from "../ports/mod.ts";
import type { Cancel } from "../types/cancel.ts";
import { AgentError, unreachable } from "../types/errors.ts";
import type { Millis } from "../types/ids.ts";
import { aliasOutcome, type AliasTarget, type AliasView } from "./check-alias.ts";
import { keepFront } from "./check-output.ts";
import { intervalMin, outputLimit, planCheck } from "./check-plan.ts";
import { runHttp, type RunPorts, runScript, runTcp } from "./check-runs.ts";
import { type CheckInput, type CheckOutcome, type CheckResult, type CheckRun, ChecksMachine } from "./checks.ts";
import type { LocalState } from "./local-state.ts";

export interface CheckRunnerOptions extends RunPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  /** The agent's `check_output_max_size`, in bytes. */
  readonly outputMaxSize: () => number;
  /** What alias checks look at. */
  readonly localState: Pick<LocalState, "checks" | "services" | "version">;
  /** Every result that counts, also one that repeats the last. */
  readonly onResult: (checkId: string, status: CheckStatus, output: string) => void;
  /** `deregister_critical_service_after` ran out. */
  readonly onReap: (serviceId: string, checkId: string) => void;
}

/** How often it is looked whether something that aliases see has changed other than by a result. */
const aliasPollInterval: Millis = 1000;

export class CheckRunner {
  readonly #options: CheckRunnerOptions;
  readonly #machine: ChecksMachine;
  readonly #definitions = new Map<string, CheckDefinition>();
  /** run → what ends it. */
  readonly #cancels = new Map<number, { readonly id: string; readonly cancel: RunCancel }>();
  readonly #waiting: { set(value: number): void } | undefined;
  #timer: Timer | undefined;
  #poll: Timer | undefined;
  #turning = false;
  #stopped = false;
  #localVersion = -1;
  #byService = new Map<string, CheckFields[]>();

  constructor(options: CheckRunnerOptions) {
    this.#options = options;
    this.#machine = new ChecksMachine(options.random);
    this.#waiting = options.metrics?.gauge("checks.waiting");
  }

  /** Replaces a check with the same id. The first run comes at random within the interval. A definition without a trigger does nothing. */
  add(definition: CheckDefinition): void {
    this.#cancel(definition.id);
    const plan = planCheck(definition);
    if (plan === undefined) {
      this.remove(definition.id);
      return;
    }
    if ("interval" in plan && definition.interval < intervalMin) {
      this.#options.logger.log("warn", "check has interval below minimum", { check: definition.id, minimum_interval: "1s" });
    }
    this.#definitions.set(definition.id, definition);
    this.#feed({ kind: "add", plan });
  }

  /** A run in hand is ended, its result is dropped. Harmless when there is no such check. */
  remove(id: string): void {
    this.#cancel(id);
    this.#definitions.delete(id);
    this.#feed({ kind: "remove", id });
  }

  /** False: this is no TTL check. The result is reported before this returns. */
  updateTtl(id: string, status: CheckStatus, output: string): boolean {
    const definition = this.#definitions.get(id);
    if (definition === undefined || !this.#machine.hasTtl(id)) return false;
    const kept = keepFront(output, outputLimit(definition, this.#options.outputMaxSize()));
    this.#feed({ kind: "ttlUpdate", id, status, output: kept });
    return true;
  }

  /** Ends every run and reports nothing more. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#poll?.cancel();
    for (const { cancel } of this.#cancels.values()) cancel.abort();
    this.#cancels.clear();
    this.#definitions.clear();
  }

  #feed(input: CheckInput): void {
    if (this.#stopped) return;
    this.#machine.step(this.#options.clock.monotonic(), input);
    this.#turn();
  }

  /** Carries out what the machine hands out, until it has nothing more. What is carried out may feed the machine again. */
  #turn(): void {
    if (this.#turning) return;
    this.#turning = true;
    try {
      while (this.#carryOut()) if (this.#stopped) return;
    } finally {
      this.#turning = false;
    }
    this.#arm();
  }

  /** False when there was nothing to do. */
  #carryOut(): boolean {
    const results = this.#machine.takeResults();
    for (const result of results) {
      this.#say(result);
      this.#options.onResult(result.id, result.status, result.output);
    }
    const reaps = this.#machine.takeReaps();
    for (const { serviceId, checkId } of reaps) this.#options.onReap(serviceId, checkId);
    this.#noticeLocalChange();
    const runs = this.#machine.takeRuns();
    for (const run of runs) this.#start(run);
    return results.length > 0 || reaps.length > 0 || runs.length > 0;
  }

  #say({ id, status, cause }: CheckResult): void {
    const { logger } = this.#options;
    if (cause === "missed") logger.log("warn", "Check missed TTL, is now critical", { check: id });
    else if (cause === "run" && status === "critical") logger.log("warn", "Check is now critical", { check: id });
    else logger.log("debug", "Check status updated", { check: id, status });
  }

  #arm(): void {
    const { clock } = this.#options;
    this.#timer?.cancel();
    this.#timer = undefined;
    const { wakeAt } = this.#machine;
    if (wakeAt !== Number.POSITIVE_INFINITY) {
      this.#timer = clock.after(Math.max(0, wakeAt - clock.monotonic()), () => this.#feed({ kind: "wake" }));
    }
    if (this.#machine.hasAliases) {
      this.#poll ??= clock.after(aliasPollInterval, () => {
        this.#poll = undefined;
        if (!this.#stopped) this.#turn();
      });
    }
    this.#waiting?.set(this.#machine.waiting);
  }

  #noticeLocalChange(): void {
    const { localState } = this.#options;
    if (!this.#machine.hasAliases || localState.version === this.#localVersion) return;
    this.#localVersion = localState.version;
    this.#byService = new Map();
    for (const { check } of localState.checks.values()) {
      const others = this.#byService.get(check.serviceId);
      if (others === undefined) this.#byService.set(check.serviceId, [check]);
      else others.push(check);
    }
    const now = this.#options.clock.monotonic();
    this.#machine.step(now, { kind: "localChanged" });
    this.#machine.step(now, { kind: "wake" });
  }

  #start(run: CheckRun): void {
    const definition = this.#definitions.get(run.id);
    if (definition === undefined) return;
    if (run.kind === "alias") {
      const outcome = aliasOutcome(run.id, aliasTarget(definition), this.#aliasView);
      this.#machine.step(this.#options.clock.monotonic(), { kind: "finished", run: run.run, outcome });
      return;
    }
    const cancel = new RunCancel();
    this.#cancels.set(run.run, { id: run.id, cancel });
    // Runs never reject, and end at their timeout at the latest.
    void this.#perform(run, definition, cancel).then((outcome) => {
      this.#cancels.delete(run.run);
      this.#feed({ kind: "finished", run: run.run, outcome });
    });
  }

  #perform(
    run: CheckRun & { readonly kind: "http" | "tcp" | "script" | "alias" },
    definition: CheckDefinition,
    cancel: Cancel,
  ): Promise<CheckOutcome> {
    const limits = { timeout: run.timeout, outputBytesMax: outputLimit(definition, this.#options.outputMaxSize()), cancel };
    switch (run.kind) {
      case "http":
        return runHttp(this.#options, definition, limits);
      case "tcp":
        return runTcp(this.#options, definition, limits);
      case "script":
        return runScript(this.#options, definition, limits);
      case "alias":
        return Promise.resolve(aliasOutcome(run.id, aliasTarget(definition), this.#aliasView));
      default:
        return unreachable(run.kind);
    }
  }

  readonly #aliasView: AliasView = {
    checksOf: (serviceId) => this.#byService.get(serviceId) ?? [],
    serviceExists: (serviceId) => this.#options.localState.services.has(serviceId),
    targetOf: (checkId) => {
      const definition = this.#definitions.get(checkId);
      return definition === undefined || planCheck(definition)?.kind !== "alias" ? undefined : aliasTarget(definition);
    },
  };

  #cancel(id: string): void {
    for (const running of this.#cancels.values()) if (running.id === id) running.cancel.abort();
  }
}

function aliasTarget(definition: CheckDefinition): AliasTarget {
  return { service: definition.aliasService, node: definition.aliasNode };
}

/** Ends one run. */
class RunCancel implements Cancel {
  readonly reason = new AgentError("cancelled", { message: "The check was removed" });
  readonly #listeners = new Set<() => void>();
  #aborted = false;

  get aborted(): boolean {
    return this.#aborted;
  }

  addEventListener(_type: "abort", listener: () => void): void {
    this.#listeners.add(listener);
  }

  removeEventListener(_type: "abort", listener: () => void): void {
    this.#listeners.delete(listener);
  }

  abort(): void {
    this.#aborted = true;
    for (const listener of this.#listeners) listener();
    this.#listeners.clear();
  }
}
