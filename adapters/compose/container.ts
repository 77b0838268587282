/**
 * The only file that names the container. One child container per agent: five agents in one process share nothing.
 *
 * Starting and stopping are not its business (core/agent/agent.ts); nothing in core knows that a container exists, and
 * `new Agent({...})` without it is just as good.
 */
import "reflect-metadata"; // must stay first: tsyringe refuses to load without it, and Bun evaluates CommonJS early
import { container, type DependencyContainer, instanceCachingFactory } from "tsyringe";
import { Agent } from "../../core/agent/agent.ts";
import { nodeIdentity } from "../../core/agent/identity.ts";
import type { AgentConfig } from "../../core/config/config.ts";
import type { AnyPlugin } from "../../core/plugin/host.ts";
import type { Runtime } from "../../core/ports/mod.ts";
import { AgentError } from "../../core/types/errors.ts";
import { AGENT, type AgentLife, CONFIG, LIFE, NODE_ID, PLUGINS, RUNTIME, STORAGE, type Token } from "./tokens.ts";

/** Opens the stores, settles who the agent is, and assembles it; not started yet. */
export async function compose(
  runtime: Runtime,
  config: AgentConfig,
  plugins: readonly AnyPlugin[],
  life: AgentLife,
): Promise<Agent> {
  if (runtime.openStorage === undefined) {
    throw new AgentError("config-invalid", { message: `The runtime "${runtime.name}" has no storage, not even in memory` });
  }
  const storage = await runtime.openStorage(config.dataDir);
  try {
    const scope = container.createChildContainer();
    provide(scope, RUNTIME, runtime);
    provide(scope, STORAGE, storage);
    provide(scope, CONFIG, config);
    provide(scope, PLUGINS, plugins);
    provide(scope, LIFE, life);
    provide(scope, NODE_ID, await nodeIdentity(config, storage.files, runtime.crypto, runtime.logger.child("agent")));
    scope.register(AGENT, {
      useFactory: instanceCachingFactory(
        (from) =>
          new Agent({
            runtime: take(from, RUNTIME),
            storage: take(from, STORAGE),
            config: take(from, CONFIG),
            nodeId: take(from, NODE_ID),
            plugins: take(from, PLUGINS),
            ...take(from, LIFE),
          }),
      ),
    });
    return take(scope, AGENT);
  } catch (error) {
    await storage.close();
    throw error;
  }
}

function provide<Value>(scope: DependencyContainer, token: Token<Value>, value: Value): void {
  scope.register(token, { useValue: value });
}

function take<Value>(scope: DependencyContainer, token: Token<Value>): Value {
  return scope.resolve<Value>(token);
}
