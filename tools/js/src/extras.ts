/** Tensors that a task keeps whole (spec/container.md, Extras). */
import type { Stored } from "./catalog.js";
import { Fault } from "./fault.js";
import { FLOATS, OTHERS, shape, sizeOf, type Tensor, WIDTHS } from "./layout.js";
import { checkUnitName } from "./names.js";
import * as is from "./schema.js";
import { readObject, type Store } from "./store.js";
import { decompress } from "./zstd.js";

export const extraMember = is.object({ name: is.string, dtype: is.oneOf(...FLOATS, ...OTHERS), shape });

const product = (sides: readonly number[]) => sides.reduce((total, side) => total * side, 1);

/** The shape of an extra's chunks: rows along the first side. */
export function chunkShape(extra: Tensor): number[] {
  const [first, ...others] = extra.shape;
  if (first === undefined) return [];
  const row = Math.max(1, product(others) * WIDTHS[extra.dtype]);
  const rows = Math.max(1, Math.min(first, Math.floor(2 ** 26 / row)));
  return [rows, ...others.map((side) => Math.max(1, side))];
}

export const chunkCount = (extra: Tensor): number =>
  extra.size === 0 ? 0 : extra.shape.length ? Math.ceil(extra.shape[0]! / chunkShape(extra)[0]!) : 1;

/** The key of a chunk, relative to the extra's folder. */
export const chunkKey = (extra: Tensor, chunk: number): string =>
  extra.shape.length ? `c/${chunk}${"/0".repeat(extra.shape.length - 1)}` : "c";

const chunkBytes = (extra: Tensor): number => product(chunkShape(extra)) * WIDTHS[extra.dtype];

/** Extras as a document lists them, which call for exactly the objects that it names below `extras/`. */
export function checkExtras(found: readonly Omit<Tensor, "size">[], objects: ReadonlyMap<string, Stored>): Tensor[] {
  const extras = found.map((each) => ({ ...each, size: sizeOf(each.shape) }));
  const names = new Set<string>();
  for (const extra of extras) {
    checkUnitName(extra.name);
    if (names.has(extra.name)) throw new Fault("layout", `two extras are called ${extra.name}`);
    names.add(extra.name);
    if (extra.size > 0 && chunkBytes(extra) > 2 ** 31 - 1) throw new Fault("limit", `a chunk of ${extra.name} is too large`);
  }
  const listed = [...objects.keys()].filter((key) => key.startsWith("extras/")).length;
  const chunks = extras.reduce((total, extra) => total + chunkCount(extra), 0);
  const called = extras.length ? 1 + extras.length + chunks : 0;
  if (listed !== called) throw new Fault("extra", `${listed} objects are listed, and the extras call for ${called}`);
  const lacks = (key: string) => !objects.has(`extras/${key}`);
  extras.forEach((extra, j) => {
    if (lacks("zarr.json") || lacks(`${j}/zarr.json`)) throw new Fault("extra", `no document of ${extra.name}`);
    for (let i = 0; i < chunkCount(extra); i++) {
      if (lacks(`${j}/${chunkKey(extra, i)}`)) throw new Fault("extra", `chunk ${i} of ${extra.name} is not listed`);
    }
  });
  return extras;
}

/**
 * The raw little-endian bytes of an extra.
 *
 * @param folder of the revision; @param j the extra's number
 */
export async function readExtra(
  store: Store,
  folder: string,
  objects: ReadonlyMap<string, Stored>,
  extra: Tensor,
  j: number,
): Promise<Uint8Array> {
  const bytes = extra.size * WIDTHS[extra.dtype];
  const chunks: Uint8Array[] = [];
  for (let i = 0; i < chunkCount(extra); i++) {
    const key = `extras/${j}/${chunkKey(extra, i)}`;
    chunks.push(decompress(await readObject(store, `${folder}/${key}`, objects.get(key)!), chunkBytes(extra)));
  }
  if (chunks.length === 1) return chunks[0]!.subarray(0, bytes);
  const whole = new Uint8Array(bytes);
  chunks.forEach((chunk, i) => whole.set(chunk.subarray(0, bytes - i * chunk.length), i * chunk.length));
  return whole;
}
