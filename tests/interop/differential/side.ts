/** One of the two agents: does a step, and writes what came of it as text fit to be compared. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { unreachable } from "../../../core/types/errors.ts";
import { patience } from "../../support/patience.ts";
import { type RunningAgent, run } from "../../support/program.ts";
import type { Act, Step } from "./steps.ts";
import { type Answer, exchange, readAnswer, request } from "./wire.ts";

/** How much sooner a request is sent than the next step is done, in ms, at least. */
const leadMin = 20;
/** A step that takes longer, in ms, is told of. */
const slowMin = 3000;
/** How long a connection that should have been closed is listened to after the last that came, in ms. */
const openMax = 2000;

export class Side {
  readonly agent: RunningAgent;
  readonly #consul: string;
  readonly #folder: string;
  readonly #saved = new Map<string, string>();
  readonly #started = new Map<string, Promise<Answer>>();

  /** `folder`: where commands run. */
  constructor(agent: RunningAgent, consul: string, folder: string) {
    this.agent = agent;
    this.#consul = consul;
    this.#folder = folder;
  }

  /** Waits until the catalog holds the agent's own node, as leader and agent write it; resolves with the index after that. */
  async started(): Promise<number> {
    const read = (target: string) => request(this.agent.ports.http, { method: "GET", target, headers: [], body: undefined });
    const whole = (body: string) => ["lan_ipv4", '"consul"', '"serf_protocol_max"'].every((part) => body.includes(part));
    for (const began = performance.now(); performance.now() - began < patience; ) {
      const [node, checks] = await Promise.all([read("/v1/internal/ui/nodes"), read("/v1/health/state/passing")]);
      const indexes = [node, checks].map(({ headers }) => Number(/X-Consul-Index: (\d+)/.exec(headers.join("\n"))?.[1]));
      if (whole(node.body) && checks.body.includes("serfHealth")) return Math.max(...indexes);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`${this.#consul} does not come to rest`);
  }

  /** The original leaves the session of a lock that it could not take to its TTL: in later answers it would be there or not by chance. */
  async endLockSessions(): Promise<void> {
    const ask = (method: string, target: string) =>
      request(this.agent.ports.http, { method, target, headers: [], body: undefined });
    const sessions = JSON.parse((await ask("GET", "/v1/session/list")).body) as { ID: string; Name: string }[];
    for (const { ID, Name } of sessions) if (Name.startsWith("Consul lock for")) await ask("PUT", `/v1/session/destroy/${ID}`);
  }

  async answer(step: Step): Promise<string> {
    const began = performance.now();
    const text = await this.#act(step, step.act);
    if (changesAgent(step.act)) await this.#settle();
    const took = performance.now() - began;
    if (took > slowMin) console.log(`${step.at}: ${this.#consul} took ${Math.round(took)} ms`);
    for (const { name, pattern } of step.save) {
      const found = pattern.exec(text);
      if (found === null) return `nothing to save as ${name}\n${text}`;
      this.#saved.set(name, found[1] as string);
    }
    return text;
  }

