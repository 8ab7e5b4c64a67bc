/** Objects with the frames of several chunks (spec/container.md, Shards). */
import { endsWithChecksum } from "./bytes.js";
import { Fault } from "./fault.js";

/** Where a chunk's frame and its CRC-32C lie; undefined if the chunk is absent. */
export type Place = { start: number; end: number } | undefined;

const ABSENT = 2n ** 64n - 1n;

/**
 * The places of a shard's chunks.
 *
 * @param index the last bytes of the shard, the index's CRC-32C included
 * @param size bytes of the shard
 */
export function readIndex(index: Uint8Array, size: number, key: string): Place[] {
  if (!endsWithChecksum(index)) throw new Fault("index-checksum", key);
  const view = new DataView(index.buffer, index.byteOffset, index.byteLength);
  const places: Place[] = [];
  let end = 0;
  for (let at = 0; at + 16 < index.length; at += 16) {
    const offset = view.getBigUint64(at, true);
    const length = view.getBigUint64(at + 8, true);
    if (offset === ABSENT && length === ABSENT) {
      places.push(undefined);
      continue;
    }
    if (offset !== BigInt(end) || length > BigInt(size - index.length - end)) {
      throw new Fault("index-range", `${key}: chunk ${places.length} lies where it cannot`);
    }
    places.push({ start: end, end: end + Number(length) });
    end += Number(length);
  }
  if (end !== size - index.length) throw new Fault("index-range", `${key}: no chunk has the last bytes`);
  return places;
}

/** A frame without the CRC-32C after it. */
export function checkedFrame(bytes: Uint8Array, key: string, chunk: number): Uint8Array {
  if (!endsWithChecksum(bytes)) throw new Fault("frame-checksum", `${key}: chunk ${chunk}`);
  return bytes.subarray(0, bytes.length - 4);
}
