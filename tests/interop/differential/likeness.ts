/**
 * Whether two answers are the same but for what must differ between two agents: UUIDs, raft indexes, ports, hashes, times.
 *
 * Each such value of one agent stands for one of the other, for the whole run: UUIDs, hashes and ports one to one, indexes
 * one to one and in the same order. So "the index grew", "it is the index of that write" and "it stayed" are compared,
 * though no number is. What both wrote while they started, in an order of their own, is one and the same: old.
 */
export interface Ports {
  readonly [name: string]: number;
}

interface Token {
  readonly kind: "uuid" | "index" | "hash";
  readonly value: string;
}

const patterns = [
  "(?<uuid>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})",
  '(?<=(?:CreateIndex|ModifyIndex|"Index)": ?|^(?:CreateIndex|ModifyIndex) +|X-Consul-Index: |[Ii]ndex |index=)(?<index>\\d+)',
  '(?<=ContentHash": ?"|Contenthash: )(?<hash>[0-9a-f]+)',
];
const tokens = new RegExp(patterns.join("|"), "gm");
const time = /\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( \+0000 UTC|Z)?/g;

function tokenise(text: string, ports: Ports): { text: string; tokens: Token[] } {
  const found: Token[] = [];
  let rest = text.replace(tokens, (...match) => {
    const groups = match.at(-1) as Record<string, string | undefined>;
    const [kind, value] = Object.entries(groups).find(([, value]) => value !== undefined) as [Token["kind"], string];
    found.push({ kind, value });
    return `<${kind}>`;
  });
  rest = maskPorts(rest, ports).replace(time, "<time>");
  return { text: rest, tokens: found };
}

export function maskPorts(text: string, ports: Ports): string {
  return Object.entries(ports).reduce(
    (masked, [name, port]) => masked.replace(new RegExp(`(?<!\\d)${port}(?!\\d)`, "g"), `<${name}>`),
    text,
  );
}

/** One of the two agents. */
export interface Party {
  readonly ports: Ports;
  /** The highest index after its start. */
  readonly startIndex: number;
}

export class Likeness {
  readonly #theirParty: Party;
  readonly #ourParty: Party;
  readonly #ours = new Map<string, string>();
  readonly #theirs = new Map<string, string>();
  /** Pairs of indexes in their order. */
  readonly #indexes: { theirs: bigint; ours: bigint }[] = [
    { theirs: 0n, ours: 0n },
    { theirs: 1n, ours: 1n },
  ];

  readonly #learnt: (() => void)[] = [];

  constructor(theirs: Party, ours: Party) {
    this.#theirParty = theirs;
    this.#ourParty = ours;
  }

  /** The first difference, for people; nothing when there is none. Only answers that are alike are learnt from. */
  difference(theirs: string, ours: string): string | undefined {
    const left = tokenise(theirs, this.#theirParty.ports);
    const right = tokenise(ours, this.#ourParty.ports);
    if (left.text !== right.text) return compareLines(left.text, right.text);
    for (const [at, token] of left.tokens.entries()) {
      const flaw = this.#pair(token, (right.tokens[at] as Token).value);
      if (flaw !== undefined) {
        for (const forget of this.#learnt.splice(0)) forget();
        return `${flaw}\n${theirs}\n--- ours\n${ours}`;
      }
    }
    this.#learnt.length = 0;
    return undefined;
  }

  #pair({ kind, value: theirs }: Token, ours: string): string | undefined {
    if (kind === "index") return this.#pairIndex(BigInt(theirs), BigInt(ours));
    const [knownOurs, knownTheirs] = [this.#ours.get(theirs), this.#theirs.get(ours)];
    if (knownOurs === undefined && knownTheirs === undefined) {
      this.#ours.set(theirs, ours);
      this.#theirs.set(ours, theirs);
      this.#learnt.push(() => {
        this.#ours.delete(theirs);
        this.#theirs.delete(ours);
      });
      return undefined;
    }
    if (knownOurs === ours) return undefined;
    return `the ${kind} ${theirs} of theirs was ${knownOurs ?? "new"}, ours ${ours} was ${knownTheirs ?? "new"}`;
  }

  #pairIndex(theirs: bigint, ours: bigint): string | undefined {
    const old = [isOld(theirs, this.#theirParty), isOld(ours, this.#ourParty)];
    if (old[0] && old[1]) return undefined;
    if (old[0] !== old[1])
      return `index ${theirs} of theirs is ${old[0] ? "" : "not "}from the start, ours ${ours} is ${old[1] ? "" : "not "}`;
    const after = this.#indexes.findIndex((pair) => pair.theirs >= theirs);
    const next = this.#indexes[after];
    const before = this.#indexes.at(after < 0 ? -1 : after - 1);
    if (next !== undefined && next.theirs === theirs)
      return next.ours === ours ? undefined : `index ${theirs} of theirs was ${next.ours} of ours, now it is ${ours}`;
    const fits = (before === undefined || before.ours < ours) && (next === undefined || ours < next.ours);
    if (!fits)
      return `index ${theirs} of theirs lies between ${before?.theirs} and ${next?.theirs}, ours ${ours} not between ${before?.ours} and ${next?.ours}`;
    const pair = { theirs, ours };
    this.#indexes.splice(after < 0 ? this.#indexes.length : after, 0, pair);
    this.#learnt.push(() => this.#indexes.splice(this.#indexes.indexOf(pair), 1));
    return undefined;
  }
}

function isOld(index: bigint, { startIndex }: Party): boolean {
  return index > 1n && index <= BigInt(startIndex);
}

function compareLines(theirs: string, ours: string): string {
  const [left, right] = [theirs.split("\n"), ours.split("\n")];
  const lines: string[] = [];
  for (let at = 0; at < Math.max(left.length, right.length) && lines.length < 40; at++) {
    if (left[at] === right[at]) continue;
    if (left[at] !== undefined) lines.push(`  theirs: ${left[at]}`);
    if (right[at] !== undefined) lines.push(`  ours:   ${right[at]}`);
  }
  return lines.join("\n");
}
