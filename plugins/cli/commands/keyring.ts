/** `consul keyring`: the keys that encrypt gossip, listed and rotated in the pools of all datacenters. */
import { utf8 } from "../../../core/types/bytes.ts";
import { messageOf } from "../../../core/types/errors.ts";
import { type Api, openApi } from "../api.ts";
import { clientFlags } from "../client-flags.ts";
import { type Call, CommandError, complain, defineCommand, say } from "../command.ts";
import { commandHelp } from "../command-help.ts";
import { isObject, type Json } from "../json.ts";
import type { QueryParameters } from "../../../core/codec/go-url.ts";

const flags = {
  install: { kind: "string", initial: "", placeholder: "key", help: "Install a key on all members. It decrypts from then on." },
  use: {
    kind: "string",
    initial: "",
    placeholder: "key",
    help: "Encrypt with this key from now on. It must have been installed on all members before.",
  },
  remove: {
    kind: "string",
    initial: "",
    placeholder: "key",
    help: "Remove a key from all members. The one that encrypts cannot be removed.",
  },
  list: { kind: "bool", initial: false, help: "List all keys, and how many members hold each." },
  "list-primary": { kind: "bool", initial: false, help: "List the keys that encrypt, and how many members use each." },
  "local-only": {
    kind: "bool",
    initial: false,
    help: "Ask only this datacenter's LAN pool. For -list alone: keys are changed everywhere or nowhere.",
  },
  "relay-factor": {
    kind: "int",
    initial: 0,
    help: "Let each member answer through so many others as well, for networks that lose answers. 0 to 5.",
  },
  ...clientFlags,
} as const;

const relayFactorMax = 5;
const path = "/v1/operator/keyring";

export const command = defineCommand({
  usage: "consul keyring [options]",
  description: `
Manages the keys that encrypt gossip, where encryption is on. A change reaches every member of the LAN and the WAN pools of all
datacenters, so it is made once, at any server; client agents refuse.

To rotate a key without an interruption: install the new one, use it, remove the old one, and list between the steps. Each
step succeeds only when every member did it, and may be repeated.

The exit code is 1 when a member refused or did not answer.`,
  examples: [
    { purpose: "See which keys there are, and that all members have them", line: "consul keyring -list" },
    { purpose: "Install a new key", line: "consul keyring -install=$(consul keygen)" },
  ],
  flags,
  run,
});

type Action = { readonly kind: "install" | "use" | "remove"; readonly key: string } | { readonly kind: "list" | "list-primary" };

async function run(call: Call<typeof flags>): Promise<number> {
  const { context, flags: given } = call;
  const actions = actionsOf(given);
  const [action] = actions;
  if (action === undefined) {
    context.host.stderr(commandHelp(command));
    return 1;
  }
  if (actions.length > 1) throw new CommandError("Only a single action is allowed");
  const relayFactor = given["relay-factor"];
  if (relayFactor < 0 || relayFactor > relayFactorMax)
    throw new CommandError(`Error parsing relay factor: Relay factor must be in range: [0, ${relayFactorMax}]`);
  // As in Consul, -list-primary does not count as a list here.
  if (given["local-only"] && action.kind !== "list")
    throw new CommandError("Error validating local-only: local-only can only be set for list requests");
  const query: QueryParameters = {
    ...(relayFactor > 0 && { "relay-factor": String(relayFactor) }),
    ...(given["local-only"] && { "local-only": "true" }),
  };
  const api = await openApi(call);
  say(context, `==> ${announcements[action.kind]}...`);
  try {
    for (const line of await act(api, action, query)) say(context, line);
  } catch (error) {
    complain(context, `error: ${messageOf(error)}`);
    return 1;
  }
  return 0;
}

const announcements = {
  install: "Installing new gossip encryption key",
  use: "Changing primary gossip encryption key",
  remove: "Removing gossip encryption key",
  list: "Gathering installed encryption keys",
  "list-primary": "Gathering installed primary encryption keys",
} as const;
const methods = { install: "POST", use: "PUT", remove: "DELETE" } as const;

function actionsOf(given: Call<typeof flags>["flags"]): readonly Action[] {
  const changes = (["install", "use", "remove"] as const).flatMap((kind): Action[] =>
    given[kind] === "" ? [] : [{ kind, key: given[kind] }],
  );
  const lists = (["list", "list-primary"] as const).flatMap((kind): Action[] => (given[kind] ? [{ kind }] : []));
  return [...changes, ...lists];
}

/** The lines to print. */
async function act(api: Api, action: Action, query: QueryParameters): Promise<readonly string[]> {
  if (!("key" in action)) {
    const answer = await api.getJson(path, query);
    const pools = Array.isArray(answer) ? answer : [];
    return pools.flatMap((pool: Json) =>
      isObject(pool) ? poolLines(pool, action.kind === "list" ? "Keys" : "PrimaryKeys") : [],
    );
  }
  await api.request({ method: methods[action.kind], path, query, body: utf8(JSON.stringify({ Key: action.key })) });
  return [];
}

function poolLines(pool: { readonly [field: string]: Json }, keys: "Keys" | "PrimaryKeys"): readonly string[] {
  const segment = pool["Segment"] ?? "";
  const name = (pool["WAN"] === true ? "WAN" : `${pool["Datacenter"]} (LAN)`) + (segment === "" ? "" : ` [${segment}]`);
  const said = entriesOf(pool["Messages"]).map(([member, message]) => `  ===> ${member}: ${message}`);
  const held = entriesOf(pool[keys]).map(([key, count]) => `  ${key} [${count}/${pool["NumNodes"]}]`);
  return ["", `${name}:`, ...said, ...held];
}

function entriesOf(map: Json | undefined): readonly (readonly [string, Json])[] {
  return isObject(map) ? Object.entries(map) : [];
}
