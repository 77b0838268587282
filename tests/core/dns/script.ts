/**
 * Reads tests/cases/dns/*.txt: a file is a sequence of blocks, a block is commands, "----", and what they print.
 *
 *   node NAME ADDRESS [id=…] [meta:KEY=VALUE…] [tagged:NAME=ADDRESS…]
 *   service NAME [id=…] [on=NODE] [address=…] [port=…] [tags=a,b] [weights=PASSING/WARNING] [tagged:NAME=ADDRESS:PORT…]
 *   check STATUS on=NODE [of=SERVICE ID]
 *   config KEY=JSON…              keys of the configuration; of its `dns` part with "dns."
 *   recursor NAME ADDRESS…        what the recursor knows
 *   query NAME TYPE [edns=BYTES] [subnet=ADDRESS/BITS] [tcp]
 *
 * A word with spaces is written in double quotes. Chance is taken out: instances come in the order of their registration.
 */
import dnsPacket from "dns-packet";
import type { AgentConfig } from "../../../core/config/config.ts";
import type { Eventually } from "../../../plugins/dns/eventually.ts";
import { Lookup } from "../../../plugins/dns/lookup.ts";
import { addressRecord } from "../../../plugins/dns/records.ts";
import type { Recursors } from "../../../plugins/dns/recursors.ts";
import { DnsServer } from "../../../plugins/dns/server.ts";
import { parseIp } from "../../../plugins/dns/ip.ts";
import type { Bytes } from "../../../core/types/bytes.ts";
import type { Logger, Metrics } from "../../../core/ports/telemetry.ts";
import { constantRandom, VirtualClock } from "../../support/virtual-clock.ts";
import { checkRecord, fakeAgent, nodeRecord, serviceRecord } from "./fake-agent.ts";

export const silentLogger: Logger = { log: () => {}, enabled: () => false, child: () => silentLogger };
export const noMetrics: Metrics = {
  counter: () => ({ add: () => {} }),
  gauge: () => ({ set: () => {} }),
  sample: () => ({ observe: () => {} }),
};

export interface Bench {
  readonly agent: ReturnType<typeof fakeAgent>;
  readonly server: DnsServer;
  /** What the recursor answers, by name. */
  readonly recursor: Map<string, readonly string[]>;
  answer(packet: Bytes, transport: "udp" | "tcp"): Eventually<Bytes | undefined>;
}

export function bench(random = constantRandom(0)): Bench {
  const agent = fakeAgent();
  const clock = new VirtualClock();
  const recursor = new Map<string, readonly string[]>();
  const common = { agent: agent.agent, clock, logger: silentLogger, metrics: noMetrics };
  const lookup = new Lookup({
    ...common,
    random,
    resolve: async (name) =>
      (recursor.get(name) ?? []).map((address) => addressRecord(name, 60, parseIp(address) ?? new Uint8Array(4))),
  });
  const recursors = { forward: async () => undefined } as unknown as Recursors;
  const server = new DnsServer({ ...common, random, lookup, recursors });
  return { agent, server, recursor, answer: (packet, transport) => server.answer(packet, transport) };
}

/** Runs one block's commands; gives what the queries among them printed. */
export async function runBlock(on: Bench, commands: readonly string[]): Promise<string[]> {
  const printed: string[] = [];
  for (const line of commands) {
    const words = splitWords(line);
    const [command, first = "", second = ""] = words;
    const { store } = on.agent;
    const options = readOptions(words.slice(command === "query" || command === "node" ? 3 : 2));
    switch (command) {
      case "node":
        store.nodes.push(
          nodeRecord({
            node: first,
            address: second,
            id: options.plain["id"] ?? "",
            meta: options.meta,
            taggedAddresses: options.tagged,
          }),
        );
        break;
      case "service": {
        const tagged = Object.entries(options.tagged ?? {}).map(([name, at]) => {
          const colon = at.lastIndexOf(":");
          return [name, { address: at.slice(0, colon), port: Number(at.slice(colon + 1)) }] as const;
        });
        const [passing, warning] = (options.plain["weights"] ?? "1/1").split("/").map(Number) as [number, number];
        store.services.push(
          serviceRecord({
            service: first,
            id: options.plain["id"] ?? first,
            node: options.plain["on"] ?? "node-a",
            kind: options.plain["kind"] ?? "",
            address: options.plain["address"] ?? "",
            port: Number(options.plain["port"] ?? 80),
            tags: options.plain["tags"]?.split(",") ?? [],
            weights: { passing, warning },
            taggedAddresses: tagged.length === 0 ? undefined : Object.fromEntries(tagged),
            meta: options.meta,
          }),
        );
        break;
      }
      case "check": {
        const service = store.services.find((one) => one.id === options.plain["of"]);
        const ofService = service === undefined ? {} : { serviceId: service.id, serviceName: service.service };
        store.checks.push(checkRecord({ node: options.plain["on"] ?? "node-a", status: first, ...ofService }));
        break;
      }
      case "config":
        configure(on, words.slice(1));
        break;
      case "recursor":
        on.recursor.set(first, words.slice(2));
        break;
      case "query": {
        const edns = options.plain["edns"] === undefined ? undefined : Number(options.plain["edns"]);
        const packet = encodeQuery(first, second, { edns, subnet: options.plain["subnet"] });
        const transport = words.includes("tcp") ? "tcp" : "udp";
        const reply = await on.answer(packet, transport);
        printed.push(...(reply === undefined ? ["no answer"] : printReply(reply)));
        break;
      }
      default:
        throw new Error(`unknown command: ${line}`);
    }
    store.changed();
  }
  return printed;
}

