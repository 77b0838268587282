import { AgentError } from "../../core/types/errors.ts";

/** Bytes in a name; file systems allow 255 in one part. */
const nameBytesMax = 1024;

/**
 * A FileStore name that is safe below a directory: relative, parts joined by `/`, none empty, `.` or `..`, and nothing
 * that some file system reads specially. Throws `bad-request`.
 */
export function checkedFileName(name: string): string {
  const safe =
    name !== "" &&
    name.length <= nameBytesMax &&
    !/[\\:\u0000-\u001f]/.test(name) &&
    name.split("/").every((part) => part !== "" && part !== "." && part !== "..");
  if (!safe)
    throw new AgentError("bad-request", {
      message: `Not a file name below the data directory: ${JSON.stringify(name.slice(0, 200))}`,
    });
  return name;
}
