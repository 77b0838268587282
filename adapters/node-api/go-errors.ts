import type { ErrorCode } from "../../core/types/errors.ts";
import { messageOf } from "../../core/types/errors.ts";

/**
 * The platform's errors in Go's words: the outputs of checks, the command line and log lines show them, and people and
 * scripts match on them.
 */
const texts: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EADDRINUSE: "address already in use",
  EADDRNOTAVAIL: "cannot assign requested address",
  EAGAIN: "resource temporarily unavailable",
  EBADF: "bad file descriptor",
  ECONNABORTED: "software caused connection abort",
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset by peer",
  EEXIST: "file exists",
  EHOSTUNREACH: "no route to host",
  EINVAL: "invalid argument",
  EIO: "input/output error",
  EISDIR: "is a directory",
  ELOOP: "too many levels of symbolic links",
  EMFILE: "too many open files",
  ENAMETOOLONG: "file name too long",
  ENETUNREACH: "network is unreachable",
  ENFILE: "too many open files in system",
  ENOENT: "no such file or directory",
  ENOEXEC: "exec format error",
  ENOMEM: "cannot allocate memory",
  ENOSPC: "no space left on device",
  ENOTCONN: "transport endpoint is not connected",
  ENOTDIR: "not a directory",
  ENOTEMPTY: "directory not empty",
  EPERM: "operation not permitted",
  EPIPE: "broken pipe",
  EROFS: "read-only file system",
  ETIMEDOUT: "connection timed out",
  ETXTBSY: "text file busy",
};

/** The symbolic name of a system error, or undefined. */
export function errnoOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** "no such file or directory" for ENOENT, and so on; the platform's own sentence for what is not in the table. */
export function goText(error: unknown): string {
  const code = errnoOf(error);
  const known = code === undefined ? undefined : texts[code];
  if (known !== undefined) return known;
  // The platform writes "EXYZ: sentence, open 'path'".
  const sentence = /^[A-Z0-9_]+: ([^,]+)/.exec(messageOf(error));
  return sentence?.[1] ?? messageOf(error);
}

/** Which stable code a failed connection has. */
export function connectionErrorCode(error: unknown): ErrorCode {
  switch (errnoOf(error)) {
    case "ECONNRESET":
    case "EPIPE":
    case "ECONNABORTED":
      return "connection-closed";
    case "ETIMEDOUT":
      return "timeout";
    case "EADDRINUSE":
      return "address-in-use";
    default:
      return "connection-refused";
  }
}

/** The text after "dial tcp host:port: " or "dial unix path: ". */
export function dialText(error: unknown, host: string): string {
  const code = errnoOf(error);
  if (code === "ENOTFOUND" || code === "ENODATA") return `lookup ${host}: no such host`;
  if (code === "EAI_AGAIN") return `lookup ${host}: Temporary failure in name resolution`;
  return `connect: ${goText(error)}`;
}
