/**
 * The configuration's front page: from files, fragments and flags to one checked {@link AgentConfig}.
 *
 *   built-in defaults ─▶ -dev defaults ─▶ list flags ─▶ files and directories, as given ─▶ other flags ─▶ -hcl fragments ─▶ fixed values
 *        each source:  text ── hcl.ts / json.ts ──▶ values ── decode.ts (keys.ts) ──▶ settings
 *        all together: ── merge.ts ──▶ settings ── build.ts ──▶ AgentConfig ── validate.ts, unbuilt.ts ──▶ accepted
 *
 * Lists of all sources are joined in that order, maps are merged by key, of single values the last counts. Order and
 * error texts are Consul 1.8's. Tested from tests/cases/config, whose expectations were taken from Consul itself.
 */
import type { Host } from "../ports/host.ts";
import { type Bytes, strictText, text } from "../types/bytes.ts";
import { AgentError, messageOf } from "../types/errors.ts";
import { buildConfig } from "./build.ts";
import type { AgentConfig } from "./config.ts";
import { decodeConfig, type Settings } from "./decode.ts";
import { defaultSettings, devSettings, fixedSettings } from "./defaults.ts";
import type { ServiceDefinition } from "./definitions.ts";
import { serviceFromFile } from "./definitions-file.ts";
import { errorList } from "./go-text.ts";
import { type HclObject, parseHcl, sourceCharactersMax } from "./hcl.ts";
import { parseJson } from "./json.ts";
import { mergeSettings } from "./merge.ts";
import { refuseUnbuilt, warnEnterprise } from "./unbuilt.ts";
import { validateConfig } from "./validate.ts";

/** What the command line names; core/config/flags.ts makes it. */
export interface ConfigSources {
  /** `-dev`. */
  readonly devMode: boolean;
  /** Flags that may be repeated: they come before the files. */
  readonly lists: Settings;
  /** The other flags: they come after the files. */
  readonly scalars: Settings;
  /** Files and directories in the order of the command line. */
  readonly files: readonly string[];
  /** `-config-format`; "" goes by each file's extension. */
  readonly format: string;
  /** `-hcl`. */
  readonly fragments: readonly string[];
  /** Top-level keys that plugins own. They reach {@link AgentConfig.sections} as they were written. */
  readonly sections?: readonly string[];
  /** Only look at what the files say (`validate`): flags such as -server may still be added, so no role is demanded. */
  readonly validateOnly?: boolean;
  /** A port of 0 means any free one instead of none. For embedding and tests; Consul knows no such thing. */
  readonly freePorts?: boolean;
}

/** The part of {@link Host} that reading a configuration needs. */
export type ConfigHost = Pick<Host, "readFile" | "stat" | "readDirectory" | "interfaces" | "hostname" | "fileDescriptorsMax">;

/** No flags and no files. Spread it and add what there is. */
export const emptySources: ConfigSources = {
  devMode: false,
  lists: new Map(),
  scalars: new Map(),
  files: [],
  format: "",
  fragments: [],
};

interface Source {
  readonly name: string;
  readonly content: Bytes | string;
  readonly format: "hcl" | "json";
}

/** Rejects with `AgentError("config-invalid")`; the text is Consul's, without the "==> " that the command line adds. */
export async function loadConfig(sources: ConfigSources, host: ConfigHost): Promise<AgentConfig> {
  if (sources.format !== "" && sources.format !== "hcl" && sources.format !== "json") {
    throw refuse("config: -config-format must be either 'hcl' or 'json'");
  }
  const warnings: string[] = [];
  const files = await readSources(sources, host, warnings);
  const fragments = sources.fragments.map((content, at): Source => ({ name: `flags-${at}.hcl`, content, format: "hcl" }));
  const decode = (source: Source): Settings => decodeSource(source, sources.sections ?? [], warnings);

  const merged = mergeSettings([
    defaultSettings,
    sources.devMode ? devSettings : new Map(),
    sources.lists,
    ...files.map(decode),
    sources.scalars,
    ...fragments.map(decode),
    fixedSettings,
  ]);
  warnEnterprise(merged, warnings);
  const config = buildConfig(merged, {
    host,
    devMode: sources.devMode,
    freePorts: sources.freePorts ?? false,
    sections: sources.sections ?? [],
    warnings,
  });
  await validateConfig(config, { settings: merged, host, warnings, validateOnly: sources.validateOnly ?? false });
  refuseUnbuilt(merged, config);
  // To expect one server is to be it.
  return config.bootstrapExpect === 1 ? { ...config, bootstrap: true, bootstrapExpect: 0, warnings } : { ...config, warnings };
}

