/** Steps of whatever size, entropy coded (spec/values.md, `magnitudes`, `base-magnitudes`, Laws). */
import { Bits } from "./bits.js";
import { readSegments } from "./blocks.js";
import { Coder, Exhausted, SLOTS, type Slots, slotsOf } from "./coder.js";
import { Fault } from "./fault.js";

interface Law {
  slots: Slots;
  /** 0 for octaves; else equal buckets of 2^(scale - 1). */
  scale: number;
  origin: number;
}

function readLaw(coder: Coder): Law {
  const scale = coder.field(5);
  const origin = scale > 0 ? coder.field(16) + 65536 * coder.field(16) : 0;
  const symbols = coder.field(7);
  if (symbols < 1 || symbols > 126) throw new Fault("table", `a law of ${symbols} symbols`);
  const counts: number[] = [];
  let left = SLOTS;
  for (let i = 0; i < symbols; i++) {
    const length = coder.field(4);
    if (length > 11) throw new Fault("table", `a number of slots of ${length} bits`);
    const count = length > 1 ? 2 ** (length - 1) + coder.field(length - 1) : length;
    left -= count;
    if (left < 0) throw new Fault("table", `a law of more than ${SLOTS} slots`);
    counts.push(count);
  }
  if (left > 0) throw new Fault("table", `a law of ${SLOTS - left} slots`);
  return { slots: slotsOf(counts), scale, origin };
}

/** The least magnitude of a bucket, and how many low bits tell its members apart. */
function bucketOf(law: Law, bucket: number): [least: number, low: number] {
  if (law.scale > 0) return [(law.origin + bucket) * 2 ** (law.scale - 1), law.scale - 1];
  if (bucket === 0) return [1, 0];
  const low = ((bucket + 1) >>> 1) - 1;
  return [(2 + ((bucket + 1) & 1)) * 2 ** low, low];
}

interface Coded {
  symbols: Uint8Array;
  laws: Law[];
  lawOf: (value: number) => Law;
  coder: Coder;
}

function readCoded(part: Uint8Array, count: number, exponents?: Uint8Array): Coded {
  const coder = new Coder(part);
  const segments = exponents ? readSegments(coder, coder.field(4) + 1) : { segment: new Uint8Array(256), count: 1 };
  if (!segments) throw new Fault("table", "the segments do not ascend");
  const laws: Law[] = [];
  for (let i = 0; i < segments.count; i++) laws.push(readLaw(coder));
  const lawOf = (value: number) => laws[exponents ? segments.segment[exponents[value]!]! : 0]!;
  const symbols = new Uint8Array(count);
  for (let i = 0; i < count; i++) symbols[i] = coder.symbol(lawOf(i).slots);
  return { symbols, laws, lawOf, coder };
}

/** @param exponents of `base-magnitudes`: the exponent byte of the base's weight of each value */
export function decodeMagnitudes(section: Uint8Array, count: number, exponents?: Uint8Array): Uint32Array {
  if (section.length < 4) throw new Fault("frame-truncated", "the section is shorter than its first field");
  const size = new DataView(section.buffer, section.byteOffset).getUint32(0, true);
  if (size % 2 === 1 || size < 16) throw new Fault("table", `${size} bytes cannot be states and words`);
  if (4 + size > section.length) throw new Fault("frame-truncated", "the section ends within the coder's part");
  let coded: Coded;
  try {
    coded = readCoded(section.subarray(4, 4 + size), count, exponents);
  } catch (error) {
    if (error instanceof Exhausted) throw new Fault("frame-truncated", "the words do not suffice");
    throw error;
  }
  const bits = new Bits(section.subarray(4 + size));
  const found = new Uint32Array(count);
  let inRange = true;
  for (let i = 0; i < count && !bits.overrun; i++) {
    const symbol = coded.symbols[i]!;
    const [least, low] = bucketOf(coded.lawOf(i), symbol >>> 1);
    const magnitude = least + bits.field(low); // imprecise only where it is far out of range
    if (magnitude > 0x7fffffff + (symbol & 1)) inRange = false;
    found[i] = symbol & 1 ? -magnitude : magnitude;
  }
  if (bits.overrun) throw new Fault("frame-truncated", "the low bits do not suffice");
  if (!coded.coder.spent) throw new Fault("frame-trailing", "words are left over");
  if (bits.trailing) throw new Fault("frame-trailing", "bytes are left over after the low bits");
  if (bits.padded) throw new Fault("padding", "an unused bit of the value section is 1");
  if (!coded.coder.settled) throw new Fault("non-canonical", "a state does not end at 65536");
  if (!inRange) throw new Fault("value", "a value is outside of int32");
  return found;
}
