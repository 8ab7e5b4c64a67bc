/** Tables for the zeros before each non-zero of a block (spec/masks.md, Densities). */
import { type Slots, SLOTS, slotsOf } from "./coder.js";

export interface Density {
  slots: Slots;
  /** The escape, which stands for as many cells as its number, times 2^low. */
  escape: number;
  /** Bits below each symbol. */
  low: number;
}

const tables = new Map<number, Slots>();

function tableOf(dense: boolean, k: number, octave: number): Slots {
  const key = (dense ? 128 : 0) + 8 * octave + k;
  let found = tables.get(key);
  if (!found) {
    const p = ((17 + 2 * k) * 1024) / 2 ** octave;
    const share = dense ? p : 65536 - p;
    const counts: number[] = [];
    let v = 2 ** 26;
    let left = SLOTS;
    while (true) {
      v = Math.floor((v * share) / 65536);
      const next = Math.floor((v + 32768) / 65536);
      if (counts.length === 63 || next === left || next === 0) break;
      counts.push(left - next);
      left = next;
    }
    found = slotsOf([...counts, left]);
    tables.set(key, found);
  }
  return found;
}

/** The table of `ones` non-zeros in `cells` cells, 1 <= ones <= cells < 2^26. */
export function densityOf(ones: number, cells: number): Density {
  const upper = Math.floor((ones * 65536) / cells); // 2^32 * ones has too many bits for one step
  const rest = ones * 65536 - upper * cells;
  let d = upper * 65536 + Math.floor((rest * 65536) / cells);
  const dense = d > 2 ** 31;
  if (dense) d = 2 ** 32 - d;
  let octave = 0;
  for (; d <= 2 ** 30 && octave < (dense ? 7 : 3); octave++) d *= 2;
  let low = 0;
  if (!dense) for (; d <= 2 ** 30 && low < 16; low++) d *= 2;
  const k = Math.max(0, Math.floor((d - 1) / 2 ** 27) - 8);
  const slots = tableOf(dense, k, octave);
  return { slots, escape: slots.first.length - 2, low };
}
