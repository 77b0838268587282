import type { LogLevel } from "../ports/telemetry.ts";
import type { Member } from "../plugin/agent-api.ts";
import type { SwimInput } from "../swim/swim.ts";
import type { Bytes } from "../types/bytes.ts";
import type { Millis } from "../types/ids.ts";
import type { MemberEventKind } from "./members.ts";

/** What happens to a Serf member, besides what happens to SWIM. */
export type SerfInput =
  | SwimInput
  /** Tells everyone; its encoded size was checked. */
  | { readonly kind: "userEvent"; readonly name: string; readonly payload: Bytes; readonly coalesce: boolean }
  /** After others were joined: makes sure nobody takes an older goodbye of ours for news. */
  | { readonly kind: "joinIntent" }
  /** The first half of leaving. */
  | { readonly kind: "leaveIntent" }
  /** Says in a failed member's name that it left. */
  | { readonly kind: "forceLeave"; readonly node: string; readonly prune: boolean }
  | { readonly kind: "tags"; readonly tags: Readonly<Record<string, string>> }
  /** Asks everyone. `token` names the question in the events that follow. */
  | {
      readonly kind: "query";
      readonly token: number;
      readonly name: string;
      readonly payload: Bytes | undefined;
      readonly timeout?: Millis;
      /** Through how many others each answer comes as well. Default 0. */
      readonly relayFactor?: number;
    }
  /** What the event `keys` told of is on disk, or why it is not: now whoever asked for it is answered. */
  | { readonly kind: "keysStored"; readonly change: number; readonly problem: string | undefined };

/** What the machine tells its owner, in the order in which it happened. */
export type SerfEvent =
  | { readonly kind: MemberEventKind; readonly member: Member }
  | { readonly kind: "user"; readonly name: string; readonly payload: Bytes; readonly time: number; readonly coalesce: boolean }
  /** Somebody asks something that Serf itself does not answer. */
  | { readonly kind: "query"; readonly name: string; readonly payload: Bytes; readonly from: string; readonly time: number }
  | { readonly kind: "answer"; readonly token: number; readonly from: string; readonly payload: Bytes }
  /** No more answers to this question. */
  | { readonly kind: "answered"; readonly token: number }
  /** Somebody had the keys changed; the ring holds the new ones already. The answer waits for the input `keysStored`. */
  | { readonly kind: "keys"; readonly change: number }
  | {
      readonly kind: "log";
      readonly level: LogLevel;
      readonly message: string;
      readonly fields?: Readonly<Record<string, unknown>>;
    };
