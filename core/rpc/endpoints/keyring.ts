/** Internal.KeyringOperation: structs.KeyringRequest and structs.KeyringResponses of Consul 1.8, both ways. */
import { Fields } from "../../codec/fields.ts";
import { type Encodable, Malformed, type Value } from "../../codec/msgpack.ts";
import type { KeyringAnswer, KeyringRequest } from "../../plugin/agent-api.ts";
import { encodeQueryMeta, encodeQueryOptions } from "./query-options.ts";
import { encodeMap } from "./wire-values.ts";

const operations: readonly KeyringRequest["operation"][] = ["list", "install", "use", "remove"];
const relayFactorMax = 255;
const countMax = 2 ** 31 - 1;

export function encodeKeyringRequest(request: KeyringRequest, datacenter: string): Encodable {
  return {
    ...encodeQueryOptions({ consistency: "default", token: "", minIndex: 0, wait: 0 }),
    Datacenter: datacenter,
    Forwarded: request.forwarded ?? false,
    Key: request.key,
    LocalOnly: request.localOnly,
    Operation: request.operation,
    RelayFactor: request.relayFactor,
  };
}

/** Throws `Malformed`. */
export function decodeKeyringRequest(fields: Fields): KeyringRequest {
  const named = fields.text("Operation");
  const operation = operations.find((known) => known === named);
  if (operation === undefined) throw new Malformed("Operation is not one of list, install, use and remove");
  return {
    operation,
    key: fields.text("Key"),
    relayFactor: fields.unsigned("RelayFactor", relayFactorMax),
    localOnly: fields.flag("LocalOnly"),
    forwarded: fields.flag("Forwarded"),
  };
}

export function encodeKeyringAnswers(answers: readonly KeyringAnswer[]): Encodable {
  return { ...encodeQueryMeta({ index: 0, knownLeader: false, lastContact: 0 }), Responses: answers.map(encodeAnswer) };
}

/** Throws `Malformed`. */
export function decodeKeyringAnswers(reply: Value): readonly KeyringAnswer[] {
  return new Fields(reply).list("Responses").map((value) => decodeAnswer(new Fields(value)));
}

function encodeAnswer(answer: KeyringAnswer): Encodable {
  return {
    Datacenter: answer.datacenter,
    Error: answer.error,
    Keys: encodeCounts(answer.keys),
    Messages: encodeMap(answer.messages),
    NumNodes: answer.nodes,
    PrimaryKeys: encodeCounts(answer.primaryKeys),
    Segment: answer.segment,
    WAN: answer.wan,
  };
}

function decodeAnswer(fields: Fields): KeyringAnswer {
  return {
    wan: fields.flag("WAN"),
    datacenter: fields.text("Datacenter"),
    segment: fields.text("Segment"),
    messages: fields.textMap("Messages"),
    keys: counts(fields, "Keys"),
    primaryKeys: counts(fields, "PrimaryKeys"),
    nodes: fields.unsigned("NumNodes", countMax),
    error: fields.text("Error"),
  };
}

function encodeCounts(counts: Readonly<Record<string, number>>): Encodable {
  return new Map(Object.entries(counts));
}

function counts(fields: Fields, name: string): Readonly<Record<string, number>> {
  const inner = fields.fields(name);
  return Object.fromEntries([...inner.names()].map((key) => [key, inner.unsigned(key, countMax)]));
}
