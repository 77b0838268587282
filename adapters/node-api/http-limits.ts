import type { Millis } from "../../core/types/ids.ts";

/** From the first byte of a request to the end of its head: a client that drips its headers holds a connection no longer. */
export const headTimeout: Millis = 10_000;

/** From the first byte of a request to the end of its body. */
export const requestTimeout: Millis = 300_000;

/** A kept connection without a request. Go sets no limit; this one is beyond what any client or proxy keeps for itself. */
export const idleTimeout: Millis = 3_600_000;

/** A client that does not read its answer. */
export const writeTimeout: Millis = 300_000;

/** Between our end of a connection and the client's. Closing at once could reset the connection before the answer was read (Go: 500 ms). */
export const lingerTimeout: Millis = 1_000;

/** How often connections are looked through for one of the above. */
export const sweepInterval: Millis = 500;
