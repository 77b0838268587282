/**
 * Reads tests/cases/checks/*.txt: checks in virtual time. A block is commands, "----", and what the machine handed out.
 *
 *   add ID http|tcp|script|ttl|alias [every=10s] [timeout=…] [ttl=…] [service=…] [reap=…] [successes=N] [failures=N]
 *   remove ID
 *   finish ID STATUS [OUTPUT…]      the run in hand ends; "finish! …" with a result that holds at once
 *   update ID STATUS [OUTPUT…]      of a TTL check
 *   changed                         a local check or service changed
 *   pass DURATION                   time goes by
 *
 * Chance is taken out: a check first runs half an interval after it was added.
 */
import type { CheckStatus } from "../../../core/catalog/records.ts";
import { checkDefinition } from "../../../core/config/definition-defaults.ts";
import type { CheckDefinition } from "../../../core/config/definitions.ts";
import { formatDuration, parseDuration } from "../../../core/config/duration.ts";
import { planCheck } from "../../../core/agent/check-plan.ts";
import { type CheckInput, ChecksMachine } from "../../../core/agent/checks.ts";
import { stepTrapped } from "../../support/harness.ts";
import { constantRandom } from "../../support/virtual-clock.ts";

export class CheckScript {
  readonly #machine = new ChecksMachine(constantRandom(0.5));
  readonly #runs = new Map<string, number>();
  #now = 0;
  #printed: string[] = [];

  run(commands: readonly string[]): string[] {
    this.#printed = [];
    for (const line of commands) this.#command(line);
    return this.#printed;
  }

  #command(line: string): void {
    const [command = "", id = "", word = "", ...rest] = line.split(" ");
    const output = rest.join(" ");
    switch (command) {
      case "add": {
        const plan = planCheck(definitionOf(id, word, rest));
        if (plan === undefined) throw new Error(`no trigger: ${line}`);
        this.#step({ kind: "add", plan });
        break;
      }
      case "remove":
        this.#step({ kind: "remove", id });
        break;
      case "finish":
      case "finish!": {
        const outcome = { status: word as CheckStatus, output, certain: command === "finish!" };
        this.#step({ kind: "finished", run: this.#runs.get(id) ?? 0, outcome });
        break;
      }
      case "update":
        this.#step({ kind: "ttlUpdate", id, status: word as CheckStatus, output });
        break;
      case "changed":
        this.#step({ kind: "localChanged" });
        break;
      case "pass":
        this.#pass(duration(id));
        break;
      default:
        throw new Error(`unknown command: ${line}`);
    }
  }

  #pass(time: number): void {
    const until = this.#now + time;
    while (this.#machine.wakeAt <= until) {
      this.#now = Math.max(this.#now, this.#machine.wakeAt);
      this.#step({ kind: "wake" });
    }
    this.#now = until;
  }

  #step(input: CheckInput): void {
    stepTrapped(this.#machine, this.#now, input);
    const say = (what: string): void => {
      this.#printed.push(`${formatDuration(this.#now)} ${what}`);
    };
    for (const { id, status, output } of this.#machine.takeResults()) say(`${id} is ${status}: ${output}`);
    for (const { serviceId, checkId } of this.#machine.takeReaps()) say(`reap ${serviceId} for ${checkId}`);
    for (const { run, id, kind, timeout } of this.#machine.takeRuns()) {
      this.#runs.set(id, run);
      say(`run ${kind} ${id}${kind === "alias" ? "" : ` within ${formatDuration(timeout)}`}`);
    }
  }
}

function duration(text: string): number {
  const parsed = parseDuration(text);
  if (parsed.kind === "invalid") throw new Error(parsed.problem);
  return parsed.millis;
}

export const noCheck: CheckDefinition = checkDefinition({});

const triggers: Readonly<Record<string, Partial<CheckDefinition>>> = {
  http: { http: "http://127.0.0.1/" },
  tcp: { tcp: "127.0.0.1:80" },
  script: { args: ["check"] },
  alias: { aliasService: "other" },
  ttl: {},
};

function definitionOf(id: string, kind: string, options: readonly string[]): CheckDefinition {
  const given = Object.fromEntries(options.map((option) => option.split("=") as [string, string]));
  const time = (key: string): number => (given[key] === undefined ? 0 : duration(given[key]));
  return {
    ...noCheck,
    ...triggers[kind],
    id,
    interval: time("every"),
    timeout: time("timeout"),
    ttl: time("ttl"),
    serviceId: given["service"] ?? "",
    deregisterCriticalServiceAfter: time("reap"),
    successBeforePassing: Number(given["successes"] ?? 0),
    failuresBeforeCritical: Number(given["failures"] ?? 0),
  };
}
