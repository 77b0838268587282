/** Filter expressions over what the agent itself holds; queries evaluate theirs in the catalog. */
import { compileFilter } from "../../core/catalog/filter.ts";
import { checkFields, serviceFields } from "../../core/catalog/filter-fields.ts";
import type { CheckRecord, ServiceFields } from "../../core/catalog/records.ts";
import { AgentError, messageOf } from "../../core/types/errors.ts";

/** Undefined for no filter. Throws `rejected` with Consul's text. */
export function serviceFilter(expression: string): ((service: ServiceFields) => boolean) | undefined {
  return compileFilter(expression, serviceFields);
}

const evaluatorProblem = "Failed to create boolean expression evaluator: ";

/** The same; an unknown selector is told without the words before it, as Consul's agent does for checks alone. */
export function checkFilter(expression: string): ((check: CheckRecord) => boolean) | undefined {
  try {
    return compileFilter(expression, checkFields);
  } catch (error) {
    const text = messageOf(error);
    throw new AgentError("rejected", {
      message: text.startsWith(`${evaluatorProblem}Selector `) ? text.slice(evaluatorProblem.length) : text,
    });
  }
}
