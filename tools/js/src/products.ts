/** Units that are products of two thin matrices (spec/products.md). */
import type { TaskEntry } from "./catalog.js";
import { endsWithChecksum } from "./bytes.js";
import { Fault } from "./fault.js";
import { FLOATS, type Layout, type Unit, WIDTHS } from "./layout.js";
import { readLevels } from "./levels.js";
import { floatBits, floatOf, halfToFloat } from "./numbers.js";
import * as is from "./schema.js";

export interface Product {
  unit: string;
  dtype: (typeof FLOATS)[number] | "packed";
  rank: number;
  scale: number;
  transposed: boolean;
  /** Of packed factors, the CRC-32C included. */
  bytes: number | null;
  /** Where its bytes lie in `products/c/0`, the CRC-32C included. */
  start: number;
  end: number;
}

export const productMember = is.object({
  unit: is.string,
  dtype: is.oneOf(...FLOATS, "packed" as const),
  rank: is.integer(1, 2 ** 31 - 1),
  scale: is.real,
  transposed: is.optional(is.boolean, false),
  bytes: is.optional(is.nullable(is.integer(6, 2 ** 53)), null),
});

/** Rows of B and columns of A. */
function sides(unit: Unit, transposed: boolean): [number, number] {
  const rows = unit.shape[0] ?? 1;
  const columns = unit.size / rows;
  return transposed ? [columns, rows] : [rows, columns];
}

/** Products as a revision lists them, each with its place. */
export function checkProducts(
  found: readonly Omit<Product, "start" | "end">[],
  entry: TaskEntry,
  layout: Layout,
  stored: number | undefined,
): Product[] {
  const wrong = (product: { unit: string }, what: string) => new Fault("layout", `the product of ${product.unit}: ${what}`);
  if (found.length && !entry.features.includes("products")) throw wrong(found[0]!, "the task does not need the feature");
  if (found.length && entry.element !== "float32") throw wrong(found[0]!, "the task is exact");
  const order = new Map([...layout.units.keys()].map((name, i) => [name, i]));
  let before = -1;
  let end = 0;
  const products = found.map((product) => {
    const unit = layout.units.get(product.unit);
    if (!unit) throw wrong(product, "there is no such unit");
    if (order.get(product.unit)! <= before) throw wrong(product, "it is out of order");
    before = order.get(product.unit)!;
    if (unit.size === 0) throw wrong(product, "the unit has no elements");
    if (entry.replaced.includes(product.unit)) throw wrong(product, "the task keeps the unit whole");
    if (product.transposed && unit.shape.length !== 2) throw wrong(product, "only matrices may be transposed");
    if (!Number.isFinite(Math.fround(product.scale))) throw wrong(product, "its scale is not finite in binary32");
    const [rows, columns] = sides(unit, product.transposed);
    const start = end;
    if (product.dtype === "packed") {
      if (product.bytes === null) throw wrong(product, "it is packed, and does not say its bytes");
      if (product.rank >= 2 ** 16) throw wrong(product, "packed factors have no such rank");
      if (!entry.features.includes("packed-products")) throw wrong(product, "the task does not need packed products");
      end += product.bytes;
    } else {
      if (product.bytes !== null) throw wrong(product, "it says its bytes, and is not packed");
      end += (rows + columns) * product.rank * WIDTHS[product.dtype] + 4;
    }
    return { ...product, start, end };
  });
  if (found.length ? stored !== end : stored !== undefined) {
    throw new Fault("layout", `${stored} bytes of products where there must be ${end}`);
  }
  return products;
}

/** The rank, B [rows, rank] and A [rank, columns]. */
export type Factors = [number, Float32Array, Float32Array];

function unpacked(unit: Unit, product: Product, raw: Uint8Array, rows: number, columns: number): Factors {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const count = view.getUint16(0, true);
  const wrong = (what: string) => new Fault("product", `the packed factors of ${unit.name} ${what}`);
  if (count > Math.min(product.rank, rows, columns)) throw wrong(`have ${count} components`);
  if (raw.length < 2 + 2 * count) throw wrong("end within the steps");
  const levels = readLevels(raw.subarray(2 + 2 * count), rows, columns, count);
  if (!levels) throw wrong("go on after the last level");
  const b = new Float32Array(rows * count);
  const a = new Float32Array(count * columns);
  levels.forEach((each, k) => {
    const step = floatOf(view.getUint16(2 + 2 * k, true) << 16);
    for (let i = 0; i < rows; i++) b[i * count + k] = each[i]!;
    for (let j = 0; j < columns; j++) a[k * columns + j] = each[rows + j]! * step;
    if (!Number.isFinite(step)) throw wrong("have a step that is not finite");
  });
  if (!a.every(Number.isFinite)) throw wrong("have a number that is not finite");
  return [count, b, a];
}

function widened(raw: Uint8Array, dtype: (typeof FLOATS)[number]): Float32Array {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const width = WIDTHS[dtype];
  const found = new Float32Array(raw.length / width);
  for (let i = 0; i < found.length; i++) {
    const value =
      dtype === "float32"
        ? view.getFloat32(4 * i, true)
        : floatOf(dtype === "float16" ? halfToFloat(view.getUint16(2 * i, true)) : view.getUint16(2 * i, true) << 16);
    if (!Number.isFinite(value)) throw new Fault("product", `number ${i} of a factor is not finite`);
    found[i] = value;
  }
  return found;
}

/**
 * The factors of a product, checked.
 *
 * @param bytes B, A and their CRC-32C
 */
export function productFactors(unit: Unit, product: Product, bytes: Uint8Array): Factors {
  if (!endsWithChecksum(bytes)) throw new Fault("product-checksum", `the product of ${unit.name}`);
  const raw = bytes.subarray(0, bytes.length - 4);
  const [rows, columns] = sides(unit, product.transposed);
  if (product.dtype === "packed") return unpacked(unit, product, raw, rows, columns);
  const both = widened(raw, product.dtype);
  return [product.rank, both.subarray(0, rows * product.rank), both.subarray(rows * product.rank)];
}

/** The patterns of all entries of a unit, 0 where there is none. */
export function productPatterns(unit: Unit, product: Product, [rank, b, a]: Factors): Uint32Array {
  const [rows, columns] = sides(unit, product.transposed);
  const scale = Math.fround(product.scale);
  const patterns = new Uint32Array(unit.size);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      let total = 0;
      for (let k = 0; k < rank; k++) {
        total = Math.fround(total + Math.fround(b[i * rank + k]! * a[k * columns + j]!));
      }
      const entry = Math.fround(total * scale);
      patterns[product.transposed ? j * rows + i : i * columns + j] = entry === 0 ? 0 : floatBits(entry);
    }
  }
  return patterns;
}
