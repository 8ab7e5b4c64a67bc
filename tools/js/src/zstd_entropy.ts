/** What Zstandard's literals and sequences are coded with: streams read from their end, and finite state entropy. */
import { corrupt } from "./zstd.js";

/** Bits read from the last to the first; those before the first are 0, as decoders of Huffman codes look at them. */
export class Backward {
  private readonly view: DataView;
  /** Bits not yet read; below 0 more were read than there are. */
  left: number;

  constructor(data: Uint8Array) {
    const last = data[data.length - 1];
    if (!last) throw corrupt("has a stream without its last bit");
    this.left = 8 * (data.length - 1) + 31 - Math.clz32(last);
    const padded = new Uint8Array(data.length + 16);
    padded.set(data, 8);
    this.view = new DataView(padded.buffer);
  }

  /** The next bits, at most 16, without taking them. */
  peek(width: number): number {
    const at = 64 + this.left - width;
    return (this.view.getUint32(at >>> 3, true) >>> (at & 7)) & (2 ** width - 1);
  }

  /** At most 31 bits. */
  take(width: number): number {
    if (width > 16) {
      const upper = this.take(width - 16);
      return upper * 65536 + this.take(16);
    }
    const value = this.peek(width);
    this.left -= width;
    if (this.left < -32) throw corrupt("has a stream that is too short");
    return value;
  }
}

/** A table of states: what each stands for, and where it leads. */
export interface Fse {
  log: number;
  symbol: Uint8Array;
  bits: Uint8Array;
  next: Uint16Array;
}

/** @param shares of each symbol, adding up to 2^log; -1 is a share below 1 */
export function fseOf(shares: readonly number[], log: number): Fse {
  const size = 2 ** log;
  const table: Fse = { log, symbol: new Uint8Array(size), bits: new Uint8Array(size), next: new Uint16Array(size) };
  let high = size;
  shares.forEach((share, symbol) => {
    if (share < 0) table.symbol[--high] = symbol;
  });
  const step = (size >> 1) + (size >> 3) + 3;
  let at = 0;
  shares.forEach((share, symbol) => {
    for (let i = 0; i < share; i++) {
      table.symbol[at] = symbol;
      do at = (at + step) & (size - 1);
      while (at >= high);
    }
  });
  const seen = shares.map(Math.abs);
  for (let state = 0; state < size; state++) {
    const rank = seen[table.symbol[state]!]!++;
    table.bits[state] = log - (31 - Math.clz32(rank));
    table.next[state] = (rank << table.bits[state]!) - size;
  }
  return table;
}

/** A table as it is written, and where its description ends. */
export function readFse(data: Uint8Array, start: number, most: number, longest: number): { table: Fse; end: number } {
  let at = 8 * start;
  const take = (width: number) => {
    let value = 0;
    for (let i = 0; i < width; i++, at++) value |= (((data[at >>> 3] ?? 0) >>> (at & 7)) & 1) << i;
    return value;
  };
  const log = take(4) + 5;
  if (log > longest) throw corrupt("has a table of states that is too large");
  let left = 2 ** log + 1;
  const shares: number[] = [];
  while (left > 1) {
    const width = 32 - Math.clz32(left);
    const threshold = 2 ** (width - 1);
    const spare = 2 * threshold - 1 - left;
    let value = take(width - 1);
    if (value >= spare) {
      value |= take(1) * threshold;
      if (value >= threshold) value -= spare;
    }
    const share = value - 1;
    left -= Math.abs(share);
    shares.push(share);
    if (share === 0) {
      let more = 3;
      while (more === 3 && shares.length <= most) {
        more = take(2);
        for (let i = 0; i < more; i++) shares.push(0);
      }
    }
    if (shares.length > most + 1 || left < 1) throw corrupt("has a table of states that is none");
  }
  const end = Math.ceil(at / 8);
  if (end > data.length) throw corrupt("is cut short");
  return { table: fseOf(shares, log), end };
}