function configure(on: Bench, settings: readonly string[]): void {
  const config = on.agent.agent.config;
  const top: Record<string, unknown> = {};
  const dns: Record<string, unknown> = { ...config.dns };
  for (const setting of settings) {
    const equals = setting.indexOf("=");
    const key = setting.slice(0, equals);
    const value: unknown = JSON.parse(setting.slice(equals + 1));
    if (key.startsWith("dns.")) dns[key.slice(4)] = value;
    else top[key] = value;
  }
  on.agent.configure({ ...top, dns: dns as unknown as AgentConfig["dns"] });
}

interface Options {
  readonly plain: Readonly<Record<string, string>>;
  readonly meta: Readonly<Record<string, string>> | undefined;
  readonly tagged: Readonly<Record<string, string>> | undefined;
}

function readOptions(words: readonly string[]): Options {
  const found: Record<"plain" | "meta" | "tagged", Record<string, string>> = { plain: {}, meta: {}, tagged: {} };
  for (const word of words) {
    const match = /^(?:(meta|tagged):)?([^=]+)=(.*)$/.exec(word);
    if (match !== null) found[(match[1] ?? "plain") as "plain"][match[2] as string] = match[3] as string;
  }
  const some = (part: Record<string, string>) => (Object.keys(part).length === 0 ? undefined : part);
  return { plain: found.plain, meta: some(found.meta), tagged: some(found.tagged) };
}

function splitWords(line: string): string[] {
  return (line.match(/(?:[^\s"]|"[^"]*")+/g) ?? []).map((word) => (word.startsWith('"') ? word.slice(1, -1) : word));
}

export function encodeQuery(
  name: string,
  type: string,
  options: { readonly edns?: number | undefined; readonly subnet?: string | undefined } = {},
): Bytes {
  const [ip, bits] = options.subnet?.split("/") ?? [];
  const subnet = ip === undefined ? [] : [{ code: 8, ip, sourcePrefixLength: Number(bits), family: 1 }];
  const opt = { type: "OPT", name: ".", udpPayloadSize: options.edns, flags: 0, options: subnet };
  const additionals = options.edns === undefined ? [] : [opt];
  const message = { id: 4660, type: "query", flags: 0x100, questions: [{ name, type }], additionals };
  return dnsPacket.encode(message as unknown as dnsPacket.Packet);
}

interface LooseAnswer {
  readonly name: string;
  readonly type: string;
  readonly ttl?: number;
  readonly data?: unknown;
  readonly udpPayloadSize?: number;
  readonly options?: readonly {
    readonly code: number;
    readonly ip?: string;
    readonly sourcePrefixLength?: number;
    readonly scopePrefixLength?: number;
  }[];
}

/** The message as a person reads it: status, flags and size, then the records of each section. */
export function printReply(reply: Bytes): string[] {
  const message = dnsPacket.decode(Buffer.from(reply)) as unknown as Record<
    "answers" | "authorities" | "additionals",
    readonly LooseAnswer[]
  > & {
    readonly rcode: string;
    readonly flags: number;
  };
  const flags = [
    [0x400, "aa"],
    [0x200, "tc"],
    [0x100, "rd"],
    [0x80, "ra"],
  ] as const;
  const lines = [
    `${message.rcode} ${flags.flatMap(([bit, name]) => ((message.flags & bit) === 0 ? [] : [name])).join(" ")} ${reply.length} bytes`,
  ];
  for (const [section, title] of [
    ["answers", "answer"],
    ["authorities", "authority"],
    ["additionals", "additional"],
  ] as const) {
    for (const record of message[section]) lines.push(`${title}: ${printRecord(record)}`);
  }
  return lines;
}

function printRecord(record: LooseAnswer): string {
  if (record.type === "OPT") {
    const subnets = (record.options ?? []).map(
      (option) => ` subnet ${option.ip}/${option.sourcePrefixLength}/${option.scopePrefixLength}`,
    );
    return `OPT ${record.udpPayloadSize}${subnets.join("")}`;
  }
  const { data } = record;
  const texts = Array.isArray(data) ? data.map((text) => JSON.stringify(String(text))).join(" ") : undefined;
  const fields = typeof data === "object" && data !== null ? Object.values(data).join(" ") : String(data);
  return `${record.name} ${record.ttl} ${record.type} ${texts ?? fields}`;
}
