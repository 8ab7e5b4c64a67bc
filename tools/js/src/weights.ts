/** From the base's weights and a task's entries to the task's weights (spec/container.md, Weights). */
import type { Unit } from "./layout.js";
import { floatBits, floatOf, floatToBrain, floatToHalf, halfToFloat } from "./numbers.js";

export interface Entries {
  element: "float32" | "int32";
  /** Positions in the flattened unit, strictly ascending. */
  positions: Float64Array;
  /** The 32 bits of each entry, none of them zero. */
  patterns: Uint32Array;
}

function lossy(base: number, entry: number, dtype: Unit["dtype"]): number {
  const widened = dtype === "float32" ? base : dtype === "float16" ? halfToFloat(base) : base << 16;
  const sum = floatBits(Math.fround(floatOf(widened) + floatOf(entry)));
  return dtype === "float32" ? sum : dtype === "float16" ? floatToHalf(sum) : floatToBrain(sum);
}

/** Bits of a weight as an integer in the order of weights; its own inverse. */
const ordered = (bits: number, width: number): number => {
  const signed = (bits << (32 - width)) >> (32 - width);
  return signed ^ ((signed >> (width - 1)) & (2 ** (width - 1) - 1));
};

function exact(base: number, entry: number, width: number): number {
  const moved = (ordered(base, width) + (entry | 0)) | 0;
  return ordered(moved, width) & (width === 32 ? -1 : 0xffff);
}

/** Raw weights of a unit moved by entries; where there is none the bits stay. */
export function applyEntries(unit: Unit, base: Uint8Array, entries: Entries): Uint8Array {
  const tuned = base.slice();
  const view = new DataView(tuned.buffer);
  const { element, positions, patterns } = entries;
  const wide = unit.dtype === "float32";
  for (let i = 0; i < positions.length; i++) {
    const at = positions[i]! * (wide ? 4 : 2);
    const bits = wide ? view.getUint32(at, true) : view.getUint16(at, true);
    const entry = patterns[i]!;
    const moved = element === "int32" ? exact(bits, entry, wide ? 32 : 16) : lossy(bits, entry, unit.dtype);
    if (wide) view.setUint32(at, moved, true);
    else view.setUint16(at, moved, true);
  }
  return tuned;
}
