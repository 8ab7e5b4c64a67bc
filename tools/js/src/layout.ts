/** The layout document: where each unit of the base lies (spec/container.md, The layout document). */
import { Fault } from "./fault.js";
import { type Json } from "./json.js";
import { checkUnitName } from "./names.js";
import { array, digest, group, integer, mapping, object, oneOf, string } from "./schema.js";

export const FLOATS = ["float32", "float16", "bfloat16"] as const;
export const OTHERS = [
  "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
  "float64", "complex64", "float8_e4m3fn", "float8_e5m2",
] as const; // prettier-ignore

export type Dtype = (typeof FLOATS)[number] | (typeof OTHERS)[number];

/** Bytes of an element. */
export const WIDTHS: Record<Dtype, number> = {
  bool: 1, int8: 1, int16: 2, int32: 4, int64: 8, uint8: 1, uint16: 2, uint32: 4, uint64: 8,
  float16: 2, bfloat16: 2, float32: 4, float64: 8, complex64: 8, float8_e4m3fn: 1, float8_e5m2: 1,
}; // prettier-ignore

export interface Tensor {
  name: string;
  dtype: Dtype;
  shape: number[];
  /** Elements; at most 2^48. */
  size: number;
}

export interface Whole extends Tensor {
  /** Of its raw little-endian bytes in the base. */
  sha256: string;
}

export interface Unit extends Whole {
  dtype: (typeof FLOATS)[number];
  /** Address of its first element. */
  offset: number;
}

export interface Layout {
  /** The digest of the layout document. */
  digest: string;
  chunkLength: number;
  shardLength: number;
  /** Entries of every delta. */
  length: number;
  units: Map<string, Unit>;
  whole: Map<string, Whole>;
  /** The owner of each alias. */
  tied: Map<string, string>;
}

export const shape = array(integer(0, 2 ** 48), 0, 32);
const MOST = 2 ** 20;

const members = object({
  chunk_length: integer(1, 2 ** 24),
  shard_length: integer(1, 2 ** 40),
  length: integer(0, 2 ** 48),
  units: array(
    object({ name: string, dtype: oneOf(...FLOATS), shape, offset: integer(0, 2 ** 48), sha256: digest }),
    0,
    MOST,
  ),
  whole: array(object({ name: string, dtype: oneOf(...OTHERS), shape, sha256: digest }), 0, MOST),
  tied: mapping(string),
});

/** Elements of a shape; the sides that are not 0 multiply to 2^48 at most (`limit`). */
export function sizeOf(sides: readonly number[]): number {
  let product = 1;
  for (const side of sides) {
    if (side > 0) product *= side;
    if (product > 2 ** 48) throw new Fault("limit", `a tensor of the shape ${sides.join(" x ")}`);
  }
  return sides.includes(0) ? 0 : product;
}

export const chunksOf = (layout: Layout, unit: Unit): number => Math.ceil(unit.size / layout.chunkLength);
export const chunksAShard = (layout: Layout): number => layout.shardLength / layout.chunkLength;
export const shardsOf = (layout: Layout): number => Math.ceil(layout.length / layout.shardLength);
export const indexBytes = (layout: Layout): number => 16 * chunksAShard(layout) + 4;

export function readLayout(document: Json, sha256: string): Layout {
  const found = group(document, members);
  const names = [...found.units, ...found.whole].map((each) => each.name);
  [...names, ...found.tied.keys(), ...found.tied.values()].forEach(checkUnitName);
  if (found.shard_length % found.chunk_length !== 0) {
    throw new Fault("layout", `shards of ${found.shard_length} entries, chunks of ${found.chunk_length}`);
  }
  if (found.shard_length / found.chunk_length > 65536) throw new Fault("limit", "more than 65536 chunks a shard");
  const sized = <T extends { shape: number[] }>(each: T) => ({ ...each, size: sizeOf(each.shape) });
  const units = new Map(found.units.map((each) => [each.name, sized(each)]));
  const whole = new Map(found.whole.map((each) => [each.name, sized(each)]));
  const layout: Layout = {
    digest: sha256,
    chunkLength: found.chunk_length,
    shardLength: found.shard_length,
    length: found.length,
    units,
    whole,
    tied: found.tied,
  };
  let end = 0;
  for (const unit of found.units.map(sized)) {
    if (unit.offset !== end) throw new Fault("layout", `unit ${unit.name} begins at ${unit.offset}, not at ${end}`);
    end += chunksOf(layout, unit) * layout.chunkLength;
  }
  if (layout.length !== end) throw new Fault("layout", `the length ${layout.length}, where units end at ${end}`);
  if (new Set([...names, ...found.tied.keys()]).size !== names.length + found.tied.size) {
    throw new Fault("layout", "a name stands twice");
  }
  for (const [alias, owner] of found.tied) {
    if (!units.has(owner) && !whole.has(owner)) throw new Fault("layout", `${alias} is an alias of nothing`);
  }
  return layout;
}

/** The unit that a chunk belongs to; undefined after the last one. */
export function unitOfChunk(layout: Layout, ordered: readonly Unit[], chunk: number): Unit | undefined {
  const address = chunk * layout.chunkLength;
  let low = 0;
  let high = ordered.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ordered[middle]!.offset <= address) low = middle + 1;
    else high = middle;
  }
  const unit = ordered[low - 1];
  return unit && address < unit.offset + unit.size ? unit : undefined;
}
