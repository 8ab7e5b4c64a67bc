/** The levels of packed products: a binary range coder whose chances adapt (spec/products.md). */

const LEVEL_BITS = 15;

/** How likely a decision is 0, of 2^15. */
class Chance {
  private fast = 1 << 14;
  private slow = 1 << 14;

  get even(): number {
    return (this.fast + this.slow) >> 1;
  }

  learn(bit: number): void {
    if (bit) {
      this.fast -= this.fast >> 4;
      this.slow -= this.slow >> 7;
    } else {
      this.fast += (32768 - this.fast) >> 4;
      this.slow += (32768 - this.slow) >> 7;
    }
  }
}

/** Decisions and plain bits; bytes beyond the end are 0. */
class RangeDecoder {
  used = 0;
  private range = 2 ** 32 - 1;
  private code = 0;

  constructor(private readonly data: Uint8Array) {
    for (let i = 0; i < 4; i++) this.shift();
  }

  /** A bit of even chance. */
  plain(): number {
    return this.split(Math.floor(this.range / 2));
  }

  /** A bit of a chance, which learns from it. */
  decide(chance: Chance): number {
    const bit = this.split((this.range >>> 15) * chance.even);
    chance.learn(bit);
    return bit;
  }

  private shift(): void {
    this.code = (this.code * 256 + (this.data[this.used] ?? 0)) % 2 ** 32;
    this.used++;
  }

  private split(bound: number): number {
    const bit = this.code >= bound ? 1 : 0;
    if (bit) {
      this.code -= bound;
      this.range -= bound;
    } else {
      this.range = bound;
    }
    while (this.range < 2 ** 24) {
      this.range *= 256;
      this.shift();
    }
    return bit;
  }
}

const chances = (count: number): Chance[] => Array.from({ length: count }, () => new Chance());

/** The chances of one factor's levels. */
class Factor {
  private readonly more = [chances(LEVEL_BITS), chances(LEVEL_BITS), chances(LEVEL_BITS)];
  private readonly first = chances(LEVEL_BITS + 1);
  private readonly second = [chances(LEVEL_BITS + 1), chances(LEVEL_BITS + 1)];

  /** The next level, beside that of the component before. */
  level(coder: RangeDecoder, neighbour: number): number {
    const more = this.more[Math.min(Math.abs(neighbour), 2)]!;
    let length = 0;
    while (length < LEVEL_BITS && coder.decide(more[length]!)) length++;
    if (length === 0) return 0;
    const negative = coder.plain();
    let size = 1;
    for (let i = 0; i < length - 1; i++) {
      let bit: number;
      if (i === 0) bit = coder.decide(this.first[length]!);
      else if (i === 1) bit = coder.decide(this.second[size & 1]![length]!);
      else bit = coder.plain();
      size = 2 * size + bit;
    }
    return negative ? -size : size;
  }
}

/**
 * Of each component the levels of B's column, then of A's row; undefined if bytes are left.
 *
 * @param rows of B
 * @param columns of A
 */
export function readLevels(data: Uint8Array, rows: number, columns: number, components: number): Int16Array[] | undefined {
  const coder = new RangeDecoder(data);
  const factors = [new Factor(), new Factor()] as const;
  const found: Int16Array[] = [];
  let before = new Int16Array(rows + columns);
  for (let k = 0; k < components; k++) {
    const levels = new Int16Array(rows + columns);
    for (let i = 0; i < levels.length; i++) levels[i] = factors[i < rows ? 0 : 1].level(coder, before[i]!);
    found.push(levels);
    before = levels;
  }
  return coder.used >= data.length ? found : undefined;
}
