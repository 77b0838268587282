import { type Bytes, emptyBytes, equalBytes } from "../types/bytes.ts";
import type { EventSlot, UserEvent } from "./messages.ts";

/** Serf's ring: an event is remembered until this many Lamport times later. */
const slotsMax = 512;
/** Events of one Lamport time: members who fire at once. More can only be hostile. */
const eventsPerSlotMax = 256;

type Event = EventSlot["events"][number];

/** Which user events were seen, so that each is delivered and passed on once. */
export class EventRing {
  readonly #slots: ({ readonly time: number; readonly events: Event[] } | undefined)[] = new Array(slotsMax).fill(undefined);
  #timeMin = 0;

  /** Events before this are old news. */
  ignoreBefore(time: number): void {
    this.#timeMin = Math.max(this.#timeMin, time);
  }

  /** True the first time. `now` is the event clock, which has witnessed the event. */
  admit(event: UserEvent, now: number): boolean {
    if (event.time < this.#timeMin) return false;
    if (now > slotsMax && event.time < now - slotsMax) return false;
    const at = event.time % slotsMax;
    const slot = this.#slots[at];
    // A copy: it may come out of a whole push-pull exchange, which a view would keep.
    const entry = { name: event.name, payload: event.payload?.slice() };
    if (slot === undefined || slot.time !== event.time) {
      this.#slots[at] = { time: event.time, events: [entry] };
      return true;
    }
    if (slot.events.length >= eventsPerSlotMax || slot.events.some((seen) => isSame(seen, entry))) return false;
    slot.events.push(entry);
    return true;
  }

  /** For a push-pull exchange: all slots, the unused ones undefined. */
  slots(): readonly (EventSlot | undefined)[] {
    return this.#slots;
  }
}

function isSame(left: Event, right: Event): boolean {
  return left.name === right.name && equalBytes(payloadOf(left), payloadOf(right));
}

function payloadOf(event: Event): Bytes {
  return event.payload ?? emptyBytes;
}
