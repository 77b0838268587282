/**
 * What one test process has for itself on this machine, so that several may run at once: a range of ports on 127.0.0.1,
 * and a loopback network 127.N.0.0/16. It is held by a listener, which the system closes when the process ends, however.
 *
 *   14000 ├─ hold ─┬───── ports ─────┤├─ hold ─┬───── ports ─────┤ … 31000        below what the system hands out by itself
 *          process A, 127.20.0.0/16     process B, 127.21.0.0/16
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:net";

const portsEach = 170;
const plots = 100;
const networkFirst = 20;
const portFirst = outsideEphemeral(14_000);

/**
 * Where the ports begin: there, unless this Linux hands ports from there out to connections, any of which could take one
 * that a server left for a moment; then above those, or below.
 */
function outsideEphemeral(usual: number): number {
  const span = plots * portsEach;
  const [low, high] = ephemeralRange();
  const isFree = (first: number): boolean => first >= 1024 && first + span <= 65_536 && (first > high || first + span <= low);
  return [usual, high + 1, low - span].find(isFree) ?? usual;
}

function ephemeralRange(): readonly [low: number, high: number] {
  try {
    const [low, high] = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").trim().split(/\s+/).map(Number);
    return [low as number, high as number];
  } catch {
    // Not Linux: 49152 to 65535 is what others use.
    return [49_152, 65_535];
  }
}

export interface OwnGround {
  /** Unlike that of any other process that runs: 0 to 99. */
  readonly number: number;
  /** "127.20": all below it are this process's. */
  readonly network: string;
  readonly portFirst: number;
  /** Not included. */
  readonly portEnd: number;
}

/** Another one each time, until there are none. */
export async function claimGround(): Promise<OwnGround> {
  for (let tried = 0; tried < plots; tried++) {
    const number = (process.pid + tried) % plots;
    const hold = portFirst + number * portsEach;
    if (!(await claimed(hold))) continue;
    return { number, network: `127.${networkFirst + number}`, portFirst: hold + 1, portEnd: hold + portsEach };
  }
  throw new Error(`all ${plots} ranges of test ports are taken`);
}

function claimed(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", () => resolve(false));
    // Not a reason for the process to stay.
    server.listen(port, "127.0.0.1", () => resolve(true)).unref();
  });
}

let first: Promise<OwnGround> | undefined;

/** This process's; the same one each time. */
export function ownGround(): Promise<OwnGround> {
  first ??= claimGround();
  return first;
}
