/**
 * A pool of Serf machines in virtual time without drivers: packets travel as bytes through a network that delays, loses
 * and doubles them, streams work when neither end is cut off. Checks after each step what must always hold.
 */
import { createRandom, seedOf } from "../../../adapters/shared/random.ts";
import type { GossipConfig } from "../../../core/config/config.ts";
import { below, between, type Random } from "../../../core/ports/random.ts";
import { consulVersion, type SerfConfig, serfDefaults } from "../../../core/serf/config.ts";
import type { SerfEvent, SerfInput } from "../../../core/serf/inputs.ts";
import { SerfMachine } from "../../../core/serf/serf.ts";
import { lanDefaults, type SwimConfig } from "../../../core/swim/config.ts";
import { ipBytes } from "../../../core/swim/ip.ts";
import { Keyring } from "../../../core/swim/keyring.ts";
import { openPacket, packPacket } from "../../../core/swim/packets.ts";
import type { Bytes } from "../../../core/types/bytes.ts";
import { assert, trapAmbient } from "../../support/harness.ts";
import { platformCrypto } from "../swim/support.ts";

export interface Faults {
  /** Of 1,000 packets. */
  readonly lossPerMille: number;
  readonly duplicatesPerMille: number;
  readonly delayMin: number;
  readonly delayMax: number;
}

export const calm: Faults = { lossPerMille: 0, duplicatesPerMille: 0, delayMin: 1, delayMax: 3 };

export interface Host {
  readonly name: string;
  readonly ip: string;
  machine: SerfMachine;
  readonly events: { readonly at: number; readonly event: SerfEvent }[];
  /** Not running. */
  down: boolean;
  /** Running, but nothing gets in or out. */
  cut: boolean;
  /** Deaf and mute until then: a garbage collection, a closed lid. */
  pausedUntil: number;
  incarnations: Map<string, number>;
}

interface Arrival {
  readonly at: number;
  readonly order: number;
  readonly act: () => void;
}

const packetBytesMax = 1400;
const port = 7946;

export class PoolSimulation {
  readonly hosts: Host[] = [];
  now = 0;
  faults: Faults = calm;
  packetsSent = 0;
  readonly #random: Random;
  readonly #swim: Partial<SwimConfig>;
  readonly #serf: Partial<SerfConfig>;
  readonly #byIp = new Map<string, Host>();
  readonly #arrivals: Arrival[] = [];
  #order = 0;

  constructor(
    seed: number | string,
    options: { readonly swim?: Partial<SwimConfig & GossipConfig>; readonly serf?: Partial<SerfConfig> } = {},
  ) {
    this.#random = createRandom(seedOf(seed));
    this.#swim = options.swim ?? {};
    this.#serf = options.serf ?? {};
  }

  add(name: string): Host {
    const number = this.hosts.length + 1;
    const ip = `10.0.${number >> 8}.${number & 255}`;
    const host: Host = {
      name,
      ip,
      machine: this.#machine(name, ip),
      events: [],
      down: false,
      cut: false,
      pausedUntil: 0,
      incarnations: new Map(),
    };
    this.hosts.push(host);
    this.#byIp.set(ip, host);
    this.feed(host, { kind: "start" });
    return host;
  }

  /** Starts again under the same name and address, having forgotten everything. */
  restart(host: Host): void {
    host.down = false;
    host.machine = this.#machine(host.name, host.ip);
    host.incarnations = new Map();
    this.feed(host, { kind: "start" });
  }

  join(host: Host, other: Host): void {
    this.#pushPull(host, other.ip, true, true);
    this.#after(10, () => this.feed(host, { kind: "joinIntent" }));
  }

  feed(host: Host, input: SerfInput): void {
    if (host.down) return;
    host.machine.step(this.now, input);
    this.#drain(host);
  }

  /** Lets `duration` pass, or less when `until` holds; true when it does. */
  pass(duration: number, until: () => boolean = () => false): boolean {
    // Around it all, because setting the trap for each step would cost more than the steps.
    return trapAmbient(() => this.#pass(duration, until));
  }

  #pass(duration: number, until: () => boolean): boolean {
    const end = this.now + duration;
    while (!until()) {
      let next = this.#arrivals[0]?.at ?? Number.POSITIVE_INFINITY;
      let waking: Host | undefined;
      for (const host of this.hosts) {
        if (host.down) continue;
        const wake = Math.max(host.machine.wakeAt, host.pausedUntil);
        if (wake < next) {
          next = wake;
          waking = host;
        }
      }
      if (next > end) {
        this.now = end;
        return until();
      }
      this.now = Math.max(this.now, next);
      if (waking !== undefined) this.feed(waking, { kind: "wake" });
      else this.#arrivals.shift()?.act();
    }
    return true;
  }

