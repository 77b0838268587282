/**
 * What a server must not forget about foundings (bootstrap.ts), in the data directory: `raft/founding`.
 *
 *   CRC-32 of the rest, big-endian │ CBOR of the record
 *
 * Each change is durable before anybody is told of it. One that could not be stored is as if it had never been asked for:
 * whether the disk has it or not, nobody counts on it, and the next change replaces it.
 */
import { encode, tryDecode } from "../codec/cbor.ts";
import { crc32 } from "../codec/checks.ts";
import type { FileStore } from "../ports/storage.ts";
import { serversMax } from "../raft/membership.ts";
import type { Bytes } from "../types/bytes.ts";
import { AgentError } from "../types/errors.ts";
import type { NodeId } from "../types/ids.ts";
import {
  type Accepted,
  type Ballot,
  fieldsOf,
  type Founding,
  readAccepted,
  readBallot,
  readFounding,
  readIds,
  readNumber,
} from "./founding-messages.ts";

export interface Enrolment {
  readonly founding: Founding;
  /** No lower ballot is accepted. At first the founder's, of round 0. */
  readonly promised: Ballot;
  readonly accepted: Accepted | undefined;
}

export interface FoundingRecord {
  /** The highest number of a founding that was heard of: no other of that number or below is enrolled in. */
  readonly highest: number;
  /** The servers of a group whose leader takes this one in, by which it enrols nowhere any more; else none. */
  readonly claimed: readonly NodeId[];
  /** Kept when the group came to be. */
  readonly enrolment: Enrolment | undefined;
}

export const emptyRecord: FoundingRecord = { highest: 0, claimed: [], enrolment: undefined };

export const foundingName = "raft/founding";
const checksumBytes = 4;
/** More is no record: 255 servers take some 80 kB. */
const recordBytesMax = 1024 * 1024;

export function encodeRecord(record: FoundingRecord): Bytes {
  const content = encode(record);
  const file = new Uint8Array(checksumBytes + content.length);
  new DataView(file.buffer).setUint32(0, crc32(content));
  file.set(content, checksumBytes);
  return file;
}

/** Undefined for bytes that are no record. */
export function decodeRecord(file: Bytes): FoundingRecord | undefined {
  if (file.length < checksumBytes || file.length > recordBytesMax) return undefined;
  const content = file.subarray(checksumBytes);
  if (new DataView(file.buffer, file.byteOffset, file.length).getUint32(0) !== crc32(content)) return undefined;
  const { highest: rawHighest, claimed: rawClaimed, enrolment: rawEnrolment } = fieldsOf(tryDecode(content)?.value);
  const [highest, claimed] = [readNumber(rawHighest), readIds(rawClaimed, serversMax)];
  if (highest === undefined || claimed === undefined) return undefined;
  if (rawEnrolment === undefined) return { highest, claimed, enrolment: undefined };
  const { founding: rawFounding, promised: rawPromised, accepted: rawAccepted } = fieldsOf(rawEnrolment);
  const [founding, promised, accepted] = [readFounding(rawFounding), readBallot(rawPromised), readAccepted(rawAccepted)];
  if (founding === undefined || promised === undefined) return undefined;
  if (rawAccepted !== undefined && accepted === undefined) return undefined;
  return { highest, claimed, enrolment: { founding, promised, accepted } };
}

export interface RecordStore {
  /** An empty record when there is none. Rejects with `storage-failed` when it is damaged. */
  load(): Promise<FoundingRecord>;
  /** Resolves when it is durable. */
  save(record: FoundingRecord): Promise<void>;
}

export function foundingRecords(files: Pick<FileStore, "get" | "put">): RecordStore {
  return {
    async load() {
      const file = await files.get(foundingName);
      if (file === undefined) return emptyRecord;
      const record = decodeRecord(file);
      if (record !== undefined) return record;
      throw new AgentError("storage-failed", {
        message: `The file ${foundingName} in the data directory is damaged. It says which group this server promised to be of: remove it only when no server of that group is left, or start with an empty data directory`,
      });
    },
    save: (record) => files.put(foundingName, encodeRecord(record)),
  };
}
