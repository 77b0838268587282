/** A machine in memory for reading configurations: files by path, one private address. */
import type { ConfigHost } from "../../../core/config/load.ts";
import { utf8 } from "../../../core/types/bytes.ts";

type Interfaces = ReturnType<ConfigHost["interfaces"]>;

export function configHost(
  files: Readonly<Record<string, string | Uint8Array>> = {},
  addresses: readonly string[] = ["192.0.2.2"],
): ConfigHost {
  const interfaces: Interfaces = [
    { name: "lo", address: "127.0.0.1", family: 4, internal: true },
    ...addresses.map((address, at) => ({
      name: `eth${at}`,
      address,
      family: address.includes(":") ? (6 as const) : (4 as const),
      internal: false,
    })),
  ];
  const directory = (path: string): string => `${path.replace(/\/+$/, "")}/`;
  return {
    interfaces: () => interfaces,
    hostname: () => "vm",
    fileDescriptorsMax: () => 20000,
    readFile: async (path) => {
      const content = files[path];
      if (content === undefined) throw new Error(`open ${path}: no such file or directory`);
      return typeof content === "string" ? utf8(content) : content;
    },
    stat: async (path) => {
      const content = files[path];
      if (content !== undefined) return { kind: "file", size: content.length };
      return Object.keys(files).some((name) => name.startsWith(directory(path))) ? { kind: "directory", size: 0 } : undefined;
    },
    readDirectory: async (path) => {
      const inside = Object.keys(files).filter((name) => name.startsWith(directory(path)));
      return [...new Set(inside.map((name) => name.slice(directory(path).length).split("/")[0] as string))].sort();
    },
  };
}