  #fill(text: string): string {
    return text.replace(/\$([a-z]\w*)/g, (whole, name) => {
      const port = (this.agent.ports as unknown as Record<string, number>)[name];
      return this.#saved.get(name) ?? (port === undefined ? whole : String(port));
    });
  }

  #request(act: Extract<Act, { kind: "http" | "start" }>, target = act.target): Promise<Answer> {
    const headers = act.headers.map((header) => this.#fill(header));
    const body = act.body === undefined ? undefined : this.#fill(act.body);
    return request(this.agent.ports.http, { method: act.method, target: this.#fill(target), headers, body });
  }

  async #act(step: Step, act: Act): Promise<string> {
    switch (act.kind) {
      case "http":
        return write(await (step.until === undefined ? this.#request(act) : this.#until(act, step.until)), step);
      case "start": {
        const started = this.#request(act);
        started.catch(() => undefined);
        this.#started.set(act.name, started);
        // What comes over another connection may overtake it: it has a lead.
        await this.agent.request("GET", "/v1/status/leader");
        await new Promise((resolve) => setTimeout(resolve, leadMin));
        return "";
      }
      case "finish": {
        const started = this.#started.get(act.name);
        if (started === undefined) throw new Error(`${step.at}: nothing started as ${act.name}`);
        return write(await started, step);
      }
      case "raw":
        return write(
          readAnswer(await exchange(this.agent.ports.http, this.#fill(act.bytes), openMax), act.bytes.split(" ")[0] ?? ""),
          step,
        );
      case "dig":
        return writeDig(await this.agent.dig(...act.words.map((word) => this.#fill(word))), step.compare === "counts");
      case "command": {
        const env = { CONSUL_HTTP_ADDR: `127.0.0.1:${this.agent.ports.http}`, ...step.env };
        const words = act.words.map((word) => this.#fill(word));
        const { code, stdout, stderr } = await run(this.#consul, words, { stdin: step.stdin, env, cwd: this.#folder });
        return writeCommand(step, code, stdout, stderr).replaceAll(this.#folder, "<folder>");
      }
      case "file":
        writeFileSync(join(this.#folder, act.name), this.#fill(act.content));
        return "";
      default:
        return unreachable(act);
    }
  }

  /**
   * Until the catalog holds what the agent was told to register. Agents pass it on behind the answer, in any order; the
   * indexes of what comes next would be a matter of luck.
   */
  async #settle(): Promise<void> {
    const { Config } = (await this.agent.json("/v1/agent/self")) as { Config: { NodeName: string } };
    const name = Config.NodeName;
    let [told, known] = ["", ""];
    for (const began = performance.now(); performance.now() - began < patience; ) {
      const [services, checks, listed, health] = await Promise.all(
        ["/v1/agent/services", "/v1/agent/checks", `/v1/catalog/node-services/${name}`, `/v1/health/node/${name}`].map((path) =>
          this.agent.json(path),
        ),
      );
      const held = [...((listed as { Services: Fields[] | null }).Services ?? []), ...(health as Fields[])];
      const wanted = [...Object.values(services as object), ...Object.values(checks as object)];
      [told, known] = [inOrder(wanted.filter(isOurs)), inOrder(held.filter(isOurs))];
      if (told === known) return;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    console.log(`${this.#consul}: the agent has\n${told}\nthe catalog\n${known}`);
  }

  /** By blocking on the answer's index, or once a round where there is none. */
  async #until(act: Extract<Act, { kind: "http" }>, wanted: RegExp): Promise<Answer> {
    let last: Answer | undefined;
    let index = "0";
    const plain = act.target + (act.target.includes("?") ? "&" : "?");
    for (const began = performance.now(); performance.now() - began < patience; ) {
      last = await this.#request(act, index === "0" ? act.target : `${plain}index=${index}&wait=5s`);
      if (wanted.test(last.body)) return last;
      const found = last.headers.find((header) => header.startsWith("X-Consul-Index: "))?.slice(16);
      if (found === undefined) await new Promise((resolve) => setTimeout(resolve, 50));
      index = found ?? "0";
    }
    throw new Error(`${this.#consul} never answered ${wanted}, at last:\n${last?.body}`);
  }
}

type Fields = Readonly<Record<string, unknown>>;

/** Agent and catalog differ in how they say nothing. */
function isNothing(value: unknown): boolean {
  return value === undefined || value === null || (typeof value === "object" && Object.keys(value).length === 0);
}

/** Not what the leader keeps for every server. */
function isOurs(row: Fields): boolean {
  return row["ID"] !== "consul" && row["CheckID"] !== "serfHealth";
}

/** What both the agent and the catalog show of services and checks. */
function inOrder(rows: readonly Fields[]): string {
  const shared = ["ID", "Service", "Tags", "Meta", "Port", "Address", "CheckID", "Name", "Status", "Notes", "ServiceID"];
  return rows
    .map((row) => JSON.stringify(shared.map((field) => (isNothing(row[field]) ? null : row[field]))))
    .sort()
    .join("\n");
}

/** Registers, deregisters or updates what the agent holds. */
function changesAgent(act: Act): boolean {
  if (act.kind === "http") return act.method === "PUT" && /^\/v1\/agent\/(service|check|maintenance|reload)/.test(act.target);
  return act.kind === "command" && ["services", "maint", "reload"].includes(act.words[0] ?? "");
}

function writeCommand({ compare, ignoring }: Step, code: number | null, stdout: string, stderr: string): string {
  if (compare === "head") return `exit ${code}\n${`${stderr}${stdout}`.split("\n", 1)[0]}`;
  const lines = stdout.split("\n").map((line) => (compare === "keys" ? line.replace(/ = .*/, "") : line));
  if (compare === "unordered") lines.sort();
  const shown = lines.filter((line) => !ignoring.includes(line.trim())).join("\n");
  return `exit ${code}\n${shown.replace(/^[A-Za-z0-9+/]{43}=$/m, "<key>")}--- stderr\n${stderr}`;
}

function write({ status, headers, body }: Answer, step: Step): string {
  const shown = headers.filter((header) => !step.ignoring.includes(header.slice(0, header.indexOf(":"))));
  return `${status}\n${shown.join("\n")}\n\n${writeBody(body, step)}`;
}

/** JSON stays as sent unless the step leaves something out. */
function writeBody(body: string, { ignoring, compare }: Step): string {
  if (ignoring.length === 0 && compare === "exact") return body;
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return body;
  }
  for (const path of ignoring) value = without(value, path.split("."));
  if (compare === "shape") value = shapeOf(value);
  if (compare === "unordered") value = sorted(value);
  return JSON.stringify(value, undefined, 1);
}

function without(value: unknown, [name, ...rest]: readonly string[]): unknown {
  if (Array.isArray(value)) return value.map((item) => without(item, [name as string, ...rest]));
  if (value === null || typeof value !== "object" || name === undefined) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, item]) => {
      if (key !== name && name !== "*") return [[key, item]];
      return rest.length === 0 ? [] : [[key, without(item, rest)]];
    }),
  );
}

function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.slice(0, 1).map(shapeOf);
  if (value === null || typeof value !== "object") return value === null ? null : typeof value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, shapeOf(item)]));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) {
    // What differs between the agents must not decide.
    const words = (item: unknown) => JSON.stringify(item).replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|Index":\d+/g, "");
    const age = (item: unknown) => Number(/"CreateIndex":(\d+)/.exec(JSON.stringify(item))?.[1] ?? 0);
    const items = value.map(sorted).map((item) => ({ item, words: words(item), age: age(item) }));
    return items.sort((a, b) => (a.words < b.words ? -1 : a.words > b.words ? 1 : a.age - b.age)).map(({ item }) => item);
  }
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, sorted(item)]));
}

/** Rcode, flags, EDNS and sections of dig's report; records sorted, SOA serials left out. */
function writeDig(report: string, counts: boolean): string {
  const lines: string[] = [];
  let section: string[] = [];
  const close = () => {
    if (counts) section = [...new Set(section)].map((kind) => `${section.filter((line) => line === kind).length} × ${kind}`);
    lines.push(...section.sort());
    section = [];
  };
  for (const line of report.split("\n")) {
    if (/^; <<>>|^;; (Query time|SERVER|WHEN|global options|Got answer|WARNING)|^$|\(1 server found\)|COOKIE/.test(line))
      continue;
    if (line.startsWith(";")) {
      close();
      if (counts && line.startsWith(";; MSG SIZE")) continue;
      lines.push(line.replace(/, id: \d+/, ""));
    } else {
      const [name, ttl, type, kind, ...data] = line.split(/\s+/);
      if (counts) section.push(`${ttl} ${type} ${kind}`);
      else
        section.push(
          [name, ttl, type, kind, ...data.map((word, at) => (kind === "SOA" && at === 2 ? "<serial>" : word))].join(" "),
        );
    }
  }
  close();
  return lines.join("\n");
}
