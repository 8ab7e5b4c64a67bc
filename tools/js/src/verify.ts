/** Reads everything that a bank's catalog reaches (spec/container.md, Verifying). */
import type { Bank } from "./bank.js";
import { MOST_BYTES, type RouterEntry, type Stored, type TaskEntry } from "./catalog.js";
import { readExtra } from "./extras.js";
import { Fault } from "./fault.js";
import { isGivenBase } from "./frame.js";
import type { Tensor, Unit } from "./layout.js";
import { shardsOf, unitOfChunk } from "./layout.js";
import { productFactors } from "./products.js";
import type { Revision } from "./revision.js";
import { readRouter } from "./routers.js";
import { readDocument, readObject, type Store } from "./store.js";
import { deltaDocument, extraDocument, MARKER, productsDocument } from "./zarr_documents.js";

/** A fault, and where it is: the name of a task or router, or the key of an object. */
export interface Found {
  at: string;
  fault: Fault;
}

const encoded = (text: string) => new TextEncoder().encode(text);

const same = (a: Uint8Array, b: Uint8Array) => a.length === b.length && a.every((byte, i) => byte === b[i]);

const sum = (numbers: Iterable<number>) => [...numbers].reduce((total, each) => total + each, 0);

/** Collects faults, so that one does not hide those after it. */
class Faults {
  readonly found: Found[] = [];

  async try(at: string, step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.found.push({ at, fault: error });
    }
  }
}

async function checkMarker(store: Store, key: string): Promise<void> {
  const found = await store.get(key, MARKER.length);
  if (!found || !same(found, encoded(MARKER))) throw new Fault("marker", key);
}

async function checkDocument(store: Store, folder: string, key: string, recorded: Stored, bytes: string): Promise<void> {
  if (recorded.size > MOST_BYTES) throw new Fault("limit", `${folder}/${key} has more than 256 MiB`);
  const found = await readDocument(store, `${folder}/${key}`, recorded);
  if (!same(found, encoded(bytes))) throw new Fault("document-syntax", `${folder}/${key} has not the bytes it must have`);
}

async function checkArrays(
  faults: Faults,
  store: Store,
  { folder, objects }: { folder: string; objects: Map<string, Stored> },
  arrays: readonly Tensor[],
): Promise<void> {
  const document = (key: string, bytes: string) =>
    faults.try(folder, () => checkDocument(store, folder, key, objects.get(key)!, bytes));
  if (arrays.length) await document("extras/zarr.json", MARKER);
  for (const [j, array] of arrays.entries()) {
    await document(`extras/${j}/zarr.json`, extraDocument(array));
    await faults.try(folder, async () => void (await readExtra(store, folder, objects, array, j)));
  }
}

/** Reads the factors of all products of a task. */
async function checkProducts(bank: Bank, revision: Revision): Promise<void> {
  const recorded = revision.objects.get("products/c/0");
  if (!recorded) return;
  const data = await readObject(bank.store, `${revision.folder}/products/c/0`, recorded);
  for (const product of revision.products) {
    productFactors(bank.unit(product.unit), product, data.subarray(product.start, product.end));
  }
}

/** Decodes all frames of a task; gives the number of their non-zeros. */
async function checkFrames(bank: Bank, task: string, entry: TaskEntry, revision: Revision): Promise<number> {
  const units = [...bank.layout.units.values()];
  const without = new Set([...entry.replaced, ...revision.products.map((product) => product.unit)]);
  const changed = new Set<string>();
  let nonzeros = 0;
  for (let shard = 0; shard < shardsOf(bank.layout); shard++) {
    for (const stored of await bank.wholeShard(task, shard)) {
      const { chunk, header } = stored;
      const needed = [header.version === 2 && "frame-2", isGivenBase(header) && "given-base"];
      const lacking = needed.find((feature) => feature && !entry.features.includes(feature));
      const unit: Unit | undefined = unitOfChunk(bank.layout, units, chunk);
      if (!unit) throw new Fault("address", `chunk ${chunk} lies after the last unit`);
      if (isGivenBase(header)) bank.checkAddresses(unit, stored);
      else bank.decode(task, unit, stored);
      if (lacking) throw new Fault("layout", `chunk ${chunk} needs the feature ${lacking}`);
      if (header.nonzeros && without.has(unit.name)) throw new Fault("address", `${unit.name} has entries that it must not`);
      nonzeros += header.nonzeros;
      if (header.nonzeros) changed.add(unit.name);
    }
  }
  const { state } = revision;
  if (state && (state.size !== changed.size || ![...changed].every((unit) => state.has(unit)))) {
    throw new Fault("layout", "the state is not of the units that have entries");
  }
  return nonzeros;
}

function checkSums(bank: Bank, entry: TaskEntry, revision: Revision, frames: number): void {
  const { units } = bank.layout;
  const replaced = new Set(entry.replaced);
  const products = sum(revision.products.map((product) => units.get(product.unit)!.size));
  const kept = sum([...units.values()].filter((unit) => !replaced.has(unit.name)).map((unit) => unit.size));
  const parameters = kept + sum(revision.extras.map((extra) => extra.size));
  const sizes = [...revision.objects.values(), ...entry.shards].map((each) => each?.size ?? 0);
  const check = (what: string, stated: number, is: number) => {
    if (stated !== is) throw new Fault("layout", `${what} is stated as ${stated} and adds up to ${is}`);
  };
  check("nonzeros", entry.nonzeros, frames + products);
  check("parameters", entry.parameters, parameters);
  check("stored_bytes", entry.stored_bytes, entry.size + sum(sizes));
}

async function verifyTask(faults: Faults, bank: Bank, task: string, entry: TaskEntry): Promise<void> {
  await faults.try(task, () => checkMarker(bank.store, `tasks/${task}/zarr.json`));
  await faults.try(task, async () => {
    const revision = await bank.revision(task);
    const { folder, objects } = revision;
    const document = (key: string, bytes: string) =>
      faults.try(task, () => checkDocument(bank.store, folder, key, objects.get(key)!, bytes));
    await document("delta/zarr.json", deltaDocument(bank.layout, entry.element));
    const products = objects.get("products/c/0");
    if (products) await document("products/zarr.json", productsDocument(products.size));
    await checkArrays(faults, bank.store, revision, revision.extras);
    await faults.try(task, () => checkProducts(bank, revision));
    checkSums(bank, entry, revision, await checkFrames(bank, task, entry, revision));
  });
}

async function verifyRouter(faults: Faults, bank: Bank, name: string, entry: RouterEntry): Promise<void> {
  await faults.try(name, () => checkMarker(bank.store, `routers/${name}/zarr.json`));
  await faults.try(name, async () => {
    const router = await readRouter(bank.store, name, entry, bank.layout);
    await checkArrays(faults, bank.store, router, router.arrays);
    const stored = entry.size + sum([...router.objects.values()].map((each) => each.size));
    if (stored !== entry.stored_bytes) throw new Fault("layout", `stored_bytes of router ${name} adds up to ${stored}`);
  });
}

/** Every fault of a bank that opens, in the order of its catalog. */
export async function verify(bank: Bank): Promise<Found[]> {
  const faults = new Faults();
  const { tasks, routers } = bank.catalog;
  if (tasks.size) await faults.try("tasks", () => checkMarker(bank.store, "tasks/zarr.json"));
  for (const [task, entry] of tasks) await verifyTask(faults, bank, task, entry);
  if (routers.size) await faults.try("routers", () => checkMarker(bank.store, "routers/zarr.json"));
  for (const [name, entry] of routers) await verifyRouter(faults, bank, name, entry);
  return faults.found;
}
