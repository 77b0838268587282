import { AgentError, messageOf } from "../../core/types/errors.ts";
import { builtin } from "./builtin.ts";
import { connectionErrorCode, dialText } from "./go-errors.ts";

const dns = builtin<typeof import("node:dns/promises")>("node:dns/promises");

/**
 * `Streams.resolve` by the system's resolver. It reads /etc/hosts, and asks again over TCP when the answer did not fit
 * into a datagram, so that the list is whole.
 */
export async function resolveName(name: string): Promise<readonly string[]> {
  try {
    const found = await dns().lookup(name, { all: true, order: "verbatim" });
    // One line of /etc/hosts for each protocol, or several search domains, may name an address twice.
    return [...new Set(found.map(({ address }) => address))];
  } catch (error) {
    const text = dialText(error, name);
    const message = text.startsWith("lookup ") ? text : `lookup ${name}: ${messageOf(error)}`;
    throw new AgentError(connectionErrorCode(error as Error), { message, cause: error });
  }
}
