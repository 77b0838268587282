/** Ports that nobody else takes: from this process's own ground, below what the system hands out to connections. */
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { claimGround, type OwnGround, ownGround } from "./own-ground.ts";

let ground: OwnGround | undefined;
let nextPort = 0;

/** Ports free for TCP and UDP on 127.0.0.1. Each is given out once: a server that is down for a while finds its own free. */
export async function freePorts(count: number): Promise<number[]> {
  const found: number[] = [];
  while (found.length < count) {
    if (ground === undefined || nextPort === ground.portEnd) {
      const next = ground === undefined ? await ownGround() : await claimGround();
      // Another call may have been here meanwhile.
      if (next !== ground) nextPort = next.portFirst;
      ground = next;
      continue;
    }
    const port = nextPort++;
    if ((await tcpFree(port)) && (await udpFree(port))) found.push(port);
  }
  return found;
}

function tcpFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

function udpFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket("udp4");
    socket.once("error", () => resolve(false));
    socket.bind(port, "127.0.0.1", () => socket.close(() => resolve(true)));
  });
}
