/** `consul members`: who is in the gossip pool, as the agent sees it. */
import { formatAddress } from "../../../core/ports/net.ts";
import { type Api, openApi } from "../api.ts";
import { clientFlags } from "../client-flags.ts";
import { type Call, CommandError, defineCommand, orFail, say } from "../command.ts";
import { formatJson, isObject, type Json } from "../json.ts";
import { compileRegexp } from "../regexp.ts";
import { table } from "../table.ts";
import { evidenceTable } from "../evidence-table.ts";

const flags = {
  detailed: { kind: "bool", initial: false, help: "Print all tags of each member instead of the columns made from them." },
  evidence: {
    kind: "bool",
    initial: false,
    help: "Who accused which member of having failed, on what grounds, and what came of it, as this agent heard it. Not in Consul.",
  },
  format: { kind: "string", initial: "pretty", placeholder: "pretty|json", help: "Of -evidence." },
  node: { kind: "string", initial: "", placeholder: "name", help: "Of -evidence: about one member only." },
  segment: {
    kind: "string",
    initial: "_all",
    placeholder: "name",
    help: "Consul Enterprise only: members of one network segment.",
  },
  status: {
    kind: "string",
    initial: ".*",
    placeholder: "regexp",
    help: "Only members whose status matches: alive, leaving, left or failed.",
  },
  wan: { kind: "bool", initial: false, help: "The pool of servers of all datacenters, asked of a server." },
  ...clientFlags,
} as const;

export const command = defineCommand({
  usage: "consul members [options]",
  description: `
Lists the members of the cluster the agent belongs to, with their gossip address and status. "failed" means that a member
stopped answering, "left" that it said goodbye; both stay listed for 72 hours.

Exits with 2 when no member matches, so that scripts can ask whether one is there.`,
  examples: [
    { purpose: "List the members", line: "consul members" },
    { purpose: "Find out whether any failed", line: "consul members -status=failed" },
    { purpose: "Find out why one failed", line: "consul members -evidence -node=node-b" },
    { purpose: "List the servers of all datacenters", line: "consul members -wan" },
  ],
  flags,
  run,
});

interface Row {
  readonly name: string;
  readonly address: string;
  readonly status: string;
  readonly tags: Readonly<Record<string, string>>;
}

const statuses = ["none", "alive", "leaving", "left", "failed"];

async function run(call: Call<typeof flags>): Promise<number> {
  const { context, flags } = call;
  const matches = compileRegexp(flags.status);
  if ("error" in matches) throw new CommandError(`Failed to compile status regexp: ${matches.error}`);
  const api = await openApi(call);
  if (flags.evidence) return evidence(call, api);
  const answer = await orFail(
    "Error retrieving members",
    api.getJson("/v1/agent/members", { segment: flags.segment, ...(flags.wan && { wan: "1" }) }),
  );
  const rows = (Array.isArray(answer) ? answer : []).map(rowOf).filter((row) => matches.test(row.status));
  if (rows.length === 0) return 2;
  const segment = (row: Row): string => row.tags["segment"] ?? "";
  rows.sort((left, right) => compare(segment(left), segment(right)) || compare(left.name, right.name));
  say(context, table(flags.detailed ? detailed(rows) : standard(rows)));
  return 0;
}

async function evidence(call: Call<typeof flags>, api: Api): Promise<number> {
  const { context, flags } = call;
  if (flags.format !== "pretty" && flags.format !== "json")
    throw new CommandError(`Invalid format "${flags.format}": use pretty or json`);
  const query = { ...(flags.node !== "" && { node: flags.node }), ...(flags.wan && { wan: "1" }) };
  const answer = await orFail("Error retrieving evidence", api.getJson("/v1/agent/evidence", query));
  say(context, flags.format === "json" ? formatJson(answer, "    ") : evidenceTable(answer));
  return 0;
}

function rowOf(json: Json): Row {
  const member = isObject(json) ? json : {};
  const tags: Record<string, string> = {};
  if (isObject(member["Tags"])) for (const [key, value] of Object.entries(member["Tags"])) tags[key] = String(value);
  if ((tags["segment"] ?? "") === "") tags["segment"] = tags["role"] === "consul" ? "<all>" : "<default>";
  const host = String(member["Addr"] ?? "");
  const port = Number(member["Port"] ?? 0);
  return {
    name: String(member["Name"] ?? ""),
    address: formatAddress({ host, port }),
    status: statuses[Number(member["Status"] ?? 0)] ?? "unknown",
    tags,
  };
}

function standard(rows: readonly Row[]): string[][] {
  const lines = rows.map(({ name, address, status, tags }) => {
    const type = tags["role"] === "node" ? "client" : tags["role"] === "consul" ? "server" : undefined;
    if (type === undefined) return [name, address, status, "unknown", "", "", "", ""];
    // The tag is "1.8.7:" and then the commit it was built from, if known.
    const build = tags["build"] === undefined || tags["build"] === "" ? "< 0.3" : (tags["build"].split(":")[0] as string);
    return [name, address, status, type, build, tags["vsn"] ?? "", tags["dc"] ?? "", tags["segment"] ?? ""];
  });
  return [["Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Segment"], ...lines];
}

function detailed(rows: readonly Row[]): string[][] {
  const lines = rows.map(({ name, address, status, tags }) => {
    const pairs = Object.entries(tags).sort(([left], [right]) => compare(left, right));
    return [name, address, status, pairs.map(([key, value]) => `${key}=${value}`).join(",")];
  });
  return [["Node", "Address", "Status", "Tags"], ...lines];
}

function compare(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