  /** Every running host that is not cut off, as every other sees it. */
  views(): readonly { readonly by: string; readonly of: string; readonly status: string }[] {
    return this.hosts
      .filter((host) => !host.down && !host.cut)
      .flatMap((host) =>
        [...host.machine.members.values()].map((member) => ({ by: host.name, of: member.name, status: member.status })),
      );
  }

  /** All running hosts know all running hosts, as alive, and everyone else as `otherwise`. */
  agreed(otherwise: readonly string[] = ["left", "failed"]): boolean {
    const running = new Set(this.hosts.filter((host) => !host.down && !host.cut).map((host) => host.name));
    for (const host of this.hosts) {
      if (!running.has(host.name)) continue;
      let alive = 0;
      for (const member of host.machine.members.values()) {
        if (running.has(member.name)) alive += member.status === "alive" ? 1 : 0;
        else if (!otherwise.includes(member.status)) return false;
      }
      if (alive !== running.size) return false;
    }
    return true;
  }

  #machine(name: string, ip: string): SerfMachine {
    const address = ipBytes(ip) as Bytes;
    return new SerfMachine({
      random: this.#random.fork(`${name} ${this.now}`),
      swim: { ...lanDefaults, ...this.#swim, name, address, port, version: consulVersion },
      serf: { ...serfDefaults, ...this.#serf, name, tags: { role: "node", id: name } },
    });
  }

  #drain(host: Host): void {
    const sealer = { crypto: platformCrypto, keyring: new Keyring() };
    for (const { to, parts, checksum } of host.machine.takePackets(packetBytesMax)) {
      const packet = packPacket(parts, { checksum, compress: false, sealer });
      assert.ok(packet.length <= packetBytesMax + 5, `packet of ${packet.length} bytes`);
      this.packetsSent++;
      this.#transmit(host, to.host, packet);
    }
    for (const request of host.machine.takeStreamRequests()) {
      if (request.kind === "pushPull") this.#pushPull(host, request.to.host, request.join);
      else {
        const target = this.#byIp.get(request.to.host);
        const ok = target !== undefined && this.#reaches(host, target) && target.machine.isMeant(request.ping);
        this.#after(ok ? 10 : request.timeout, () =>
          this.feed(host, { kind: "streamProbe", sequence: request.ping.sequence, ok }),
        );
      }
    }
    for (const event of host.machine.takeEvents()) if (event.kind !== "log") host.events.push({ at: this.now, event });
    this.#check(host);
  }

  #check(host: Host): void {
    for (const member of host.machine.swim.members) {
      const before = host.incarnations.get(member.name) ?? 0;
      // A restarted member begins anew at 1; until it has refuted, others may learn of its new life as such.
      if (member.name === host.name) assert.ok(member.incarnation >= before, "the own incarnation fell");
      host.incarnations.set(member.name, member.incarnation);
    }
  }

  #transmit(from: Host, ip: string, packet: Bytes): void {
    const { lossPerMille, duplicatesPerMille, delayMin, delayMax } = this.faults;
    const copies = below(this.#random, 1000) < duplicatesPerMille ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      if (below(this.#random, 1000) < lossPerMille) continue;
      this.#after(between(this.#random, delayMin, delayMax), () => {
        const target = this.#byIp.get(ip);
        if (target === undefined || !this.#reaches(from, target)) return;
        this.#deliver(target, from, packet);
      });
    }
  }

  #deliver(target: Host, from: Host, packet: Bytes): void {
    if (target.pausedUntil > this.now) {
      this.#after(target.pausedUntil - this.now, () => this.#deliver(target, from, packet));
      return;
    }
    const { messages, problems } = openPacket(packet, {
      sealer: { crypto: platformCrypto, keyring: new Keyring() },
      verifyIncoming: true,
    });
    assert.deepEqual(problems, []);
    for (const message of messages) this.feed(target, { kind: "datagram", from: { host: from.ip, port }, message });
  }

  #pushPull(host: Host, ip: string, join: boolean, joining = false): void {
    this.#after(5, () => {
      const target = this.#byIp.get(ip);
      if (target === undefined || host.down || !this.#reaches(host, target)) return;
      const ours = host.machine.localState(join);
      const theirs = target.machine.localState(join);
      assert.equal(target.machine.mergeRefusal(ours), undefined);
      this.feed(target, { kind: "remoteState", state: ours });
      this.#after(5, () => this.feed(host, { kind: "remoteState", state: theirs, joining }));
    });
  }

  #reaches(from: Host, target: Host): boolean {
    return !target.down && !from.cut && !target.cut;
  }

  #after(delay: number, act: () => void): void {
    const arrival = { at: this.now + delay, order: this.#order++, act };
    let low = 0;
    let high = this.#arrivals.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#arrivals[middle] as Arrival).at <= arrival.at) low = middle + 1;
      else high = middle;
    }
    this.#arrivals.splice(low, 0, arrival);
  }
}
