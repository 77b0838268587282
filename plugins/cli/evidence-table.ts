/** What /v1/agent/evidence says, as a table: one line for each accusation, the latest last. */
import { isObject, type Json } from "./json.ts";
import { table } from "./table.ts";

export function evidenceTable(answer: Json): string {
  const found = isObject(answer) ? answer : {};
  const accusations = listOf(found["Accusations"]).map((one) => [
    textOf(one["Time"]),
    textOf(one["Node"]),
    textOf(one["By"]),
    groundsOf(one["Grounds"]),
    listOf(one["Confirmations"])
      .map((confirmation) => textOf(confirmation["By"]))
      .join(",") || "-",
    outcomeOf(one),
  ]);
  const lines = [`Own health score: ${textOf(found["HealthScore"])} (0 is healthy)`];
  for (const stall of listOf(found["Stalls"]))
    lines.push(`This agent stood still for ${textOf(stall["LateMillis"])} ms until ${textOf(stall["Time"])}`);
  if (accusations.length === 0) lines.push("Nobody was accused");
  else lines.push(table([["Time", "Node", "Accuser", "Grounds", "Confirmed by", "Outcome"], ...accusations]));
  return lines.join("\n");
}

function groundsOf(grounds: Json | undefined): string {
  if (!isObject(grounds)) return "-";
  if (grounds["Kind"] !== "probe") return `heard by ${textOf(grounds["Kind"])}`;
  const helpers = listOf(grounds["Indirect"]).map((helper) => `${textOf(helper["Via"])}:${textOf(helper["Answer"])}`);
  return `no answer in ${textOf(grounds["TotalMillis"])} ms, via ${helpers.join(",") || "nobody"}, TCP ${textOf(grounds["TCP"])}`;
}

function outcomeOf(one: { readonly [key: string]: Json | undefined }): string {
  const by = one["SettledBy"] === null || one["SettledBy"] === undefined ? "" : ` by ${textOf(one["SettledBy"])}`;
  const at = one["Settled"] === null || one["Settled"] === undefined ? "" : ` at ${textOf(one["Settled"])}`;
  const back = one["Returned"] === null || one["Returned"] === undefined ? "" : `, back at ${textOf(one["Returned"])}`;
  return `${textOf(one["Outcome"])}${by}${at}${back}`;
}

function listOf(value: Json | undefined): readonly { readonly [key: string]: Json }[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

function textOf(value: Json | undefined): string {
  return typeof value === "string" ? value : value === undefined || value === null ? "-" : JSON.stringify(value);
}
