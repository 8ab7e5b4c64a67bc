/** What tells which task an input belongs to (spec/container.md, Routers). */
import type { RouterEntry, Stored } from "./catalog.js";
import { checkExtras, extraMember, readExtra } from "./extras.js";
import { Fault } from "./fault.js";
import { parseJson } from "./json.js";
import type { Layout, Tensor } from "./layout.js";
import { checkFolderName } from "./names.js";
import { floatOf, halfToFloat } from "./numbers.js";
import { objectsBesides, ROUTER_KEY } from "./revision.js";
import * as is from "./schema.js";
import { readDocument, type Store } from "./store.js";

const POSITIVE = 2 ** 31 - 1;

const positive: is.Check<number> = (value, place) => {
  const found = is.real(value, place);
  if (!(found > 0)) throw new Fault("document-syntax", `${place} must be above 0`);
  return found;
};

const members = is.object({
  layout: is.digest,
  tasks: is.array(is.object({ name: is.string, revision: is.digest }), 2, 2 ** 20),
  recipe: is.object({
    at: is.array(is.string, 1, 1024),
    pooling: is.oneOf("auto", "tokens", "maps", "first", "summary"),
    width: is.integer(1, POSITIVE),
  }),
  neighbours: is.integer(1, POSITIVE),
  spread: positive,
  rejection: is.nullable(is.object({ evidence: is.real, distance: is.real })),
  objects: objectsBesides(ROUTER_KEY),
  extras: is.array(extraMember, 0, 4),
  method: is.object({}),
});

export interface RouterDocument extends ReturnType<typeof members> {
  folder: string;
  arrays: Tensor[];
}

export interface Router extends RouterDocument {
  /** The raw bytes of each array. */
  data: Uint8Array[];
  keys: Float32Array;
  owners: Int32Array;
  metric: { centre: Float32Array; matrix: Float32Array } | null;
}

const wrong = (what: string) => new Fault("router", what);

function twice(names: string[]): boolean {
  return new Set(names).size < names.length;
}

function checkShapes(router: RouterDocument): void {
  const { arrays, recipe, neighbours, tasks } = router;
  const form = arrays.map((array) => array.name).join();
  if (form !== "keys,owners" && form !== "keys,owners,centre,matrix") throw wrong(`the arrays are ${form}`);
  const [keys, owners, centre, matrix] = arrays as [Tensor, Tensor, Tensor?, Tensor?];
  const is2d = (array: Tensor) => array.shape.length === 2 && array.shape[1] === recipe.width;
  if (!["float16", "float32"].includes(keys.dtype) || !is2d(keys)) throw wrong("keys are no rows of the recipe's width");
  const rows = keys.shape[0]!;
  if (owners.dtype !== "int32" || owners.shape.length !== 1 || owners.shape[0] !== rows) throw wrong("owners are not one a key");
  if (centre && (centre.dtype !== "float32" || centre.shape.length !== 1 || centre.shape[0] !== recipe.width)) {
    throw wrong("the centre is no row of the recipe's width");
  }
  if (matrix && (matrix.dtype !== "float32" || !is2d(matrix) || matrix.shape[0]! < 1)) {
    throw wrong("the matrix has no rows of the recipe's width");
  }
  if (rows < neighbours || rows < tasks.length) throw wrong("there are fewer keys than neighbours or tasks");
}

/** The document of a router, with all that can be told without its arrays. */
export async function readRouterDocument(
  store: Store,
  name: string,
  entry: RouterEntry,
  layout: Layout,
): Promise<RouterDocument> {
  const folder = `routers/${name}/${entry.revision}`;
  const document = await readDocument(store, `${folder}/zarr.json`, { size: entry.size, sha256: entry.revision });
  const found = is.group(parseJson(document), members);
  found.tasks.forEach((task) => checkFolderName(task.name));
  if (found.layout !== layout.digest) throw new Fault("layout", `router ${name} is of another layout`);
  if (found.objects.has("delta/zarr.json")) throw new Fault("extra", `router ${name} has a delta`);
  const arrays = checkExtras(found.extras, found.objects);
  if (twice(found.tasks.map((task) => task.name.toLowerCase()))) throw wrong("a task stands twice");
  if (twice(found.recipe.at)) throw wrong("a place stands twice");
  const router = { ...found, folder, arrays };
  checkShapes(router);
  return router;
}

function floats(raw: Uint8Array, dtype: string): Float32Array {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const half = dtype === "float16";
  const found = new Float32Array(raw.length / (half ? 2 : 4));
  for (let i = 0; i < found.length; i++) {
    found[i] = half ? floatOf(halfToFloat(view.getUint16(2 * i, true))) : view.getFloat32(4 * i, true);
    if (!Number.isFinite(found[i])) throw wrong("an array has a number that is not finite");
  }
  return found;
}

export async function readRouter(store: Store, name: string, entry: RouterEntry, layout: Layout): Promise<Router> {
  const router = await readRouterDocument(store, name, entry, layout);
  const data: Uint8Array[] = [];
  for (const [j, array] of router.arrays.entries()) {
    data.push(await readExtra(store, router.folder, router.objects, array, j));
  }
  const keys = floats(data[0]!, router.arrays[0]!.dtype);
  const view = new DataView(data[1]!.buffer, data[1]!.byteOffset, data[1]!.byteLength);
  const owners = Int32Array.from({ length: data[1]!.length / 4 }, (_, i) => view.getInt32(4 * i, true));
  owners.forEach((owner, i) => {
    const step = owner - (i ? owners[i - 1]! : 0);
    if (step < 0 || step > (i ? 1 : 0)) throw wrong("owners do not ascend task by task");
  });
  if (owners[owners.length - 1] !== router.tasks.length - 1) throw wrong("a task has no keys, or a key no task");
  const metric = data[3] ? { centre: floats(data[2]!, "float32"), matrix: floats(data[3], "float32") } : null;
  return { ...router, data, keys, owners, metric };
}

export type { Stored };
