/** The root document: the catalog of tasks and routers (spec/container.md, The root document; spec/chains.md). */
import { Fault } from "./fault.js";
import { type Json, parseJson } from "./json.js";
import { indexBytes, type Layout, shardsOf } from "./layout.js";
import { checkFolderNames, checkUnitName } from "./names.js";
import * as is from "./schema.js";
import { sha256 } from "./sha256.js";

export const FEATURES: readonly string[] = ["chains", "frame-2", "given-base", "packed-products", "products"];
export const MOST_BYTES = 2 ** 28;
const MOST_ANCESTORS = 64;
const HEAD = '{"attributes":{"tvbank":{"digest":"';

export interface Stored {
  size: number;
  sha256: string;
}

export interface Parent {
  task: string;
  revision: string;
}

export interface TaskEntry {
  revision: string;
  /** Bytes of the revision document. */
  size: number;
  element: "float32" | "int32";
  /** One a shard of the layout; null if all its entries are zero. */
  shards: (Stored | null)[];
  nonzeros: number;
  parameters: number;
  stored_bytes: number;
  /** Units that the task keeps whole. */
  replaced: string[];
  compressor: Map<string, Json>;
  features: string[];
  parent: Parent | null;
}

export interface RouterEntry {
  revision: string;
  size: number;
  stored_bytes: number;
}

export interface Catalog {
  format: string;
  generation: number;
  required_features: string[];
  layout: Stored;
  tasks: Map<string, TaskEntry>;
  routers: Map<string, RouterEntry>;
}

export const stored = is.object<Stored>({ size: is.integer(0, 2 ** 53), sha256: is.digest });
export const count = is.integer(0, 2 ** 48);
export const element = is.oneOf("float32", "int32");
export const shards = is.array(is.nullable(stored));
export const features = is.optional(is.array(is.string), [] as string[]);
export const parent = is.optional(is.nullable(is.object<Parent>({ task: is.string, revision: is.digest })), null);

/** A compressor: an object of which only the name is described. */
export const compressor: is.Check<Map<string, Json>> = (value, place) => {
  is.object({ name: is.matching(/^[^]/, "a name") })(value, place);
  return value as Map<string, Json>;
};

const task = is.object<TaskEntry>({
  revision: is.digest,
  size: is.integer(1, MOST_BYTES),
  element,
  shards,
  nonzeros: count,
  parameters: count,
  stored_bytes: is.integer(0, 2 ** 53),
  replaced: is.array(is.string),
  compressor,
  features,
  parent,
});

const router = is.object<RouterEntry>({
  revision: is.digest,
  size: is.integer(1, MOST_BYTES),
  stored_bytes: is.integer(0, 2 ** 53),
});

const VERSION = is.matching(/^(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})$/, "MAJOR.MINOR");
const versions = is.object({ format: VERSION, required_features: is.array(is.string) });
const members = is.object<Catalog & { digest: string }>({
  digest: is.digest,
  format: VERSION,
  generation: is.integer(0, 2 ** 53),
  required_features: is.array(is.string),
  layout: stored,
  tasks: is.mapping(task),
  routers: is.optional(is.mapping(router), new Map()),
});

async function checkDigest(document: Uint8Array): Promise<void> {
  const text = new TextDecoder("latin1").decode(document.subarray(0, 100));
  const found = /^([0-9a-f]{64})"$/.exec(text.startsWith(HEAD) ? text.slice(HEAD.length) : "");
  if (!found) throw new Fault("document-syntax", "the root document does not begin with its digest");
  const zeroed = document.slice();
  zeroed.fill(0x30, HEAD.length, HEAD.length + 64);
  if ((await sha256(zeroed)) !== found[1]) throw new Fault("document-digest", "the root document is not as it states");
}

/** Every task has such a parent as it must; from the catalog alone. */
function checkChains(tasks: Map<string, TaskEntry>): void {
  const wrong = (name: string, what: string) => new Fault("chain", `task ${name}: ${what}`);
  for (const [name, entry] of tasks) {
    if (entry.features.includes("chains") !== (entry.parent !== null)) throw wrong(name, "a parent or the feature alone");
    if (!entry.parent) continue;
    const above = tasks.get(entry.parent.task);
    if (above?.revision !== entry.parent.revision) throw wrong(name, "its parent is missing or another now");
    if (entry.element !== "int32" || above.element !== "int32") throw wrong(name, "only exact tasks have parents");
    const replaced = new Set(entry.replaced);
    if (!above.replaced.every((unit) => replaced.has(unit))) throw wrong(name, "its parent keeps more units whole");
  }
  const ancestors = new Map<string, number>();
  for (const name of tasks.keys()) {
    const path: string[] = [];
    let at: string | undefined = name;
    while (at !== undefined && !ancestors.has(at)) {
      path.push(at);
      if (path.length > tasks.size) throw wrong(name, "it is its own ancestor");
      at = tasks.get(at)!.parent?.task;
    }
    let above: number = at === undefined ? -1 : ancestors.get(at)!;
    for (const each of path.reverse()) ancestors.set(each, ++above);
    if (above > MOST_ANCESTORS) throw wrong(name, `more than ${MOST_ANCESTORS} ancestors`);
  }
}

/** Steps 1 to 5 of checking a root document, in their order. */
export async function readCatalog(document: Uint8Array): Promise<Catalog> {
  if (document.length > MOST_BYTES) throw new Fault("limit", "the root document has more than 256 MiB");
  const parsed = parseJson(document);
  const { format, required_features } = is.group(parsed, versions);
  if (format.split(".")[0] !== "1") throw new Fault("version", `format ${format}; this reader knows 1.1`);
  const unknown = required_features.filter((feature) => !FEATURES.includes(feature));
  if (unknown.length) throw new Fault("feature", `the bank requires ${unknown.join(", ")}`);
  await checkDigest(document);
  const catalog = is.group(parsed, members);
  checkFolderNames(catalog.tasks.keys());
  checkFolderNames(catalog.routers.keys());
  for (const entry of catalog.tasks.values()) entry.replaced.forEach(checkUnitName);
  for (const [name, entry] of catalog.tasks) {
    const lacking = entry.features.find((feature) => !required_features.includes(feature));
    if (lacking) throw new Fault("layout", `task ${name} needs ${lacking}, which the bank does not require`);
  }
  checkChains(catalog.tasks);
  return catalog;
}

/** Step 6: the shards of every task are those of the layout. */
export function checkShards(catalog: Catalog, layout: Layout): void {
  for (const [name, entry] of catalog.tasks) {
    if (entry.shards.length !== shardsOf(layout)) {
      throw new Fault("layout", `task ${name}: ${entry.shards.length} shards where the layout has ${shardsOf(layout)}`);
    }
    if (entry.shards.some((shard) => shard && shard.size <= indexBytes(layout))) {
      throw new Fault("layout", `task ${name}: a shard is no larger than its index`);
    }
  }
}
