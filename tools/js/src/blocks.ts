/** Masks of blocks of equal density (spec/masks.md, `blocks` and `base-blocks`). */
import { bitLength } from "./bits.js";
import { Coder, Exhausted, SLOTS, type Slots, slotsOf } from "./coder.js";
import { densityOf } from "./densities.js";
import { Fault } from "./fault.js";

/** What a section of blocks is read into: a bit an entry, and whether a position was wrong. */
class Marks {
  readonly bits: Uint32Array;
  wrong = false;

  constructor(readonly extent: number) {
    this.bits = new Uint32Array(Math.ceil(extent / 32));
  }

  mark(entry: number): void {
    if (entry < 0 || entry >= this.extent) this.wrong = true;
    else this.bits[entry >>> 5]! |= 1 << (entry & 31);
  }

  /** The entries that are marked, if they are `count` and the last is the extent's last. */
  positions(count: number): Uint32Array | undefined {
    const found = new Uint32Array(count);
    let n = 0;
    for (let word = 0; word < this.bits.length; word++) {
      let bits = this.bits[word]!;
      while (bits !== 0) {
        if (n === count) return undefined;
        found[n++] = word * 32 + 31 - Math.clz32(bits & -bits);
        bits &= bits - 1;
      }
    }
    return !this.wrong && n === count && found[count - 1] === this.extent - 1 ? found : undefined;
  }
}

/** The cells of a block that are non-zeros. */
function readBlock(coder: Coder, cells: number, marks: Marks, entryOf: (cell: number) => number): void {
  const width = bitLength(cells);
  let ones = coder.field(Math.min(width, 16));
  if (width > 16) ones += coder.field(width - 16) * 65536;
  if (ones > cells) {
    marks.wrong = true;
    ones = cells;
  }
  if (ones === 0) return;
  const { slots, escape, low } = densityOf(ones, cells);
  let cell = -1;
  for (let i = 0; i < ones; i++) {
    let gap = 0;
    let symbol = coder.symbol(slots);
    for (; symbol === escape; symbol = coder.symbol(slots)) gap += escape * 2 ** low;
    gap += symbol * 2 ** low;
    if (low > 0) gap += coder.field(low);
    cell += 1 + gap;
    if (cell < cells) marks.mark(entryOf(cell));
    else marks.wrong = true;
  }
}

/** The slots of classes: all but the last are told, the last has what is left. */
function readClasses(coder: Coder, classes: number): Slots {
  const counts: number[] = [];
  let left = SLOTS;
  for (let i = 1; i < classes; i++) {
    const count = coder.field(10);
    left -= count;
    if (count === 0 || left < 0) throw new Fault("mask-parameter", "a class has no slots, or more than there are");
    counts.push(count);
  }
  if (left === 0) throw new Fault("mask-parameter", "the last class has no slots");
  return slotsOf([...counts, left]);
}

/** The class of each of `count` lines, all 0 if there is one class only. */
function readLines(coder: Coder, classes: number, count: number): Uint8Array {
  const lines = new Uint8Array(count);
  if (classes > 1) {
    const slots = readClasses(coder, classes);
    for (let i = 0; i < count; i++) lines[i] = coder.symbol(slots);
  }
  return lines;
}

/** Items 0, 1, ... sorted by their class: `order` from `start[c]` up to `start[c + 1]`. */
function byClass(classOf: Uint8Array, classes: number): { order: Uint32Array; start: Uint32Array } {
  const start = new Uint32Array(classes + 1);
  for (const c of classOf) start[c + 1]!++;
  for (let c = 0; c < classes; c++) start[c + 1]! += start[c]!;
  const next = start.slice();
  const order = new Uint32Array(classOf.length);
  classOf.forEach((c, item) => (order[next[c]!++] = item));
  return { order, start };
}

/** The phase and two numbers of classes: three reads before the phase is judged. */
function readForm(coder: Coder, width: number): [phase: number, first: number, second: number] {
  const phase = coder.field(16);
  const first = coder.field(4) + 1;
  const second = coder.field(4) + 1;
  if (phase >= width) throw new Fault("mask-parameter", `the phase ${phase} is not below the row's ${width}`);
  return [phase, first, second];
}

function readPlain(coder: Coder, width: number, marks: Marks): void {
  const [phase, rowClasses, columnClasses] = readForm(coder, width);
  const rows = byClass(readLines(coder, rowClasses, Math.ceil((phase + marks.extent) / width)), rowClasses);
  const columns = byClass(readLines(coder, columnClasses, width), columnClasses);
  for (let r = 0; r < rowClasses; r++) {
    const top = rows.start[r]!;
    const height = rows.start[r + 1]! - top;
    for (let c = 0; c < columnClasses; c++) {
      const left = columns.start[c]!;
      const across = columns.start[c + 1]! - left;
      readBlock(coder, height * across, marks, (cell) => {
        const row = Math.floor(cell / across);
        return rows.order[top + row]! * width + columns.order[left + cell - row * across]! - phase;
      });
    }
  }
}

/** Segments of exponent bytes: the segment of each of the 256; undefined if they do not ascend. */
export function readSegments(coder: Coder, count: number): { segment: Uint8Array; count: number } | undefined {
  const segment = new Uint8Array(256);
  let before = 0;
  for (let i = 1; i < count; i++) {
    const first = coder.field(8);
    if (first <= before) return undefined;
    segment.fill(i, first);
    before = first;
  }
  return { segment, count };
}

function readBeside(coder: Coder, width: number, marks: Marks, exponents: Uint8Array): void {
  const [phase, rowClasses, count] = readForm(coder, width);
  const segments = readSegments(coder, count);
  if (!segments) throw new Fault("mask-parameter", "the segments do not ascend");
  const rows = readLines(coder, rowClasses, Math.ceil((phase + marks.extent) / width));
  const blockOf = new Uint8Array(marks.extent);
  for (let p = 0; p < marks.extent; p++) {
    blockOf[p] = rows[Math.floor((phase + p) / width)]! * segments.count + segments.segment[exponents[p]!]!;
  }
  const blocks = byClass(blockOf, rowClasses * segments.count);
  for (let b = 0; b < rowClasses * segments.count; b++) {
    const from = blocks.start[b]!;
    readBlock(coder, blocks.start[b + 1]! - from, marks, (cell) => blocks.order[from + cell]!);
  }
}

/** Positions of `blocks`, or of `base-blocks` if there are exponent bytes of the base. */
export function decodeBlocks(
  section: Uint8Array,
  width: number,
  extent: number,
  count: number,
  exponents?: Uint8Array,
): Uint32Array {
  if (section.length % 2 === 1 || section.length < 16) {
    throw new Fault("mask-section", `${section.length} bytes cannot be states and words`);
  }
  const coder = new Coder(section);
  const marks = new Marks(extent);
  try {
    if (exponents) readBeside(coder, width, marks, exponents);
    else readPlain(coder, width, marks);
  } catch (error) {
    if (error instanceof Exhausted) throw new Fault("mask-section", "the words do not suffice");
    throw error;
  }
  if (!coder.spent) throw new Fault("mask-section", "words are left over");
  if (!coder.settled) throw new Fault("non-canonical", "a state does not end at 65536");
  const found = marks.positions(count);
  if (!found) throw new Fault("position", `not ${count} entries of which the last is ${extent - 1}`);
  return found;
}
