/**
 * How to reach the agent: from flags, then environment, then defaults. The precedence is that of Consul's API client,
 * which is why an empty flag counts as not given.
 */
import { goQuote } from "../../core/config/go-text.ts";
import type { TlsOptions } from "../../core/ports/streams.ts";
import { text, toBase64, utf8 } from "../../core/types/bytes.ts";
import { messageOf } from "../../core/types/errors.ts";
import { complain, CommandError } from "./command.ts";
import type { CliContext } from "./context.ts";
import { parseBool } from "./number-words.ts";

/** Values of the shared flags; a command without the server flags lacks the last three. */
export interface SharedFlagValues {
  readonly "http-addr": string;
  readonly token: string;
  readonly "token-file": string;
  readonly "ca-file": string;
  readonly "ca-path": string;
  readonly "client-cert": string;
  readonly "client-key": string;
  readonly "tls-server-name": string;
  readonly datacenter?: string;
  readonly stale?: boolean;
  readonly namespace?: string;
}

export interface ClientSettings {
  readonly scheme: "http" | "https";
  /** As given: "127.0.0.1:8500", ":8500", or a Unix socket's path. */
  readonly address: string;
  /** Set for a Unix socket. */
  readonly socketPath?: string;
  readonly token: string;
  /** The Authorization header's value. */
  readonly authorization?: string;
  readonly tls?: Partial<TlsOptions> & { readonly skipVerify?: boolean };
  /** Added to every request: dc, stale, ns. */
  readonly query: Readonly<Record<string, string>>;
}

const defaultAddress = "127.0.0.1:8500";

/** Rejects with `CommandError` ("Error connecting to Consul agent: …", or whatever is `attempted`). */
export async function clientSettings(
  context: CliContext,
  given: ReadonlySet<string>,
  flags: SharedFlagValues,
  attempted = "Error connecting to Consul agent",
): Promise<ClientSettings> {
  const fail = (reason: string): never => {
    throw new CommandError(`${attempted}: ${reason}`);
  };
  const env = (name: string): string => context.host.env[name] ?? "";
  const flag = (name: keyof SharedFlagValues): string => (given.has(name) ? String(flags[name]) : "");
  const setting = (name: keyof SharedFlagValues, variable: string): string => flag(name) || env(variable);

  const whole = setting("http-addr", "CONSUL_HTTP_ADDR") || defaultAddress;
  const schemeEnd = whole.indexOf("://");
  const prefix = schemeEnd < 0 ? "" : whole.slice(0, schemeEnd);
  const address = schemeEnd < 0 ? whole : whole.slice(schemeEnd + 3);
  if (!["", "http", "https", "unix"].includes(prefix)) fail(`Unknown protocol scheme: ${prefix}`);
  const scheme = prefix === "https" || booleanVariable(context, "CONSUL_HTTP_SSL", false) ? "https" : "http";

  // A file wins over a token, wherever either was named: that is how a wrong token in the environment is overruled.
  let token = setting("token", "CONSUL_HTTP_TOKEN");
  const tokenFile = setting("token-file", "CONSUL_HTTP_TOKEN_FILE");
  if (tokenFile !== "")
    token = (await readText(context, tokenFile, (reason) => fail(`Error loading token file: ${reason}`))).trim() || token;

  const credentials = env("CONSUL_HTTP_AUTH");
  const query: Record<string, string> = {};
  if (flags.datacenter) query["dc"] = flags.datacenter;
  if (flags.stale) query["stale"] = "";
  // Consul's client sends the namespace with every request, also those of commands that do not define the flag.
  const namespace = setting("namespace", "CONSUL_NAMESPACE");
  if (namespace !== "") query["ns"] = namespace;

  const tls = await tlsSettings(context, setting, fail);
  return {
    scheme,
    address,
    token,
    query,
    ...(prefix === "unix" && { socketPath: address }),
    // Without a colon there is a user and no password.
    ...(credentials !== "" && {
      authorization: `Basic ${toBase64(utf8(credentials.includes(":") ? credentials : `${credentials}:`))}`,
    }),
    ...(scheme === "https" && { tls }),
  };
}

/** Files are read and checked even when the scheme is http, as Consul does: a wrong path shows at once. */
async function tlsSettings(
  context: CliContext,
  setting: (name: keyof SharedFlagValues, variable: string) => string,
  fail: (reason: string) => never,
): Promise<NonNullable<ClientSettings["tls"]>> {
  const caFile = setting("ca-file", "CONSUL_CACERT");
  const caPath = setting("ca-path", "CONSUL_CAPATH");
  const certificate = setting("client-cert", "CONSUL_CLIENT_CERT");
  const key = setting("client-key", "CONSUL_CLIENT_KEY");
  const serverName = setting("tls-server-name", "CONSUL_TLS_SERVER_NAME");
  if ((certificate === "") !== (key === "")) fail("both client cert and client key must be provided");

  const caPem: string[] = [];
  if (caFile !== "") caPem.push(await readText(context, caFile, (reason) => fail(`Error loading CA File: ${reason}`)));
  else if (caPath !== "") {
    const there = await context.host.stat(caPath);
    if (there === undefined) fail(`lstat ${caPath}: no such file or directory`);
    const names =
      there?.kind === "directory" ? (await context.host.readDirectory(caPath)).map((name) => `${caPath}/${name}`) : [caPath];
    for (const name of names) caPem.push(await readText(context, name, (reason) => fail(`Error loading CA File: ${reason}`)));
  }
  return {
    skipVerify: !booleanVariable(context, "CONSUL_HTTP_SSL_VERIFY", true),
    ...(caPem.length > 0 && { caPem }),
    ...(certificate !== "" && {
      certificatePem: await readText(context, certificate, fail),
      keyPem: await readText(context, key, fail),
    }),
    ...(serverName !== "" && { serverName }),
  };
}

async function readText(context: CliContext, path: string, fail: (reason: string) => never): Promise<string> {
  try {
    return text(await context.host.readFile(path));
  } catch (error) {
    return fail(messageOf(error));
  }
}

function booleanVariable(context: CliContext, name: string, initial: boolean): boolean {
  const word = context.host.env[name];
  if (word === undefined || word === "") return initial;
  const value = parseBool(word);
  if (value === undefined)
    complain(
      context,
      `[WARN]  consul-api: could not parse ${name}: error="strconv.ParseBool: parsing ${goQuote(word)}: invalid syntax"`,
    );
  return value ?? initial;
}
