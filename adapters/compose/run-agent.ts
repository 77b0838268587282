/**
 * `consul agent` as a process: configuration, banner, log, signals, exit code.
 *
 *   load configuration ─► banner ─► start ─► "Consul agent running!" ─► a signal, `consul leave` or a dead disk ─► stop
 *
 * SIGINT and SIGTERM leave only where the configuration says so (servers do not, by default) and then exit 0; without a
 * leave, or where it is refused (core/agent/server-leave.ts), the exit code is 1. A second signal, or 15 s, ends a leave
 * that hangs. SIGHUP reads the configuration again.
 */
import type { Agent } from "../../core/agent/agent.ts";
import { consulVersion } from "../../core/version.ts";
import type { AgentConfig, ListenAddress } from "../../core/config/config.ts";
import { sourcesFromFlags } from "../../core/config/flags.ts";
import { loadConfig } from "../../core/config/load.ts";
import type { AnyPlugin } from "../../core/plugin/host.ts";
import type { Host } from "../../core/ports/host.ts";
import type { LogLevel, Runtime } from "../../core/ports/mod.ts";
import { utf8 } from "../../core/types/bytes.ts";
import { AgentError, messageOf } from "../../core/types/errors.ts";
import type { Millis } from "../../core/types/ids.ts";
import { LogFile } from "../shared/log-file.ts";
import type { RootLogger } from "../shared/logger.ts";
import { compose } from "./container.ts";

const gracefulLeaveMax: Millis = 15_000;

export interface RunAgentOptions {
  readonly runtime: Runtime & { readonly host: Host; readonly logger: RootLogger };
  readonly plugins: readonly AnyPlugin[];
  /** As given on the command line, in order. */
  readonly flags: readonly { readonly name: string; readonly value: string }[];
}

/** Resolves with the exit code. Rejects with `config-invalid` before anything was started. */
export async function runAgent(options: RunAgentOptions): Promise<number> {
  const { runtime } = options;
  const sources = sourcesFromFlags(options.flags);
  const { host, logger } = runtime;
  const config = await loadConfig(sources, host);
  const log = logger.child("agent");
  logger.setLevel(config.logLevel);
  logger.setJson(config.logJson);
  const files = await openLogFile(config, runtime);
  host.stdout("==> Starting Consul agent...\n");

  let end: (outcome: Outcome) => void = () => {};
  const ended = new Promise<Outcome>((resolve) => {
    end = resolve;
  });
  const exit = async (code: number): Promise<number> => {
    log.log("info", "Exit code", { code });
    await files.flushed();
    return code;
  };
  const fail = (error: unknown): Promise<number> => {
    logger.openGate();
    log.log("error", "Error starting agent", { error: messageOf(error) });
    return exit(1);
  };

  // From the first moment on: a signal that comes while the agent starts is obeyed when it has.
  for (const signal of ["SIGINT", "SIGTERM"] as const) host.onSignal(signal, () => end({ kind: "signal", signal }));
  let running: Agent | undefined;
  host.onSignal("SIGHUP", () => {
    if (running === undefined) return; // what it reads at its start is new
    log.log("info", "Caught", { signal: "hangup" });
    log.log("info", "Reloading configuration...");
    running.reload().catch((error: unknown) => log.log("error", "Failed to reload configuration", { error: messageOf(error) }));
  });

  let agent: Agent;
  try {
    agent = await compose(runtime, config, options.plugins, {
      sockets: true,
      readConfig: () => loadConfig(sources, host),
      setLogLevel: (level) => {
        logger.setLevel(level);
        files.setLevel(level);
      },
      onEnd: (code) => end({ kind: "ended", code }),
    });
    host.stdout(banner(config, agent.nodeId));
    logger.openGate();
    await agent.start();
    if (config.pidFile !== "")
      await host
        .writeFile(config.pidFile, utf8(`${host.pid}\n`), 0o644)
        .catch((error: unknown) => Promise.reject(new Error(`Could not open pid file: ${messageOf(error)}`)));
  } catch (error) {
    return fail(error);
  }
  running = agent;
  host.stdout("==> Consul agent running!\n");

  const code = await finish(agent, await ended, options);
  if (config.pidFile !== "") await host.removeFile(config.pidFile).catch(() => undefined);
  return exit(code);
}

