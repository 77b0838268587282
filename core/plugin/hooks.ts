/**
 * Events that plugins may follow, change or answer. How answers combine is part of a hook's type.
 */
import type { ServiceDefinition } from "../config/definitions.ts";
import type { AgentConfig } from "../config/config.ts";
import type { Member } from "./agent-api.ts";

export interface HookTypes {
  /** Everyone is told; a listener that throws is logged and does not stop the others. */
  notify: {
    memberJoined: Member;
    memberFailed: Member;
    memberLeft: Member;
    leaderChanged: { readonly leader: string | undefined };
    configReloaded: AgentConfig;
    /** First of all: the store still answers. */
    agentStopping: Readonly<Record<string, never>>;
  };
  /** Each may change the value, in plugin order; throwing refuses it. */
  filter: {
    registerService: ServiceDefinition;
    /** What a reload read, before anything of it is applied. */
    reloadConfig: AgentConfig;
  };
  /** The first answer that is not undefined wins. */
  first: {
    authorize: { readonly token: string; readonly resource: string; readonly action: "read" | "write" };
  };
}

type Notify = HookTypes["notify"];
type Filter = HookTypes["filter"];
type First = HookTypes["first"];

export interface Hooks {
  onNotify<Name extends keyof Notify>(name: Name, listener: (event: Notify[Name]) => void): void;
  onFilter<Name extends keyof Filter>(name: Name, change: (value: Filter[Name]) => Filter[Name]): void;
  onFirst<Name extends keyof First>(name: Name, answer: (question: First[Name]) => boolean | undefined): void;
  notify<Name extends keyof Notify>(name: Name, event: Notify[Name]): void;
  filter<Name extends keyof Filter>(name: Name, value: Filter[Name]): Filter[Name];
  first<Name extends keyof First>(name: Name, question: First[Name]): boolean | undefined;
}

export function createHooks(onListenerError: (hook: string, error: unknown) => void): Hooks {
  const listeners = new Map<string, ((value: never) => unknown)[]>();
  const add = (name: string, listener: (value: never) => unknown): void => {
    const existing = listeners.get(name);
    if (existing === undefined) listeners.set(name, [listener]);
    else existing.push(listener);
  };
  return {
    onNotify: (name, listener) => add(`notify:${name}`, listener),
    onFilter: (name, change) => add(`filter:${name}`, change),
    onFirst: (name, answer) => add(`first:${name}`, answer),
    notify(name, event) {
      for (const listener of listeners.get(`notify:${name}`) ?? []) {
        try {
          listener(event as never);
        } catch (error) {
          onListenerError(name, error);
        }
      }
    },
    filter(name, value) {
      let current = value;
      for (const change of listeners.get(`filter:${name}`) ?? []) current = change(current as never) as typeof value;
      return current;
    },
    first(name, question) {
      for (const answer of listeners.get(`first:${name}`) ?? []) {
        const given = answer(question as never) as boolean | undefined;
        if (given !== undefined) return given;
      }
      return undefined;
    },
  };
}
