/** The flags that choose agents by regular expressions, as `event` and `exec` have them. */
import { compileRegex } from "../../core/structures/linear-regex.ts";
import { CommandError } from "./command.ts";

export const filterFlags = {
  node: { kind: "string", initial: "", placeholder: "regexp", help: "Only agents whose node name matches." },
  service: {
    kind: "string",
    initial: "",
    placeholder: "regexp",
    help: "Only agents that registered a service whose ID matches.",
  },
  tag: {
    kind: "string",
    initial: "",
    placeholder: "regexp",
    help: "With -service: only where that service has a tag that matches.",
  },
} as const;

interface Filters {
  readonly node: string;
  readonly service: string;
  readonly tag: string;
}

/** Throws {@link CommandError} for what no agent could understand. */
export function checkFilters({ node, service, tag }: Filters): void {
  compile("node", node);
  compile("service", service);
  if (tag !== "" && service === "") throw new CommandError("Cannot provide tag filter without service filter.");
  compile("tag", tag);
}

function compile(kind: string, source: string): void {
  const compiled = compileRegex(source);
  if ("fault" in compiled) throw new CommandError(`Failed to compile ${kind} filter regexp: ${compiled.fault}`);
}

/** As parameters of /v1/event/fire. */
export function filterQuery({ node, service, tag }: Filters): Readonly<Record<string, string>> {
  return { ...(node !== "" && { node }), ...(service !== "" && { service }), ...(tag !== "" && { tag }) };
}
