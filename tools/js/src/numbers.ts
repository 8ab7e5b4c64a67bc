/** Bits of floating-point numbers, without a detour that would change the payload of a NaN. */
const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** The binary32 number that has these bits. */
export function floatOf(pattern: number): number {
  bits[0] = pattern;
  return float[0]!;
}

/** The bits of a number rounded to binary32, ties to even. */
export function floatBits(value: number): number {
  float[0] = value;
  return bits[0]!;
}

/** The bits of a binary16 number widened to binary32. */
export function halfToFloat(half: number): number {
  const sign = (half & 0x8000) << 16;
  const magnitude = half & 0x7fff;
  if (magnitude >= 0x7c00) return (sign | 0x7f800000 | ((magnitude & 0x3ff) << 13)) >>> 0;
  if (magnitude >= 0x0400) return (sign | ((magnitude << 13) + (112 << 23))) >>> 0;
  return (sign | floatBits(magnitude / 2 ** 24)) >>> 0;
}

/** The bits of a binary32 number rounded to binary16, ties to even; a NaN stays one. */
export function floatToHalf(pattern: number): number {
  const sign = (pattern >>> 16) & 0x8000;
  const magnitude = pattern & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520 and more
  if (magnitude >= 0x38800000) {
    const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
    return sign | ((rounded - (112 << 23)) >>> 13);
  }
  const scaled = floatOf(magnitude) * 2 ** 24; // exact, below 1024
  const down = Math.floor(scaled);
  const rest = scaled - down;
  return sign | (rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down);
}

/** The upper half of a binary32 number rounded to bfloat16, ties to even; a NaN stays one. */
export function floatToBrain(pattern: number): number {
  if ((pattern & 0x7fffffff) > 0x7f800000) return (pattern >>> 16) | 0x40;
  return (pattern + 0x7fff + ((pattern >>> 16) & 1)) >>> 16;
}