type Outcome =
  | { readonly kind: "ended"; readonly code: number }
  | { readonly kind: "signal"; readonly signal: "SIGINT" | "SIGTERM" };

async function finish(agent: Agent, outcome: Outcome, { runtime }: RunAgentOptions): Promise<number> {
  const { host } = runtime;
  const log = runtime.logger.child("agent");
  let code = outcome.kind === "ended" ? outcome.code : 1;
  if (outcome.kind === "signal") {
    log.log("info", "Caught", { signal: outcome.signal === "SIGINT" ? "interrupt" : "terminated" });
    const graceful = outcome.signal === "SIGINT" ? !agent.config.skipLeaveOnInterrupt : agent.config.leaveOnTerminate;
    if (!graceful) log.log("info", "Graceful shutdown disabled. Exiting");
    else {
      log.log("info", "Gracefully shutting down agent...");
      const interrupted = new Promise<"interrupted">((resolve) => {
        for (const signal of ["SIGINT", "SIGTERM"] as const) host.onSignal(signal, () => resolve("interrupted"));
        runtime.clock.after(gracefulLeaveMax, () => resolve("interrupted"));
      });
      const left = agent.leave().then(
        () => "left" as const,
        (error: unknown) => {
          log.log("warn", "Shutting down without leaving", { reason: messageOf(error) });
          return "refused" as const;
        },
      );
      if ((await Promise.race([left, interrupted])) === "left") code = 0;
    }
  }
  await agent.stop();
  return code;
}

/** Consul's, where none is configured. */
const logRotateDurationDefault: Millis = 24 * 3_600_000;

interface LogFiles {
  setLevel(level: LogLevel): void;
  flushed(): Promise<void>;
}

/** A configured log file takes every line too. Rejects with `config-invalid` when it cannot be written. */
async function openLogFile(config: AgentConfig, { host, logger, clock }: RunAgentOptions["runtime"]): Promise<LogFiles> {
  if (config.logFile === "") return { setLevel: () => {}, flushed: async () => {} };
  const file = new LogFile({
    path: config.logFile,
    rotateBytes: config.logRotateBytes,
    rotateDuration: config.logRotateDuration || logRotateDurationDefault,
    maxFiles: config.logRotateMaxFiles,
    host,
    clock,
    onProblem: (problem) => host.stderr(`consul: cannot write the log file: ${problem}\n`),
  });
  await file.begin().catch((cause: unknown) => {
    throw new AgentError("config-invalid", { message: `Failed to setup logging: ${messageOf(cause)}`, cause });
  });
  const attach = (level: LogLevel) => logger.addSink((line) => file.write(line), { level, json: config.logJson });
  let detach = attach(config.logLevel);
  return {
    setLevel(level) {
      detach();
      detach = attach(level);
    },
    flushed: () => file.flushed(),
  };
}

function banner(config: AgentConfig, nodeId: string): string {
  const port = (addresses: readonly ListenAddress[], given: number): number => (addresses.length === 0 ? -1 : given);
  const clients = config.clientAddrs.join(" ");
  const lines = [
    ["Version", `'${consulVersion}'`],
    ["Node ID", `'${nodeId}'`],
    ["Node name", `'${config.nodeName}'`],
    ["Datacenter", `'${config.datacenter}' (Segment: '${config.server ? "<all>" : ""}')`],
    ["Server", `${config.server} (Bootstrap: ${config.bootstrap})`],
    [
      "Client Addr",
      `[${clients}] (HTTP: ${port(config.httpAddrs, config.ports.http)}, HTTPS: ${port(config.httpsAddrs, config.ports.https)}, gRPC: ${config.ports.grpc}, DNS: ${port(config.dnsAddrs, config.ports.dns)})`,
    ],
    ["Cluster Addr", `${config.advertiseAddr} (LAN: ${config.ports.serfLan}, WAN: ${config.ports.serfWan})`],
    ["Encrypt", `Gossip: ${config.encrypt !== ""}, TLS-Outgoing: false, TLS-Incoming: false, Auto-Encrypt-TLS: false`],
  ];
  const rows = lines.map(([name, value]) => `${(name as string).padStart(18)}: ${value}`);
  return `${rows.join("\n")}\n\n==> Log data will now stream in as it occurs:\n\n`;
}
