/** The DATA argument that several commands take: the data itself, @file, or - for standard input. */
import { type Bytes, utf8 } from "../../core/types/bytes.ts";
import { messageOf } from "../../core/types/errors.ts";
import { CommandError } from "./command.ts";
import type { CliContext } from "./context.ts";

/** An import of a whole tree may be large; more than this is a mistake, or wants splitting. */
const stdinBytesMax = 512 * 1024 * 1024;

/** Rejects with `CommandError` ("Error! Failed to read file: …"). */
export async function readDataArgument(context: CliContext, argument: string): Promise<Bytes> {
  try {
    if (argument === "-") return await context.host.stdin(stdinBytesMax);
    if (argument.startsWith("@")) return await context.host.readFile(argument.slice(1));
  } catch (error) {
    throw new CommandError(`Error! Failed to read ${argument === "-" ? "stdin" : "file"}: ${messageOf(error)}`);
  }
  return utf8(argument);
}
