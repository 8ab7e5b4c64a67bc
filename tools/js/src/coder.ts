/** The entropy coder: rANS with four states and 1024 slots (spec/masks.md, The entropy coder). */
export const SLOTS = 1024;

/** How the slots are shared: which symbol has a slot, and where each symbol's slots begin. */
export interface Slots {
  /** 1024: the symbol of each slot. */
  symbol: Uint8Array;
  /** One more than there are symbols: the first slot of each, and 1024. */
  first: Uint16Array;
}

export function slotsOf(counts: readonly number[]): Slots {
  const symbol = new Uint8Array(SLOTS);
  const first = new Uint16Array(counts.length + 1);
  let at = 0;
  counts.forEach((count, index) => {
    symbol.fill(index, at, at + count);
    at += count;
    first[index + 1] = at;
  });
  return { symbol, first };
}

/** There were too few words: the reader of a section gives it the name that it has there. */
export class Exhausted extends Error {}

export class Coder {
  private readonly states = new Uint32Array(4);
  private readonly view: DataView;
  private turn = 0;
  private at = 16;

  /** @param section states and words; an even number of bytes, at least 16 */
  constructor(section: Uint8Array) {
    this.view = new DataView(section.buffer, section.byteOffset, section.byteLength);
    for (let i = 0; i < 4; i++) this.states[i] = this.view.getUint32(4 * i, true);
  }

  private put(state: number): void {
    let x = state;
    if (x < 0x10000) {
      if (this.at >= this.view.byteLength) throw new Exhausted();
      x = x * 0x10000 + this.view.getUint16(this.at, true);
      this.at += 2;
    }
    this.states[this.turn & 3] = x;
    this.turn++;
  }

  /** A field of 0 to 16 bits. */
  field(width: number): number {
    const x = this.states[this.turn & 3]!;
    this.put(x >>> width);
    return x & (2 ** width - 1);
  }

  symbol(slots: Slots): number {
    const x = this.states[this.turn & 3]!;
    const slot = x & (SLOTS - 1);
    const symbol = slots.symbol[slot]!;
    const first = slots.first[symbol]!;
    const count = slots.first[symbol + 1]! - first;
    this.put(count * (x >>> 10) + slot - first);
    return symbol;
  }

  /** All words are used. */
  get spent(): boolean {
    return this.at === this.view.byteLength;
  }

  /** Every state is where an encoder begins. */
  get settled(): boolean {
    return this.states.every((state) => state === 0x10000);
  }
}
