/** `consul services register`: adds services to the local agent, from flags or from files. */
import { goQuote } from "../../../core/config/go-text.ts";
import { utf8 } from "../../../core/types/bytes.ts";
import { openApi } from "../api.ts";
import { allSharedFlags } from "../client-flags.ts";
import { type Call, CommandError, defineCommand, orFail, say } from "../command.ts";
import type { Json } from "../json.ts";
import { readServiceFiles } from "../service-files.ts";
import { registrationBody } from "../service-registration.ts";

const flags = {
  address: { kind: "string", initial: "", help: "Where the service is reached. Default: the agent's address." },
  id: { kind: "string", initial: "", help: "Unique on the agent. Default: the name." },
  kind: {
    kind: "string",
    initial: "",
    help: "Set for proxies and gateways: connect-proxy, mesh-gateway, terminating-gateway, ingress-gateway.",
  },
  meta: { kind: "map", placeholder: "key=value", help: "Metadata. May be given several times." },
  name: { kind: "string", initial: "", help: "The service's name. Needed unless files are given." },
  port: { kind: "int", initial: 0, help: "Where the service listens." },
  tag: { kind: "list", placeholder: "text", help: "A tag. May be given several times." },
  "tagged-address": {
    kind: "map",
    placeholder: "tag=host:port",
    help: "Another address of the service: lan, wan, virtual or any. May be given several times.",
  },
  ...allSharedFlags,
} as const;

export const command = defineCommand({
  usage: "consul services register [options] [FILE...]",
  description: `
Registers services with the agent, which keeps them until they are deregistered. Either -name and other options describe
one, or each FILE holds a \`service\` or \`services\` in the format of the agent's configuration, HCL or JSON.

A service that should survive the agent's data directory belongs into the agent's configuration instead.`,
  examples: [
    { purpose: "Register a service by options", line: "consul services register -name=web -port=8080 -tag=v1" },
    { purpose: "Register what a file describes", line: "consul services register web.hcl" },
  ],
  flags,
  run,
});

async function run(call: Call<typeof flags>): Promise<number> {
  const { context, flags, args } = call;
  const taggedAddresses = Object.fromEntries(
    Object.entries(flags["tagged-address"]).map(([tag, text]) => [tag, serviceAddress(text)]),
  );
  if (args.length === 0 && flags.name === "")
    throw new CommandError("Service registration requires at least one argument or flags.");
  if (args.length > 0 && flags.name !== "") throw new CommandError("Service registration requires arguments or -id, not both.");
  const registrations =
    args.length > 0
      ? (await readServiceFiles(context, args)).map((service) => ({ name: service.name, body: registrationBody(service) }))
      : [{ name: flags.name, body: fromFlags(flags, taggedAddresses) }];

  const api = await openApi(call);
  for (const { name, body } of registrations) {
    await orFail(
      `Error registering service ${goQuote(name)}`,
      api.put("/v1/agent/service/register", {}, utf8(JSON.stringify(body))),
    );
    say(context, `Registered service: ${name}`);
  }
  return 0;
}

function fromFlags(given: Call<typeof flags>["flags"], taggedAddresses: Readonly<Record<string, Json>>): Json {
  return {
    Kind: given.kind,
    ID: given.id,
    Name: given.name,
    Tags: given.tag,
    Address: given.address,
    Port: given.port,
    Meta: given.meta,
    TaggedAddresses: taggedAddresses,
  };
}

/** "host:port", brackets round IPv6. The errors are those of Go's net.SplitHostPort and strconv.Atoi. */
function serviceAddress(text: string): Json {
  const refuse = (reason: string): never => {
    throw new CommandError(`Invalid Tagged Address: ${reason}`);
  };
  const split = /^(?:\[(?<bracketed>[^\]]*)\]|(?<plain>[^:[\]]*)):(?<port>[^:]*)$/.exec(text)?.groups;
  if (split === undefined)
    return refuse(`address ${text}: ${text.includes(":") ? "too many colons in address" : "missing port in address"}`);
  const port = split["port"] ?? "";
  if (!/^[+-]?\d{1,15}$/.test(port)) return refuse(`strconv.Atoi: parsing ${goQuote(port)}: invalid syntax`);
  return { Address: split["bracketed"] ?? split["plain"] ?? "", Port: Number(port) };
}
