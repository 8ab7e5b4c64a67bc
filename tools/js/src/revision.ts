/** The revision document of a task (spec/container.md, The revision document). */
import {
  compressor, count, element, features, parent, shards, stored, type Stored, type TaskEntry,
} from "./catalog.js"; // prettier-ignore
import { checkExtras, extraMember } from "./extras.js";
import { Fault } from "./fault.js";
import { type Json, plain, sameJson } from "./json.js";
import type { Layout, Tensor } from "./layout.js";
import { checkProducts, type Product, productMember } from "./products.js";
import * as is from "./schema.js";

const N = "(0|[1-9][0-9]{0,14})";
const ARRAYS = `extras/zarr\\.json|extras/${N}/zarr\\.json|extras/${N}/c(/${N}){0,32}`;
const KEY = new RegExp(`^(delta/zarr\\.json|products/zarr\\.json|products/c/0|${ARRAYS})$`);

export const objectsBesides = (key: RegExp): is.Check<Map<string, Stored>> =>
  is.mapping(stored, is.matching(key, "a key of the revision's own"));

/** Keys of a router's objects. */
export const ROUTER_KEY = new RegExp(`^(delta/zarr\\.json|${ARRAYS})$`);

const free: is.Check<Json> = (value, place) => {
  is.object({})(value, place);
  return value!;
};

export interface Revision {
  folder: string;
  objects: Map<string, Stored>;
  extras: Tensor[];
  products: Product[];
  /** The user's own. */
  metadata: unknown;
  /** What products were made from. */
  adapter: unknown;
  /** SHA-256 of the weights of each unit that an exact task changes; null if it records none. */
  state: Map<string, string> | null;
}

const members = is.object({
  layout: is.digest,
  element,
  shards,
  nonzeros: count,
  objects: objectsBesides(KEY),
  extras: is.array(extraMember, 0, 2 ** 20),
  compressor,
  metadata: free,
  features,
  parent,
  products: is.optional(is.array(productMember, 0, 2 ** 20), []),
  adapter: is.optional(free, null),
  state: is.optional(is.nullable(is.mapping(is.digest)), null),
});

type Found = ReturnType<typeof members>;

/** Members of the catalog's entry that the revision document must state likewise. */
function checkEntry(found: Found, entry: TaskEntry, layout: Layout): void {
  const differs = (what: string) => new Fault("layout", `the revision and the catalog have another ${what}`);
  const one = (shard: Stored | null) => (shard ? `${shard.size} ${shard.sha256}` : "");
  if (found.layout !== layout.digest) throw differs("layout");
  if (found.element !== entry.element) throw differs("element");
  if (found.shards.map(one).join() !== entry.shards.map(one).join()) throw differs("shard");
  if (found.nonzeros !== entry.nonzeros) throw differs("number of non-zeros");
  if (!sameJson(found.compressor, entry.compressor)) throw differs("compressor");
  if (JSON.stringify(found.features) !== JSON.stringify(entry.features)) throw differs("feature");
  const [here, there] = [found.parent, entry.parent];
  if (here?.task !== there?.task || here?.revision !== there?.revision) throw differs("parent");
  const replaced = found.extras.map((extra) => extra.name).filter((name) => layout.units.has(name));
  if (JSON.stringify(replaced) !== JSON.stringify(entry.replaced)) throw differs("list of units replaced");
}

export function readRevision(document: Json, folder: string, entry: TaskEntry, layout: Layout): Revision {
  const found = is.group(document, members);
  const { objects } = found;
  if (!objects.has("delta/zarr.json")) throw new Fault("document-syntax", `${folder}: no delta/zarr.json is listed`);
  const extras = checkExtras(found.extras, objects);
  checkEntry(found, entry, layout);
  const products = checkProducts(found.products, entry, layout, objects.get("products/c/0")?.size);
  if (objects.has("products/zarr.json") !== products.length > 0) {
    throw new Fault("layout", `${folder}: products and their document do not go together`);
  }
  const replaced = new Set(entry.replaced);
  for (const unit of found.state?.keys() ?? []) {
    const fits = entry.element === "int32" && layout.units.has(unit) && !replaced.has(unit);
    if (!fits) throw new Fault("layout", `${folder}: a state of ${unit}, which has no steps`);
  }
  const { state } = found;
  return { folder, objects, extras, products, metadata: plain(found.metadata), adapter: found.adapter && plain(found.adapter), state };
}
