/** The experiments as tables: the ones of docs/gossip-simulation.md in full size, and small ones that a test can run. */
import type { Millis } from "../../core/types/ids.ts";
import {
  failing,
  forming,
  joining,
  lifeguard,
  parting,
  placing,
  plainSwim,
  telling,
  variants,
  withStallSensor,
  wronging,
} from "./gossip-experiments.ts";

export interface Table {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** How large the pools are, and how long they are watched. */
export interface TableSize {
  readonly pools: readonly number[];
  readonly members: number;
  readonly seconds: number;
  readonly crashes: number;
  readonly moments: readonly number[];
  readonly stalls: readonly { readonly kind: "messages" | "process"; readonly stall: Millis; readonly run: Millis }[];
  readonly losses: readonly number[];
}

export const fullSize: TableSize = {
  pools: [32, 100, 300, 1000],
  members: 128,
  seconds: 120,
  crashes: 10,
  moments: [0, 10, 30, 60, 120, 300, 600],
  stalls: [
    { kind: "messages", stall: 4000, run: 10 },
    { kind: "messages", stall: 8000, run: 500 },
    { kind: "messages", stall: 16_000, run: 50 },
    { kind: "process", stall: 3000, run: 2 },
    { kind: "process", stall: 8000, run: 2 },
    { kind: "process", stall: 16_000, run: 2 },
  ],
  losses: [100, 250, 400],
};

export const smallSize: TableSize = {
  pools: [16, 64],
  members: 40,
  seconds: 60,
  crashes: 2,
  moments: [0, 30, 120],
  stalls: [
    { kind: "messages", stall: 16_000, run: 50 },
    { kind: "process", stall: 8000, run: 2 },
  ],
  losses: [250],
};

/** In the order in which they are printed; each is computed when it is asked for. */
export const tables: readonly ((size: TableSize, seed: number | string) => Table)[] = [
  convergence,
  detection,
  falsePositivesOfTheStalled,
  falsePositivesByLoss,
  partitions,
  coordinates,
];

export function render(table: Table): readonly string[] {
  const lines = [table.head, ...table.rows];
  const widths = table.head.map((_, at) => Math.max(...lines.map((line) => (line[at] ?? "").length)));
  const row = (cells: readonly string[]): string => `| ${cells.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(" | ")} |`;
  const rule = `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`;
  return [`### ${table.title}`, "", row(table.head), rule, ...table.rows.map(row), ""];
}

/** Everyone tells everyone of everyone: beyond it that takes minutes. */
const formingMax = 300;

export function convergence(size: TableSize, seed: number | string): Table {
  const rows = size.pools.map((members) => {
    const join = joining({ seed, members, layer: "serf" });
    const form = members > formingMax ? undefined : forming({ seed, members });
    const calm = telling({ seed, members, lossPerMille: 0 });
    const lossy = telling({ seed, members, lossPerMille: 250 });
    return [
      String(members),
      seconds(join.half),
      seconds(join.all),
      form === undefined ? "-" : seconds(form.all),
      form === undefined ? "-" : form.packetsPerMember.toFixed(0),
      seconds(calm.half),
      seconds(calm.all),
      `${seconds(lossy.all)}${lossy.missed > 0 ? ` (${lossy.missed} wait for push-pull)` : ""}`,
    ];
  });
  return {
    title: "Convergence: how long until everyone knows",
    head: [
      "members",
      "a newcomer: half",
      "all",
      "all start at once: all know all",
      "packets each",
      "a user event: half",
      "all",
      "all, at 25 % loss",
    ],
    rows,
  };
}

export function detection(size: TableSize, seed: number | string): Table {
  const rows: string[][] = [];
  for (const members of size.pools) {
    for (const variant of [plainSwim, lifeguard]) {
      for (const lossPerMille of [0, 100]) {
        const { suspected, declared, known, knownWorst } = failing({
          seed,
          variant,
          members,
          crashes: size.crashes,
          lossPerMille,
        });
        rows.push([
          String(members),
          variant.name,
          `${lossPerMille / 10} %`,
          seconds(suspected),
          seconds(declared),
          seconds(known),
          seconds(knownWorst),
        ]);
      }
    }
  }
  return {
    title: `Failure detection: ${size.crashes} crashes, one after another, medians`,
    head: ["members", "protocol", "loss", "first suspects", "first declares", "all know", "all know, worst"],
    rows,
  };
}

export function falsePositivesOfTheStalled(size: TableSize, seed: number | string): Table {
  const { members, seconds: duration } = size;
  const stalled = Math.ceil(members / 10);
  const rows = size.stalls.flatMap(({ kind, stall, run }) =>
    variants.map((variant) => {
      const found = wronging({ seed, variant, members, stalled, stall, run, lossPerMille: 0, seconds: duration, kind });
      return [
        kind === "messages" ? "messages wait" : "process stopped",
        `${stall / 1000} s / ${run} ms`,
        variant.name,
        String(found.accusations),
        String(found.wronged),
        String(found.reports),
        String(found.reportsByHealthy),
        String(found.reportsOfStalled),
        seconds(found.declared),
        seconds(found.known),
      ];
    }),
  );
  return {
    title: `False positives: ${stalled} of ${members} members stall again and again for ${duration} s, and one other crashes`,
    head: [
      "anomaly",
      "stall / run",
      "protocol",
      "accusations of healthy by stalled",
      "healthy declared failed",
      "reports of that",
      "by healthy",
      "reports about stalled",
      "the crash: first declares",
      "all healthy know",
    ],
    rows,
  };
}

/** Much is sent where much is lost: accusations, refutations, and both again. */
const lossyMax = 64;

export function falsePositivesByLoss(size: TableSize, seed: number | string): Table {
  const { seconds: duration } = size;
  const members = Math.min(lossyMax, size.members);
  const rows = size.losses.flatMap((lossPerMille) =>
    [false, true].flatMap((streams) =>
      [plainSwim, lifeguard].map((variant) => {
        const found = wronging({
          seed,
          variant,
          members,
          stalled: 0,
          stall: 0,
          run: 0,
          lossPerMille,
          seconds: duration,
          kind: "process",
          streams,
        });
        return [
          `${lossPerMille / 10} %`,
          streams ? "yes" : "no",
          variant.name,
          String(found.wronged),
          String(found.reports),
          seconds(found.declared),
          seconds(found.known),
        ];
      }),
    ),
  );
  return {
    title: `False positives under packet loss: ${members} members for ${duration} s, and one crashes`,
    head: ["loss", "TCP works", "protocol", "healthy declared failed", "reports", "the crash: first declares", "all know"],
    rows,
  };
}

export function partitions(size: TableSize, seed: number | string): Table {
  const { members } = size;
  const rows = (["halves", "one way"] as const).flatMap((kind) =>
    [10, 60].map((length) => {
      const found = parting({ seed, members, kind, seconds: length });
      return [kind, `${length} s`, String(found.reports), seconds(found.healed), String(found.lost)];
    }),
  );
  return {
    title: `Partitions of ${members} members that heal`,
    head: ["cut", "for", "reports of failure meanwhile", "after healing: all agree", "members lost"],
    rows,
  };
}

export function coordinates(size: TableSize, seed: number | string): Table {
  const members = Math.min(100, size.members);
  const rows = placing({ seed, members, moments: size.moments }).map((found) => [
    String(found.seconds),
    `${(found.median * 100).toFixed(1)} %`,
    `${(found.ninetieth * 100).toFixed(1)} %`,
  ]);
  return {
    title: `Network coordinates: relative error of the round trip between any two of ${members} members`,
    head: ["probes made by each", "median", "90th percentile"],
    rows,
  };
}

/** The variant of production, for whoever asks what the small run uses. */
export const production = withStallSensor;

function seconds(millis: Millis | undefined): string {
  return millis === undefined || !Number.isFinite(millis) ? "never" : `${(millis / 1000).toFixed(1)} s`;
}
