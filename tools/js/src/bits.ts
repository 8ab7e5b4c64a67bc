/** A section read as a stream of bits, least significant first (spec/frame.md, Numbers and bits; Rice symbols). */
export class Bits {
  private readonly view: DataView;
  private readonly end: number;
  private at = 0;
  /** A symbol was written as an escape without need. */
  needless = false;

  constructor(readonly section: Uint8Array) {
    const padded = new Uint8Array(section.length + 16); // a symbol takes 56 bits at most
    padded.set(section);
    this.view = new DataView(padded.buffer);
    this.end = 8 * section.length;
  }

  /** More was read than there is: what was read last has no meaning. */
  get overrun(): boolean {
    return this.at > this.end;
  }

  /** Whole bytes are left over. */
  get trailing(): boolean {
    return this.end - this.at >= 8;
  }

  /** An unused bit of the last byte is 1. */
  get padded(): boolean {
    return this.at < this.end && this.peek() !== 0;
  }

  private peek(): number {
    const byte = this.at >>> 3;
    const shift = this.at & 7;
    const low = this.view.getUint32(byte, true) >>> shift;
    return shift === 0 ? low : (low | (this.view.getUint8(byte + 4) << (32 - shift))) >>> 0;
  }

  /** A field of 0 to 32 bits. */
  field(width: number): number {
    if (width === 0) return 0;
    const bits = this.peek();
    this.at += width;
    return width === 32 ? bits : bits & (2 ** width - 1);
  }

  /** A Rice symbol; it may exceed 32 bits. */
  rice(k: number): number {
    const bits = this.peek();
    if ((bits & 0xffffff) === 0) {
      this.at += 24;
      const value = this.field(32);
      if (Math.floor(value / 2 ** k) < 24) this.needless = true;
      return value;
    }
    const quotient = 31 - Math.clz32(bits & -bits);
    this.at += quotient + 1;
    return quotient * 2 ** k + this.field(k);
  }
}

/** How many bits it takes to write a number below 2^32. */
export const bitLength = (value: number): number => 32 - Math.clz32(value);
