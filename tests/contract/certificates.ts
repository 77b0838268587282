import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TlsOptions } from "../../core/ports/streams.ts";

const read = (name: string): string => readFileSync(join(process.env.TEST_ROOT!, "tests/cases/tls", name), "utf8");

/** Made for the tests, valid for a hundred years: "server", "client" signed by "ca", "stranger" by "other-ca". */
export function tlsOptions(who: "server" | "client" | "stranger" | "nobody", options: Partial<TlsOptions> = {}): TlsOptions {
  const own = who === "nobody" ? {} : { certificatePem: read(`${who}.pem`), keyPem: read(`${who}.key.pem`) };
  return { caPem: [read("ca.pem")], ...own, verifyPeer: true, ...options };
}
