/** The sequences of a Zstandard block: copies of literals, and of what was written before. */
import { corrupt, type Memory, type Output } from "./zstd.js";
import { Backward, type Fse, fseOf, readFse } from "./zstd_entropy.js";

export type { Fse };

interface Kind {
  /** The largest code. */
  most: number;
  /** The most bits of a table of states. */
  log: number;
  usual: Fse;
  base: readonly number[];
  bits: readonly number[];
}

const times = (n: number, value: number): number[] => new Array<number>(n).fill(value);

const bitsOf = (direct: number, bits: readonly number[]) => [...times(direct, 0), ...bits];

const basesOf = (first: number, bits: readonly number[]) => {
  let next = first;
  return bits.map((width) => (next += 2 ** width) - 2 ** width);
};

const LITERAL_BITS = bitsOf(16, [1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
const MATCH_BITS = bitsOf(32, [1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
const OFFSET_BITS = Array.from({ length: 32 }, (_, code) => code);

/** In the order in which they are described: lengths of literals, offsets, lengths of matches. */
const KINDS: readonly [Kind, Kind, Kind] = [
  {
    most: 35,
    log: 9,
    usual: fseOf(
      [4, 3, ...times(11, 2), 1, 1, 1, ...times(9, 2), 3, 2, ...times(5, 1), ...times(4, -1)],
      6,
    ),
    base: basesOf(0, LITERAL_BITS),
    bits: LITERAL_BITS,
  },
  {
    most: 31,
    log: 8,
    usual: fseOf([...times(6, 1), 2, 2, 2, ...times(15, 1), ...times(5, -1)], 5),
    base: OFFSET_BITS.map((bits) => 2 ** bits),
    bits: OFFSET_BITS,
  },
  {
    most: 52,
    log: 9,
    usual: fseOf([1, 4, 3, ...times(6, 2), ...times(37, 1), ...times(7, -1)], 6),
    base: basesOf(3, MATCH_BITS),
    bits: MATCH_BITS,
  },
];

/** Reads the tables of a block; gives where they end. */
function readTables(block: Uint8Array, start: number, memory: Memory): number {
  const modes = block[start];
  if (modes === undefined || modes & 3) throw corrupt("has sequences of a reserved kind");
  let at = start + 1;
  KINDS.forEach((kind, i) => {
    const mode = (modes >> (6 - 2 * i)) & 3;
    if (mode === 0) {
      memory.tables[i] = kind.usual;
    } else if (mode === 1) {
      const symbol = block[at++];
      if (symbol === undefined || symbol > kind.most) throw corrupt("has a code that is none");
      const one = Uint8Array.of(symbol);
      memory.tables[i] = { log: 0, symbol: one, bits: new Uint8Array(1), next: new Uint16Array(1) };
    } else if (mode === 2) {
      const found = readFse(block, at, kind.most, kind.log);
      memory.tables[i] = found.table;
      at = found.end;
    } else if (!memory.tables[i]) {
      throw corrupt("repeats a table where there was none");
    }
  });
  return at;
}

/** The distance of a match; `value` 1 to 3 are the last ones, shifted if there are no literals. */
function offsetOf(value: number, literals: number, offsets: [number, number, number]): number {
  const [first, second, third] = offsets;
  const rank = value > 3 ? 3 : value - 1 + (literals === 0 ? 1 : 0);
  const offset = value > 3 ? value - 3 : [first, second, third, first - 1][rank]!;
  if (rank === 1) offsets.splice(0, 2, offset, first);
  else if (rank > 1) offsets.splice(0, 3, offset, first, second);
  return offset;
}

/** Writes what a block's sequences say, and the literals after the last of them. */
export function runSequences(block: Uint8Array, literals: Uint8Array, output: Output, memory: Memory): void {
  const { bytes } = output;
  let from = 0;
  const copy = (count: number) => {
    if (from + count > literals.length || output.at + count > bytes.length) throw corrupt("holds more than it states");
    bytes.set(literals.subarray(from, from + count), output.at);
    from += count;
    output.at += count;
  };
  const [one, two, three] = [block[0], block[1] ?? NaN, block[2] ?? NaN];
  if (one === undefined) throw corrupt("is cut short");
  const headBytes = one < 128 ? 1 : one < 255 ? 2 : 3;
  const count = one < 128 ? one : one < 255 ? (one - 128) * 256 + two : two + three * 256 + 0x7f00;
  if (Number.isNaN(count)) throw corrupt("is cut short");
  if (count === 0) {
    if (block.length > headBytes) throw corrupt("has a block with bytes left over");
  } else {
    const stream = new Backward(block.subarray(readTables(block, headBytes, memory)));
    const tables = memory.tables as [Fse, Fse, Fse];
    const [literalKind, offsetKind, matchKind] = KINDS;
    const states = tables.map((table) => stream.take(table.log)) as [number, number, number];
    for (let i = 0; i < count; i++) {
      const [ll, of, ml] = states.map((state, kind) => tables[kind]!.symbol[state]!) as [number, number, number];
      const value = offsetKind.base[of]! + stream.take(offsetKind.bits[of]!);
      const match = matchKind.base[ml]! + stream.take(matchKind.bits[ml]!);
      const length = literalKind.base[ll]! + stream.take(literalKind.bits[ll]!);
      if (i < count - 1) {
        for (const kind of [0, 2, 1] as const) {
          const table = tables[kind];
          states[kind] = table.next[states[kind]]! + stream.take(table.bits[states[kind]]!);
        }
      }
      if (stream.left < 0) throw corrupt("has sequences that are cut short");
      copy(length);
      const offset = offsetOf(value, length, memory.offsets);
      if (offset < 1 || offset > output.at) throw corrupt("looks back before its beginning");
      if (output.at + match > bytes.length) throw corrupt("holds more than it states");
      for (let end = output.at + match; output.at < end; output.at++) bytes[output.at] = bytes[output.at - offset]!;
    }
    if (stream.left !== 0) throw corrupt("has sequences that do not end with their stream");
  }
  copy(literals.length - from);
}
