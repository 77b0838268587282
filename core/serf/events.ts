import { type Bytes, emptyBytes, equalBytes } from "../types/bytes.ts";
import { assert } from "../types/errors.ts";
import type { EventSlot, UserEvent } from "./messages.ts";

/** Serf's ring: an event is remembered until this many Lamport times later. */
const slotsMax = 512;
/** Events of one Lamport time: members who fire at once. More can only be hostile. */
const eventsPerSlotMax = 256;

/** Serf's own limit to a user event, name and payload. It lets nobody send more. */
const eventBytesMax = 9 * 1024;
/** Of all that is remembered: it goes into each exchange of state, which has a limit. Beyond it the oldest go. */
const ringBytesMax = 4 * 1024 * 1024;

/** About what remembering an event costs besides its bytes. */
const eventOverhead = 32;

type Event = EventSlot["events"][number];
type Slot = { readonly time: number; readonly events: Event[] };

/** Which user events were seen, so that each is delivered and passed on once. */
export class EventRing {
  readonly #slots: (Slot | undefined)[] = new Array(slotsMax).fill(undefined);
  #timeMin = 0;
  #bytes = 0;

  /** Events before this are old news. */
  ignoreBefore(time: number): void {
    this.#timeMin = Math.max(this.#timeMin, time);
  }

  /** True the first time. `now` is the event clock, which has witnessed the event. */
  admit(event: UserEvent, now: number): boolean {
    if (event.time < this.#timeMin || sizeOf(event) > eventBytesMax + eventOverhead) return false;
    if (now > slotsMax && event.time < now - slotsMax) return false;
    const at = event.time % slotsMax;
    let slot = this.#slots[at];
    if (slot === undefined || slot.time !== event.time) {
      this.#drop(at);
      slot = { time: event.time, events: [] };
      this.#slots[at] = slot;
    }
    if (slot.events.length >= eventsPerSlotMax || slot.events.some((seen) => isSame(seen, event))) return false;
    // A copy: it may come out of a whole push-pull exchange, which a view would keep.
    slot.events.push({ name: event.name, payload: event.payload?.slice() });
    this.#bytes += sizeOf(event);
    while (this.#bytes > ringBytesMax) this.#dropOldest();
    return true;
  }

  /** For a push-pull exchange: all slots, the unused ones undefined. */
  slots(): readonly (EventSlot | undefined)[] {
    return this.#slots;
  }

  #drop(at: number): void {
    for (const event of this.#slots[at]?.events ?? []) this.#bytes -= sizeOf(event);
    this.#slots[at] = undefined;
  }

  /** Nobody could tell any more whether an event of that time was seen: it is old news from now on. */
  #dropOldest(): void {
    let oldest: Slot | undefined;
    for (const slot of this.#slots)
      if (slot !== undefined && slot.time < (oldest?.time ?? Number.POSITIVE_INFINITY)) oldest = slot;
    assert(oldest !== undefined, "a ring that holds too much holds something");
    this.#drop(oldest.time % slotsMax);
    this.ignoreBefore(oldest.time + 1);
  }
}

function sizeOf({ name, payload }: Event): number {
  return name.length + (payload?.length ?? 0) + eventOverhead;
}

function isSame(left: Event, right: Event): boolean {
  return left.name === right.name && equalBytes(payloadOf(left), payloadOf(right));
}

function payloadOf(event: Event): Bytes {
  return event.payload ?? emptyBytes;
}
