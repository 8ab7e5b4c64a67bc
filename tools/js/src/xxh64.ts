/** The lower 32 bits of XXH64 with the seed 0, the checksum of a Zstandard frame. */
type Word = [high: number, low: number];

const P1: Word = [0x9e3779b1, 0x85ebca87];
const P2: Word = [0xc2b2ae3d, 0x27d4eb4f];
const P3: Word = [0x165667b1, 0x9e3779f9];
const P4: Word = [0x85ebca77, 0xc2b2ae63];
const P5: Word = [0x27d4eb2f, 0x165667c5];

const add = ([ah, al]: Word, [bh, bl]: Word): Word => {
  const low = (al >>> 0) + (bl >>> 0);
  return [(ah + bh + (low >= 2 ** 32 ? 1 : 0)) | 0, low | 0];
};
const xor = ([ah, al]: Word, [bh, bl]: Word): Word => [ah ^ bh, al ^ bl];
const rotate = ([high, low]: Word, by: number): Word =>
  by < 32
    ? [(high << by) | (low >>> (32 - by)), (low << by) | (high >>> (32 - by))]
    : by === 32
      ? [low, high]
      : rotate([low, high], by - 32);
const shift = ([high, low]: Word, by: number): Word =>
  by < 32 ? [high >>> by, (low >>> by) | (high << (32 - by))] : [0, high >>> (by - 32)];

function multiply([ah, al]: Word, [bh, bl]: Word): Word {
  const [a0, a1, b0, b1] = [al & 0xffff, al >>> 16, bl & 0xffff, bl >>> 16];
  const one = a1 * b0 + ((a0 * b0) >>> 16);
  const two = a0 * b1 + (one % 65536);
  const high = a1 * b1 + Math.floor(one / 65536) + Math.floor(two / 65536);
  return [(high + Math.imul(ah, bl) + Math.imul(al, bh)) | 0, Math.imul(al, bl)];
}

const round = (state: Word, word: Word): Word => multiply(rotate(add(state, multiply(word, P2)), 31), P1);

export function xxh64(data: Uint8Array): number {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const word = (at: number): Word => [view.getInt32(at + 4, true), view.getInt32(at, true)];
  let at = 0;
  let hash: Word = P5;
  if (data.length >= 32) {
    const zero: Word = [0, 0];
    let [a, b, c, d] = [add(P1, P2), P2, zero, add(zero, [~P1[0], -P1[1]])];
    for (; at + 32 <= data.length; at += 32) {
      a = round(a, word(at));
      b = round(b, word(at + 8));
      c = round(c, word(at + 16));
      d = round(d, word(at + 24));
    }
    hash = add(add(rotate(a, 1), rotate(b, 7)), add(rotate(c, 12), rotate(d, 18)));
    for (const state of [a, b, c, d]) hash = add(multiply(xor(hash, round(zero, state)), P1), P4);
  }
  hash = add(hash, [Math.floor(data.length / 2 ** 32), data.length | 0]);
  for (; at + 8 <= data.length; at += 8) {
    hash = add(multiply(rotate(xor(hash, round([0, 0], word(at))), 27), P1), P4);
  }
  if (at + 4 <= data.length) {
    hash = add(multiply(rotate(xor(hash, multiply([0, view.getInt32(at, true)], P1)), 23), P2), P3);
    at += 4;
  }
  for (; at < data.length; at++) hash = multiply(rotate(xor(hash, multiply([0, data[at]!], P5)), 11), P1);
  hash = multiply(xor(hash, shift(hash, 33)), P2);
  hash = multiply(xor(hash, shift(hash, 29)), P3);
  hash = xor(hash, shift(hash, 32));
  return hash[1] >>> 0;
}
