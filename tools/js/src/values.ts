/** The value section: the patterns of the non-zeros (spec/values.md). */
import { bitLength, Bits } from "./bits.js";
import { Fault } from "./fault.js";
import { decodeMagnitudes } from "./magnitudes.js";
import { floatBits, floatOf, halfToFloat } from "./numbers.js";

export const VALUES = [
  "none", "sign", "table", "affine", "float16", "bfloat16", "raw", "rice", "magnitudes", "base-magnitudes",
] as const; // prettier-ignore

export type Value = (typeof VALUES)[number];
export type Element = "float32" | "int32";

const FLOATS: readonly Value[] = ["affine", "float16", "bfloat16"];
const INTEGERS: readonly Value[] = ["rice", "magnitudes", "base-magnitudes"];

export const valueAllowed = (value: Value, element: Element): boolean =>
  !(element === "int32" ? FLOATS : INTEGERS).includes(value);

export function valueParameterAllowed(value: Value, parameter: number): boolean {
  switch (value) {
    case "table":
      return 1 <= parameter && parameter <= 256;
    case "affine":
      return 1 <= parameter && parameter <= 8;
    case "rice":
      return parameter <= 31;
    default:
      return parameter === 0;
  }
}

/** The bytes of a section that has a formula; undefined for streams of symbols. */
function valueBytes(value: Value, parameter: number, count: number): number | undefined {
  switch (value) {
    case "none":
      return 0;
    case "sign":
      return 4 + Math.ceil(count / 8);
    case "table":
      return 4 * parameter + Math.ceil((count * bitLength(parameter - 1)) / 8);
    case "affine":
      return 8 + Math.ceil((count * parameter) / 8);
    case "float16":
    case "bfloat16":
      return 2 * count;
    case "raw":
      return 4 * count;
    default:
      return undefined;
  }
}

function unpadded(bits: Bits): Bits {
  if (bits.padded) throw new Fault("padding", "an unused bit of the value section is 1");
  return bits;
}

function codes(section: Uint8Array, width: number, count: number): Uint16Array {
  const bits = new Bits(section);
  const found = new Uint16Array(count);
  for (let i = 0; i < count; i++) found[i] = bits.field(width);
  unpadded(bits);
  return found;
}

function sign(view: DataView, section: Uint8Array, element: Element, count: number): Uint32Array {
  const signs = codes(section.subarray(4), 1, count);
  const magnitude = view.getUint32(0, true);
  if (magnitude === 0 || magnitude > 0x7fffffff) throw new Fault("magnitude", `the magnitude ${magnitude}`);
  const negative = element === "float32" ? magnitude | 0x80000000 : -magnitude;
  return Uint32Array.from(signs, (negated) => (negated ? negative : magnitude));
}

function table(view: DataView, section: Uint8Array, size: number, count: number): Uint32Array {
  const chosen = codes(section.subarray(4 * size), bitLength(size - 1), count);
  if (chosen.some((code) => code >= size)) throw new Fault("code", `a code is not below ${size}`);
  const patterns = Uint32Array.from({ length: size }, (_, i) => view.getUint32(4 * i, true));
  if (patterns.some((pattern, i) => pattern <= (i === 0 ? 0 : patterns[i - 1]!))) {
    throw new Fault("table", "the patterns do not ascend from above 0");
  }
  return Uint32Array.from(chosen, (code) => patterns[code]!);
}

function affine(view: DataView, section: Uint8Array, width: number, count: number): Uint32Array {
  const chosen = codes(section.subarray(8), width, count);
  const offset = floatOf(view.getUint32(0, true));
  const step = floatOf(view.getUint32(4, true));
  if (!Number.isFinite(offset) || !Number.isFinite(step)) throw new Fault("value", "an offset or step is not finite");
  const levels = Uint32Array.from({ length: 2 ** width }, (_, code) => floatBits(offset + code * step));
  return Uint32Array.from(chosen, (code) => levels[code]!);
}

function float16(view: DataView, count: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) => {
    const half = view.getUint16(2 * i, true);
    if ((half & 0x7fff) > 0x7c00) throw new Fault("value", `value ${i} is no number`);
    return halfToFloat(half);
  });
}

function rice(section: Uint8Array, k: number, count: number): Uint32Array {
  const bits = new Bits(section);
  const found = new Uint32Array(count);
  let inRange = true;
  for (let i = 0; i < count && !bits.overrun; i++) {
    const negative = bits.field(1);
    const magnitude = bits.rice(k) + 1;
    if (magnitude > 0x7fffffff + negative) inRange = false;
    found[i] = negative ? -magnitude : magnitude;
  }
  if (bits.overrun) throw new Fault("frame-truncated", "the section ends within a value");
  if (bits.trailing) throw new Fault("frame-trailing", "bytes are left over after the values");
  unpadded(bits);
  if (bits.needless) throw new Fault("non-canonical", "an escape in the value section is needless");
  if (!inRange) throw new Fault("value", "a value is outside of int32");
  return found;
}

function read(
  value: Value,
  parameter: number,
  element: Element,
  count: number,
  section: Uint8Array,
  exponents: () => Uint8Array,
): Uint32Array {
  const view = new DataView(section.buffer, section.byteOffset, section.byteLength);
  switch (value) {
    case "none":
      return new Uint32Array();
    case "sign":
      return sign(view, section, element, count);
    case "table":
      return table(view, section, parameter, count);
    case "affine":
      return affine(view, section, parameter, count);
    case "float16":
      return float16(view, count);
    case "bfloat16":
      return Uint32Array.from({ length: count }, (_, i) => view.getUint16(2 * i, true) << 16);
    case "raw":
      return Uint32Array.from({ length: count }, (_, i) => view.getUint32(4 * i, true));
    case "rice":
      return rice(section, parameter, count);
    case "magnitudes":
      return decodeMagnitudes(section, count);
    case "base-magnitudes":
      return decodeMagnitudes(section, count, exponents());
  }
}

/**
 * The patterns of `count` non-zeros, in the order of their positions.
 *
 * @param section everything after the mask section
 * @param exponents of `base-magnitudes`: the exponent byte of the base's weight at each position
 */
export function decodeValues(
  value: Value,
  parameter: number,
  element: Element,
  count: number,
  section: Uint8Array,
  exponents: () => Uint8Array,
): Uint32Array {
  const size = valueBytes(value, parameter, count);
  if (size !== undefined && section.length < size) {
    throw new Fault("frame-truncated", `${section.length} bytes of values where there must be ${size}`);
  }
  if (size !== undefined && section.length > size) {
    throw new Fault("frame-trailing", `${section.length - size} bytes are left over after the values`);
  }
  const patterns = read(value, parameter, element, count, section, exponents);
  const zero = patterns.indexOf(0);
  if (zero >= 0) throw new Fault("zero-value", `value ${zero} is zero`);
  return patterns;
}
