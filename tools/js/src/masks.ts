/** The mask section: which entries below the extent are not zero (spec/masks.md). */
import { bitLength, Bits } from "./bits.js";
import { decodeBlocks } from "./blocks.js";
import { Fault } from "./fault.js";

export const MASKS = [
  "empty", "full", "bitmap", "index", "holes", "runs", "gaps", "grouped", "blocks", "base-blocks",
] as const; // prettier-ignore

export type Mask = (typeof MASKS)[number];

export function maskParameterAllowed(mask: Mask, parameter: number, extent: number): boolean {
  switch (mask) {
    case "index":
      return parameter === bitLength(extent - 1);
    case "holes":
    case "gaps":
      return parameter <= 24;
    case "runs":
      return (parameter & 255) <= 24 && parameter >>> 8 <= 24;
    case "grouped":
      return 1 <= parameter && parameter <= 16;
    case "blocks":
    case "base-blocks":
      return parameter >= 16;
    default:
      return parameter === 0;
  }
}

/** The bytes of a section that has a formula; undefined for streams of symbols. */
export function maskBytes(mask: Mask, parameter: number, extent: number, count: number): number | undefined {
  switch (mask) {
    case "empty":
    case "full":
      return 0;
    case "bitmap":
      return Math.ceil(extent / 8);
    case "index":
      return Math.ceil((count * parameter) / 8);
    case "grouped":
      return Math.ceil((Math.ceil(extent / 2 ** parameter) + count * (parameter + 1)) / 8);
    default:
      return undefined;
  }
}

/** A stream is judged as a whole: its size first, then its padding, then its symbols. */
function judge(bits: Bits): void {
  if (bits.overrun) throw new Fault("mask-section", "the symbols do not end within the section");
  if (bits.trailing) throw new Fault("mask-section", "the symbols end before the section's last byte");
  if (bits.padded) throw new Fault("padding", "an unused bit of the mask section is 1");
  if (bits.needless) throw new Fault("non-canonical", "an escape in the mask section is needless");
}

const notTheExtent = (extent: number, count: number) =>
  new Fault("position", `not ${count} ascending positions of which the last is ${extent - 1}`);

function full(count: number): Uint32Array {
  const found = new Uint32Array(count);
  for (let i = 0; i < count; i++) found[i] = i;
  return found;
}

function bitmap(bits: Bits, extent: number, count: number): Uint32Array {
  const found = new Uint32Array(count);
  let n = 0;
  for (let entry = 0; entry < extent; entry++) {
    if (bits.field(1) && n++ < count) found[n - 1] = entry;
  }
  judge(bits);
  if (n !== count || found[n - 1] !== extent - 1) throw notTheExtent(extent, count);
  return found;
}

function index(bits: Bits, width: number, extent: number, count: number): Uint32Array {
  const found = new Uint32Array(count);
  let ascends = true;
  for (let i = 0; i < count; i++) {
    found[i] = bits.field(width);
    if (i > 0 && found[i]! <= found[i - 1]!) ascends = false;
  }
  judge(bits);
  if (!ascends || found[count - 1] !== extent - 1) throw notTheExtent(extent, count);
  return found;
}

function holes(bits: Bits, k: number, extent: number, count: number): Uint32Array {
  const found = new Uint32Array(count);
  let zero = -1;
  let n = 0;
  for (let i = extent - count; i > 0 && !bits.overrun; i--) {
    const skipped = bits.rice(k);
    for (let end = zero + 1 + skipped, entry = zero + 1; entry < end && n < count; entry++) found[n++] = entry;
    zero += 1 + skipped;
  }
  judge(bits);
  if (zero >= extent - 1) throw notTheExtent(extent, count);
  while (n < count) found[n++] = ++zero;
  return found;
}

function runs(bits: Bits, parameter: number, extent: number, count: number): Uint32Array {
  const found = new Uint32Array(count);
  let end = 0;
  let ones = 0;
  while (end < extent && !bits.overrun) {
    end += bits.rice(parameter & 255) + (ones === 0 ? 0 : 1);
    const run = bits.rice(parameter >>> 8) + 1;
    const kept = Math.min(run, Math.max(0, count - ones));
    for (let i = 0; i < kept; i++) found[ones + i] = end + i;
    ones += run;
    end += run;
  }
  judge(bits);
  if (end !== extent || ones !== count) throw notTheExtent(extent, count);
  return found;
}

function gaps(bits: Bits, k: number, extent: number, count: number): Uint32Array {
  const found = new Uint32Array(count);
  let position = -1;
  for (let i = 0; i < count && !bits.overrun; i++) {
    position += 1 + bits.rice(k);
    found[i] = position;
  }
  judge(bits);
  if (position !== extent - 1) throw notTheExtent(extent, count);
  return found;
}

function grouped(bits: Bits, width: number, extent: number, count: number): Uint32Array {
  const groups = Math.ceil(extent / 2 ** width);
  const flagged: number[] = [];
  for (let group = 0; group < groups; group++) if (bits.field(1)) flagged.push(group);
  const found = new Uint32Array(count);
  let at = 0;
  let fits = true;
  for (let i = 0; i < count; i++) {
    if (at === flagged.length) fits = false;
    found[i] = (flagged[at] ?? 0) * 2 ** width + bits.field(width);
    if (i > 0 && found[i]! <= found[i - 1]!) fits = false;
    if (bits.field(1) && at < flagged.length) at++;
    else if (i === count - 1) fits = false;
  }
  judge(bits);
  if (!fits || at !== flagged.length || found[count - 1] !== extent - 1) throw notTheExtent(extent, count);
  return found;
}

/**
 * The positions of the non-zeros, strictly ascending, of which the last is `extent` - 1.
 *
 * @param section the mask section; of an encoding with a formula it has that size
 * @param exponents of `base-blocks`: a byte an entry, at least `extent`
 */
export function decodeMask(
  mask: Mask,
  parameter: number,
  extent: number,
  count: number,
  section: Uint8Array,
  exponents?: Uint8Array,
): Uint32Array {
  switch (mask) {
    case "empty":
      return new Uint32Array();
    case "full":
      return full(count);
    case "bitmap":
      return bitmap(new Bits(section), extent, count);
    case "index":
      return index(new Bits(section), parameter, extent, count);
    case "holes":
      return holes(new Bits(section), parameter, extent, count);
    case "runs":
      return runs(new Bits(section), parameter, extent, count);
    case "gaps":
      return gaps(new Bits(section), parameter, extent, count);
    case "grouped":
      return grouped(new Bits(section), parameter, extent, count);
    case "blocks":
      return decodeBlocks(section, parameter, extent, count);
    case "base-blocks":
      return decodeBlocks(section, parameter, extent, count, exponents);
  }
}
