/** Outputs of checks, cut to what may be kept, in Consul's words. */
import { formatDuration } from "../config/duration.ts";
import { type Bytes, text, utf8 } from "../types/bytes.ts";
import type { Millis } from "../types/ids.ts";

/** The first `bytesMax` bytes and a remark: what a TTL update said. */
export function keepFront(output: string, bytesMax: number): string {
  // A character has at most three bytes for each of its UTF-16 units: most outputs need no encoding to be seen as short.
  if (output.length * 3 <= bytesMax) return output;
  const bytes = utf8(output);
  if (bytes.length <= bytesMax) return output;
  return `${text(bytes.subarray(0, bytesMax))} ... (captured ${bytesMax} of ${bytes.length} bytes)`;
}

/** The last `bytesMax` bytes. */
export function keepBack(output: Bytes, bytesMax: number): Bytes {
  return output.length <= bytesMax ? output : output.subarray(output.length - bytesMax);
}

/** What a script wrote; `bytesTotal` counts what was dropped before it as well. */
export function scriptOutput(kept: Bytes, bytesTotal: number): string {
  return bytesTotal > kept.length ? `Captured ${kept.length} of ${bytesTotal} bytes\n...\n${text(kept)}` : text(kept);
}

export function timedOutOutput(timeout: Millis, written: string): string {
  const said = `Timed out (${formatDuration(timeout)}) running check`;
  return written === "" ? said : `${said}\n\n${written}`;
}

export function expiredOutput(lastOutput: string): string {
  return lastOutput === "" ? "TTL expired" : `TTL expired (last output before timeout follows): ${lastOutput}`;
}
