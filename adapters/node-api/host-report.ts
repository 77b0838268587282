import type { HostReport } from "../../core/ports/host.ts";
import { AgentError } from "../../core/types/errors.ts";
import { builtin } from "./builtin.ts";

const fs = builtin<typeof import("node:fs")>("node:fs");
const os = builtin<typeof import("node:os")>("node:os");

/** What Linux says of itself below /proc, /sys and /etc, under the names Consul's library gives it. Elsewhere rejects with `not-supported`. */
export async function hostReport(): Promise<HostReport> {
  if (process.platform !== "linux")
    throw new AgentError("not-supported", {
      message: `Measurements of the machine are not supported yet on ${process.platform}`,
    });
  const [memory, cpus, host, disk] = await Promise.all([memoryReport(), cpuReport(), machineReport(), diskReport("/")]);
  return { memory, cpus, host, disk };
}

/** "" when it cannot be read: much of this differs between kernels and containers. */
async function read(path: string): Promise<string> {
  try {
    return await fs().promises.readFile(path, "utf8");
  } catch {
    return "";
  }
}

/** Lines of "name: value" or "name=value". */
function pairsOf(content: string, separator: ":" | "="): Map<string, string> {
  const pairs = new Map<string, string>();
  for (const line of content.split("\n")) {
    const at = line.indexOf(separator);
    if (at > 0)
      pairs.set(
        line.slice(0, at).trim(),
        line
          .slice(at + 1)
          .trim()
          .replace(/^"(.*)"$/, "$1"),
      );
  }
  return pairs;
}

async function memoryReport(): Promise<HostReport["memory"]> {
  const pairs = pairsOf(await read("/proc/meminfo"), ":");
  const count = (name: string): number => Number.parseInt(pairs.get(name) ?? "0", 10) || 0;
  const bytes = (name: string): number => count(name) * 1024;
  const [total, free, buffers] = [bytes("MemTotal"), bytes("MemFree"), bytes("Buffers")];
  const cached = bytes("Cached") + bytes("SReclaimable");
  const used = total - free - buffers - cached;
  return {
    total,
    available: bytes("MemAvailable"),
    used,
    usedPercent: total === 0 ? 0 : (used / total) * 100,
    free,
    active: bytes("Active"),
    inactive: bytes("Inactive"),
    // Of other systems.
    wired: 0,
    laundry: 0,
    buffers,
    cached,
    writeback: bytes("Writeback"),
    dirty: bytes("Dirty"),
    writebacktmp: bytes("WritebackTmp"),
    shared: bytes("Shmem"),
    slab: bytes("Slab"),
    sreclaimable: bytes("SReclaimable"),
    sunreclaim: bytes("SUnreclaim"),
    pagetables: bytes("PageTables"),
    swapcached: bytes("SwapCached"),
    commitlimit: bytes("CommitLimit"),
    committedas: bytes("Committed_AS"),
    hightotal: bytes("HighTotal"),
    highfree: bytes("HighFree"),
    lowtotal: bytes("LowTotal"),
    lowfree: bytes("LowFree"),
    swaptotal: bytes("SwapTotal"),
    swapfree: bytes("SwapFree"),
    mapped: bytes("Mapped"),
    vmalloctotal: bytes("VmallocTotal"),
    vmallocused: bytes("VmallocUsed"),
    vmallocchunk: bytes("VmallocChunk"),
    hugepagestotal: count("HugePages_Total"),
    hugepagesfree: count("HugePages_Free"),
    hugepagesize: bytes("Hugepagesize"),
  };
}

async function cpuReport(): Promise<HostReport["cpus"]> {
  const blocks = (await read("/proc/cpuinfo")).split("\n\n").map((block) => pairsOf(block, ":"));
  return blocks
    .filter((block) => block.has("processor"))
    .map((block) => {
      const text = (name: string): string => block.get(name) ?? "";
      const number = (name: string): number => Number.parseFloat(text(name)) || 0;
      return {
        cpu: number("processor"),
        vendorId: text("vendor_id"),
        family: text("cpu family"),
        model: text("model"),
        stepping: number("stepping"),
        physicalId: text("physical id"),
        coreId: text("core id"),
        cores: 1,
        modelName: text("model name"),
        mhz: number("cpu MHz"),
        cacheSize: number("cache size"),
        flags: text("flags") === "" ? [] : text("flags").split(" "),
        microcode: text("microcode"),
      };
    });
}

async function machineReport(): Promise<HostReport["host"]> {
  const [release, uptime, stat, processes] = await Promise.all([
    read("/etc/os-release"),
    read("/proc/uptime"),
    read("/proc/stat"),
    fs().promises.readdir("/proc"),
  ]);
  const about = pairsOf(release, "=");
  const platform = about.get("ID") ?? "";
  return {
    hostname: os().hostname(),
    uptime: Math.trunc(Number.parseFloat(uptime) || 0),
    bootTime: Number(/^btime (\d+)$/m.exec(stat)?.[1] ?? 0),
    procs: processes.filter((name) => /^\d+$/.test(name)).length,
    os: "linux",
    platform,
    platformFamily: familyOf(platform, about.get("ID_LIKE") ?? ""),
    // Debian's os-release names no minor version.
    platformVersion: (platform === "debian" && (await read("/etc/debian_version")).trim()) || (about.get("VERSION_ID") ?? ""),
    kernelVersion: os().release(),
    kernelArch: os().machine(),
    virtualizationSystem: "",
    virtualizationRole: "guest",
    hostid: await machineId(),
  };
}

/** The mainboard's, which only root may read; else the installation's; else one that lasts until the next start. */
async function machineId(): Promise<string> {
  const board = (await read("/sys/class/dmi/id/product_uuid")).trim();
  if (board !== "") return board.toLowerCase();
  const parts = /^([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$/.exec(
    (await read("/etc/machine-id")).trim(),
  );
  return parts === null ? (await read("/proc/sys/kernel/random/boot_id")).trim() : parts.slice(1).join("-");
}

function familyOf(platform: string, like: string): string {
  if (platform === "debian" || platform === "ubuntu" || like.includes("debian")) return "debian";
  return /rhel|centos|fedora/.test(`${platform} ${like}`) ? "rhel" : platform;
}

const fileSystems: ReadonlyMap<number, string> = new Map([
  [0xef53, "ext2/ext3"],
  [0x58465342, "xfs"],
  [0x9123683e, "btrfs"],
  [0x01021994, "tmpfs"],
  [0x794c7630, "overlayfs"],
  [0x2fc12fc1, "zfs"],
]);

async function diskReport(path: string): Promise<HostReport["disk"]> {
  const { type, bsize, blocks, bfree, bavail, files, ffree } = await fs().promises.statfs(path);
  const [free, used] = [bavail * bsize, (blocks - bfree) * bsize];
  return {
    path,
    fstype: fileSystems.get(type) ?? type.toString(16),
    total: blocks * bsize,
    free,
    used,
    usedPercent: used + free === 0 ? 0 : (used / (used + free)) * 100,
    inodesTotal: files,
    inodesUsed: files - ffree,
    inodesFree: ffree,
    inodesUsedPercent: files === 0 ? 0 : ((files - ffree) / files) * 100,
  };
}
