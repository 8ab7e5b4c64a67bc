/** The literals of a Zstandard block: raw, repeated, or by a Huffman code. */
import { corrupt, type Memory } from "./zstd.js";
import { Backward, readFse } from "./zstd_entropy.js";

export interface Huffman {
  log: number;
  symbol: Uint8Array;
  bits: Uint8Array;
}

const MOST = 2 ** 17;

function huffmanOf(weights: number[]): Huffman {
  const sum = weights.reduce((total, weight) => total + (weight ? 2 ** (weight - 1) : 0), 0);
  if (sum === 0 || weights.length > 255) throw corrupt("has a Huffman code that is none");
  const log = 32 - Math.clz32(sum);
  const rest = 2 ** log - sum;
  if (log > 11 || (rest & (rest - 1)) !== 0) throw corrupt("has a Huffman code that is none");
  const all = [...weights, 32 - Math.clz32(rest)];
  const code: Huffman = { log, symbol: new Uint8Array(2 ** log), bits: new Uint8Array(2 ** log) };
  let at = 0;
  for (let weight = 1; weight <= log; weight++) {
    all.forEach((each, symbol) => {
      if (each !== weight) return;
      const end = at + 2 ** (weight - 1);
      code.symbol.fill(symbol, at, end);
      code.bits.fill(log + 1 - weight, at, end);
      at = end;
    });
  }
  return code;
}

/** Weights that are coded by two states in turn, until the stream is spent. */
function readWeights(data: Uint8Array): number[] {
  const { table, end } = readFse(data, 0, 12, 6);
  const stream = new Backward(data.subarray(end));
  const states = [stream.take(table.log), stream.take(table.log)];
  if (stream.left < 0) throw corrupt("has a Huffman code that is cut short");
  const weights: number[] = [];
  for (let turn = 0; ; turn ^= 1) {
    const state = states[turn]!;
    weights.push(table.symbol[state]!);
    if (weights.length > 254) throw corrupt("has a Huffman code of too many symbols");
    states[turn] = table.next[state]! + stream.take(table.bits[state]!);
    if (stream.left < 0) {
      weights.push(table.symbol[states[turn ^ 1]!]!);
      return weights;
    }
  }
}

function readHuffman(data: Uint8Array): { code: Huffman; end: number } {
  const head = data[0];
  if (head === undefined) throw corrupt("is cut short");
  const size = head < 128 ? head : (head - 126) >> 1;
  const end = 1 + size;
  if (end > data.length) throw corrupt("is cut short");
  if (head < 128) return { code: huffmanOf(readWeights(data.subarray(1, end))), end };
  const weights = Array.from({ length: head - 127 }, (_, i) => (data[1 + (i >> 1)]! >> (i & 1 ? 0 : 4)) & 15);
  return { code: huffmanOf(weights), end };
}

function readStream(data: Uint8Array, code: Huffman, into: Uint8Array): void {
  const stream = new Backward(data);
  for (let i = 0; i < into.length; i++) {
    const at = stream.peek(code.log);
    into[i] = code.symbol[at]!;
    stream.take(code.bits[at]!);
  }
  if (stream.left !== 0) throw corrupt("has literals that do not end with their stream");
}

function readFour(data: Uint8Array, code: Huffman, into: Uint8Array): void {
  if (data.length < 10) throw corrupt("has literals that are cut short");
  const quarter = (into.length + 3) >> 2;
  let at = 6;
  for (let i = 0; i < 4; i++) {
    const size = i < 3 ? data[2 * i]! + 256 * data[2 * i + 1]! : data.length - at;
    if (size < 1 || at + size > data.length || i * quarter > into.length) throw corrupt("has literals that do not fit");
    readStream(data.subarray(at, at + size), code, into.subarray(i * quarter, i < 3 ? (i + 1) * quarter : undefined));
    at += size;
  }
}

export function decodeLiterals(block: Uint8Array, memory: Memory): { literals: Uint8Array; end: number } {
  const head = (i: number) => {
    const byte = block[i];
    if (byte === undefined) throw corrupt("is cut short");
    return byte;
  };
  const kind = head(0) & 3;
  const form = (head(0) >> 2) & 3;
  const coded = kind >= 2;
  const headBytes = coded ? [3, 3, 4, 5][form]! : [1, 2, 1, 3][form]!;
  let value = 0;
  for (let i = headBytes - 1; i >= 0; i--) value = value * 256 + head(i);
  const width = coded ? [10, 10, 14, 18][form]! : form & 1 ? 20 : 5;
  const rest = Math.floor(value / (coded || form & 1 ? 16 : 8));
  const size = rest % 2 ** width;
  if (size > MOST) throw corrupt("has too many literals");
  const stored = coded ? Math.floor(rest / 2 ** width) : kind === 1 ? 1 : size;
  const end = headBytes + stored;
  if (end > block.length) throw corrupt("is cut short");
  let data = block.subarray(headBytes, end);
  if (kind === 0) return { literals: data, end };
  const literals = new Uint8Array(size);
  if (kind === 1) return { literals: literals.fill(data[0]!), end };
  if (kind === 2) {
    const found = readHuffman(data);
    memory.huffman = found.code;
    data = data.subarray(found.end);
  }
  if (!memory.huffman) throw corrupt("repeats a Huffman code where there was none");
  if (form === 0) readStream(data, memory.huffman, literals);
  else readFour(data, memory.huffman, literals);
  return { literals, end };
}