/** The services of one file, as `services register FILE` takes them. Rejects as {@link loadConfig} does. */
export async function loadServices(path: string, host: Pick<Host, "readFile">): Promise<readonly ServiceDefinition[]> {
  let content: Bytes;
  try {
    content = await host.readFile(path);
  } catch (error) {
    throw refuse(messageOf(error), error);
  }
  const settings = decodeSource({ name: path, content, format: path.endsWith(".json") ? "json" : "hcl" }, [], []);
  const problems: string[] = [];
  const services = ((settings.get("services") ?? []) as readonly Settings[]).map((service) => serviceFromFile(service, problems));
  if (problems.length > 0) throw refuse(errorList(problems));
  return services;
}

async function readSources(sources: ConfigSources, host: ConfigHost, warnings: string[]): Promise<readonly Source[]> {
  const found: Source[] = [];
  for (const path of sources.files) {
    for (const file of await filesOf(path, host)) {
      const format = sources.format === "" ? formatOf(file) : (sources.format as "hcl" | "json");
      if (format === undefined) {
        warnings.push(`skipping file ${file}, extension must be .hcl or .json, or config format must be set`);
        continue;
      }
      found.push({ name: file, format, content: await read(file, host) });
    }
  }
  return found;
}

/** The path itself, or the files in that directory in the order of their names. Directories inside are passed over. */
async function filesOf(path: string, host: ConfigHost): Promise<readonly string[]> {
  const stat = await host.stat(path);
  if (stat === undefined) throw refuse(`config: Open failed on ${path}. open ${path}: no such file or directory`);
  if (stat.kind !== "directory") return [path];
  const files: string[] = [];
  for (const name of await host.readDirectory(path)) {
    const inside = `${path.replace(/\/+$/, "")}/${name}`;
    if ((await host.stat(inside))?.kind !== "directory") files.push(inside);
  }
  return files;
}

async function read(path: string, host: ConfigHost): Promise<Bytes> {
  try {
    return await host.readFile(path);
  } catch (error) {
    throw refuse(`config: failed to read ${path}: ${messageOf(error)}`, error);
  }
}

function formatOf(path: string): "hcl" | "json" | undefined {
  if (path.endsWith(".hcl")) return "hcl";
  return path.endsWith(".json") ? "json" : undefined;
}

function decodeSource(source: Source, sections: readonly string[], warnings: string[]): Settings {
  const failed = (problem: string): AgentError => refuse(`failed to parse ${source.name}: ${problem}`);
  let raw: HclObject;
  try {
    raw = parseSource(source);
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    throw failed(error.message);
  }
  const { settings, problems, unknown } = decodeConfig(raw, { format: source.format, sections });
  if (problems.length > 0)
    throw failed(`${problems.length} error(s) decoding:\n\n${problems.map((problem) => `* ${problem}`).join("\n")}`);
  const refused = unknown.filter((key) => key !== "acl_enforce_version_8");
  if (refused.length < unknown.length) warnings.push('config key "acl_enforce_version_8" is deprecated and should be removed');
  if (refused.length > 0) throw failed(errorList(refused.map((key) => `invalid config key ${key}`)));
  return gatherSingles(settings);
}

/** `service` and `check` join `services` and `checks` here, because later sources would otherwise replace them. */
function gatherSingles(settings: Settings): Settings {
  for (const [single, list] of [
    ["service", "services"],
    ["check", "checks"],
  ] as const) {
    const one = settings.get(single);
    if (one === undefined) continue;
    settings.delete(single);
    settings.set(list, [...((settings.get(list) ?? []) as readonly Settings[]), one as Settings]);
  }
  return settings;
}

function parseSource(source: Source): HclObject {
  if (source.content.length > sourceCharactersMax) throw refuse(`larger than ${sourceCharactersMax} bytes`);
  if (source.content.length === 0) return {};
  const content = typeof source.content === "string" ? source.content : decodeUtf8(source.content, source.format);
  if (source.format === "hcl") return parseHcl(content);
  const value = parseJson(content);
  if (value === null) return {};
  if (typeof value === "object" && !Array.isArray(value)) return value;
  const kind = Array.isArray(value) ? "array" : typeof value === "boolean" ? "bool" : typeof value;
  throw refuse(`json: cannot unmarshal ${kind} into Go value of type map[string]interface {}`);
}

/** JSON takes any bytes and shows the broken ones as U+FFFD; HCL refuses them and says where. */
function decodeUtf8(content: Bytes, format: "hcl" | "json"): string {
  const strict = strictText(content);
  if (strict !== undefined) return strict;
  const lenient = text(content);
  if (format === "json") return lenient;
  const before = lenient.slice(0, lenient.indexOf("\ufffd")).split("\n");
  throw refuse(`At ${before.length}:${(before[before.length - 1] as string).length + 1}: illegal UTF-8 encoding`);
}

function refuse(message: string, cause?: unknown): AgentError {
  return new AgentError("config-invalid", { message, cause });
}
