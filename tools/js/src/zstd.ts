/** One Zstandard frame (RFC 8878) as an extra's chunk must be one (spec/container.md, Extras): strict, in bounded time. */
import { Fault } from "./fault.js";
import { decodeLiterals, type Huffman } from "./zstd_literals.js";
import { type Fse, runSequences } from "./zstd_sequences.js";
import { xxh64 } from "./xxh64.js";

export const corrupt = (what: string) => new Fault("extra", `a Zstandard frame ${what}`);

const MAGIC = 0xfd2fb528;
const BLOCK = 2 ** 17;
const WINDOW = 2 ** 23;

/** What blocks leave for those after them. */
export interface Memory {
  huffman?: Huffman;
  tables: (Fse | undefined)[];
  offsets: [number, number, number];
}

/** Bytes that are being written: the content up to `at`. */
export interface Output {
  bytes: Uint8Array;
  at: number;
}

interface FrameHeader {
  end: number;
  checksum: boolean;
}

function littleEndian(data: Uint8Array, at: number, width: number): number {
  let value = 0;
  for (let i = width - 1; i >= 0; i--) value = value * 256 + (data[at + i] ?? NaN);
  return value;
}

function readFrameHeader(data: Uint8Array, expected: number): FrameHeader {
  if (littleEndian(data, 0, 4) !== MAGIC || data.length < 6) throw corrupt("does not begin as one");
  const flags = data[4]!;
  const single = (flags & 32) !== 0;
  if (flags & 8) throw corrupt("has a reserved bit");
  let at = 5;
  let window = expected;
  if (!single) {
    const descriptor = data[at++]!;
    const base = 2 ** (10 + (descriptor >> 3));
    window = base + (base / 8) * (descriptor & 7);
  }
  const dictionary = [0, 1, 2, 4][flags & 3]!;
  if (dictionary && littleEndian(data, at, dictionary) !== 0) throw corrupt("needs a dictionary");
  at += dictionary;
  const size = [single ? 1 : 0, 2, 4, 8][flags >> 6]!;
  const content = littleEndian(data, at, size) + (size === 2 ? 256 : 0);
  if (size === 0 || content !== expected) throw corrupt(`does not state the ${expected} bytes that it must hold`);
  if (window > Math.max(WINDOW, 2 ** Math.ceil(Math.log2(expected)))) throw corrupt("asks for too large a window");
  if (expected > data.length * 2 ** 15) throw corrupt(`of ${data.length} bytes cannot hold ${expected}`);
  return { end: at + size, checksum: (flags & 4) !== 0 };
}

function decodeBlock(block: Uint8Array, output: Output, memory: Memory): void {
  const { literals, end } = decodeLiterals(block, memory);
  const start = output.at;
  runSequences(block.subarray(end), literals, output, memory);
  if (output.at - start > BLOCK) throw corrupt("has a block that is too large");
}

/** The content of a frame that states and has exactly `expected` bytes. */
export function decompress(data: Uint8Array, expected: number): Uint8Array {
  const header = readFrameHeader(data, expected);
  const output: Output = { bytes: new Uint8Array(expected), at: 0 };
  const memory: Memory = { tables: [], offsets: [1, 4, 8] };
  let at = header.end;
  for (let last = false; !last; ) {
    const block = littleEndian(data, at, 3);
    if (Number.isNaN(block)) throw corrupt("is cut short");
    at += 3;
    last = (block & 1) !== 0;
    const kind = (block >> 1) & 3;
    const size = block >> 3;
    const stored = kind === 1 ? 1 : size;
    if (kind === 3) throw corrupt("has a reserved kind of block");
    if (size > BLOCK) throw corrupt("has a block that is too large");
    if (at + stored > data.length) throw corrupt("is cut short");
    if (kind === 2) {
      decodeBlock(data.subarray(at, at + size), output, memory);
    } else {
      if (output.at + size > expected) throw corrupt(`holds more than the ${expected} bytes that it states`);
      if (kind === 0) output.bytes.set(data.subarray(at, at + size), output.at);
      else output.bytes.fill(data[at]!, output.at, output.at + size);
      output.at += size;
    }
    at += stored;
  }
  if (output.at !== expected) throw corrupt(`holds ${output.at} bytes and states ${expected}`);
  if (header.checksum) {
    if (littleEndian(data, at, 4) !== xxh64(output.bytes)) throw corrupt("has another checksum");
    at += 4;
  }
  if (at !== data.length) throw corrupt("is followed by more");
  return output.bytes;
}
