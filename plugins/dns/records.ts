/**
 * Resource records as this plugin makes them. Addresses and texts are ready bytes; names stay names, because how they
 * are written depends on what stands before them in the message.
 */
import type { StringMap } from "../../core/catalog/records.ts";
import type { Bytes } from "../../core/types/bytes.ts";
import { unreachable } from "../../core/types/errors.ts";

/** IANA's numbers for the types that mean something here. */
export const recordTypes = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  AXFR: 252,
  ANY: 255,
} as const;

export const rcodes = { success: 0, formatError: 1, serverFailure: 2, nameError: 3, notImplemented: 4, refused: 5 } as const;

/** A name with dots and without the last one; "" is the root. Undefined stands for the name that was asked for. */
export type Owner = string | undefined;

interface RecordHead {
  readonly owner: Owner;
  /** Seconds. */
  readonly ttl: number;
}

export type DnsRecord =
  | (RecordHead & { readonly kind: "data"; readonly type: number; readonly data: Bytes })
  | (RecordHead & { readonly kind: "name"; readonly type: number; readonly target: string })
  | (RecordHead & SrvFields & { readonly kind: "srv" })
  | (RecordHead & SoaFields & { readonly kind: "soa" });

export interface SrvFields {
  readonly priority: number;
  readonly weight: number;
  readonly port: number;
  readonly target: string;
}

export interface SoaFields {
  readonly primary: string;
  readonly mailbox: string;
  /** Serial, refresh, retry, expire, minimum. */
  readonly numbers: readonly [number, number, number, number, number];
}

export function recordType(record: DnsRecord): number {
  switch (record.kind) {
    case "data":
    case "name":
      return record.type;
    case "srv":
      return recordTypes.SRV;
    case "soa":
      return recordTypes.SOA;
    default:
      return unreachable(record);
  }
}

/** An A or AAAA record. */
export function addressRecord(owner: Owner, ttl: number, address: Bytes): DnsRecord {
  return { kind: "data", owner, ttl, type: address.length === 4 ? recordTypes.A : recordTypes.AAAA, data: address };
}

/** Whether a question of this type is answered with this address: SRV for its additional section, ANY and TXT as Consul 1.8 does. */
export function wantsAddress(type: number, address: Bytes): boolean {
  if (type === recordTypes.A) return address.length === 4;
  if (type === recordTypes.AAAA) return address.length === 16;
  return type === recordTypes.SRV || type === recordTypes.ANY || type === recordTypes.NS || type === recordTypes.TXT;
}

/** The texts of a node's metadata: "key=value" escaped as RFC 1464 asks, or the value alone for keys that start with "rfc1035-". */
export function metaTexts(meta: StringMap): string[] {
  return Object.entries(meta).map(([key, value]) =>
    /^rfc1035-/i.test(key) ? value : `${escapeKey(key)}=${value.replaceAll("`", "``")}`,
  );
}

function escapeKey(key: string): string {
  const escaped = key.replaceAll("`", "``").replaceAll("=", "`=");
  const spaces = (run: string): string => "` ".repeat(run.length);
  return escaped.replace(/^ +/, spaces).replace(/ +$/, spaces);
}
