/**
 * An agent inside your process.
 *
 * ```ts
 * const agent = await createAgent();
 * await agent.local.registerService({ name: "web", port: 80 });
 * const services = await (await agent.fetch("/v1/catalog/services")).json();
 * await agent.stop();
 * ```
 */
import type { AgentConfig } from "../../core/config/config.ts";
import { checkDefinition, serviceDefinition } from "../../core/config/definition-defaults.ts";
import type { CheckDefinition, ServiceDefinition } from "../../core/config/definitions.ts";
import { emptySources, loadConfig } from "../../core/config/load.ts";
import type { AgentApi, ClusterApi, StoreApi } from "../../core/plugin/agent-api.ts";
import type { AnyPlugin } from "../../core/plugin/host.ts";
import { type Address, formatAddress, type Host, type Runtime } from "../../core/ports/mod.ts";
import { AgentError } from "../../core/types/errors.ts";
import { captureHttp } from "../shared/capture-http.ts";
import type { RootLogger } from "../shared/logger.ts";
import { compose } from "./container.ts";

export interface CreateAgentOptions {
  /** Keys as in a configuration file: `{ node_name: "a", datacenter: "dc2" }`. */
  readonly config?: Readonly<Record<string, unknown>>;
  /**
   * "random" (default): every surface on a free port of 127.0.0.1. "none": no sockets at all; `fetch` still answers.
   * "configured": the ports of `config`, or Consul's.
   */
  readonly listen?: "random" | "none" | "configured";
  /** Keep the data in this folder. Without it everything stays in memory. */
  readonly dataDir?: string;
  /** Beside ours. */
  readonly plugins?: readonly AnyPlugin[];
  /** Log lines in Consul's form. Without it the agent is silent. */
  readonly log?: (line: string) => void;
}

/** A running agent. */
export interface AgentHandle {
  readonly config: AgentConfig;
  readonly nodeId: string;
  /** Of the HTTP API, "http://127.0.0.1:49152"; undefined without sockets. */
  readonly url: string | undefined;
  /** Where DNS is answered; undefined without sockets. */
  readonly dns: Address | undefined;
  /** Reads and writes of the catalog, typed. */
  readonly store: StoreApi;
  readonly cluster: ClusterApi;
  /** This agent's own services and checks. Only what differs from the defaults need be given. */
  readonly local: {
    registerService(
      definition: Partial<Omit<ServiceDefinition, "checks">> & {
        readonly name: string;
        readonly checks?: readonly Partial<CheckDefinition>[];
      },
    ): Promise<void>;
    deregisterService(id: string): Promise<void>;
    registerCheck(definition: Partial<CheckDefinition> & { readonly name: string }): Promise<void>;
    deregisterCheck(id: string): Promise<void>;
    updateTtl(checkId: string, status: "passing" | "warning" | "critical", output?: string): Promise<void>;
  };
  /** The whole agent as plugins see it. */
  readonly api: AgentApi;
  /** Asks the HTTP API in this process, with or without sockets: a path, or a Request. */
  fetch(input: string | Request, init?: RequestInit): Promise<Response>;
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface EmbeddedParts {
  readonly createRuntime: (options: {
    logSink: (line: string) => void;
    logLevel: "error" | "info";
  }) => Runtime & { readonly host: Host; readonly logger: RootLogger };
  readonly httpPlugin: AnyPlugin;
  readonly dnsPlugin: AnyPlugin;
  readonly watchesPlugin: AnyPlugin;
}

/** Resolves when the agent leads, has taken writes, and its node is in the catalog. */
export async function createEmbeddedAgent(parts: EmbeddedParts, options: CreateAgentOptions = {}): Promise<AgentHandle> {
  const listen = options.listen ?? "random";
  const runtime = parts.createRuntime({
    logSink: options.log ?? (() => {}),
    logLevel: options.log === undefined ? "error" : "info",
  });
  const http = captureHttp(listen === "none" ? undefined : runtime.httpServer);
  const config = await loadConfig(
    {
      ...emptySources,
      devMode: options.dataDir === undefined,
      freePorts: listen !== "configured",
      sections: (options.plugins ?? []).flatMap((plugin) => (plugin.config === undefined ? [] : [plugin.config.key])),
      fragments: [JSON.stringify(defaults(options, listen)), JSON.stringify(options.config ?? {})],
    },
    runtime.host,
  );
  if (options.log !== undefined) runtime.logger.setLevel(config.logLevel);
  const ours = [parts.httpPlugin, parts.watchesPlugin, ...(listen === "none" ? [] : [parts.dnsPlugin])];
  const plugins = [...ours, ...(options.plugins ?? [])];
  let fatal: AgentError | undefined;
  const agent = await compose({ ...runtime, httpServer: http }, config, plugins, {
    sockets: listen !== "none",
    onEnd: (code) => {
      if (code !== 0)
        fatal = new AgentError("storage-failed", { message: "The agent stopped: its log can no longer be written" });
      void agent.stop();
    },
  });
  await agent.start();
  await agent.ready();

  const [httpAddress] = listen === "none" ? [] : agent.addresses("http");
  const [dns] = agent.addresses("dns");
  const base = httpAddress !== undefined && "host" in httpAddress ? `http://${formatAddress(httpAddress)}` : undefined;
  const stop = async (): Promise<void> => {
    await agent.stop();
    if (fatal !== undefined) throw fatal;
  };
  return {
    get config() {
      return agent.config;
    },
    nodeId: agent.nodeId,
    url: base,
    dns: dns !== undefined && "host" in dns ? dns : undefined,
    store: agent.store,
    cluster: agent.cluster,
    api: agent,
    local: {
      registerService: (definition) =>
        agent.local.registerService(
          serviceDefinition({ ...definition, checks: (definition.checks ?? []).map(checkDefinition) }),
          "file",
        ),
      deregisterService: (id) => agent.local.deregisterService(id),
      registerCheck: (definition) => agent.local.registerCheck(checkDefinition(definition), "file"),
      deregisterCheck: (id) => agent.local.deregisterCheck(id),
      updateTtl: (checkId, status, output = "") => agent.local.updateTtl(checkId, status, output),
    },
    fetch: (input, init) =>
      http.fetch(typeof input === "string" ? new Request(new URL(input, base ?? "http://agent"), init) : input),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function defaults(options: CreateAgentOptions, listen: "random" | "none" | "configured"): Record<string, unknown> {
  const role = options.dataDir === undefined ? {} : { server: true, bootstrap: true, data_dir: options.dataDir };
  const ports = listen === "configured" ? {} : { ports: { http: 0, dns: 0, server: 0, serf_lan: 0, serf_wan: 0 } };
  return { ...role, ...ports, bind_addr: "127.0.0.1", client_addr: "127.0.0.1" };
}
