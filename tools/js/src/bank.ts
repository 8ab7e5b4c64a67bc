/** A bank: one base's layout and its tasks, read lazily and checked (spec/container.md). */
import { type Catalog, checkShards, MOST_BYTES, readCatalog, type TaskEntry } from "./catalog.js";
import { readExtra } from "./extras.js";
import { Fault } from "./fault.js";
import { decodeFrame, exponentBytes, type Frame, type Header, isGivenBase, readHeader } from "./frame.js";
import { parseJson } from "./json.js";
import { chunksAShard, chunksOf, indexBytes, type Layout, readLayout, type Unit, unitOfChunk, WIDTHS } from "./layout.js";
import { productFactors, productPatterns } from "./products.js";
import { readRevision, type Revision } from "./revision.js";
import { readRouter, type Router } from "./routers.js";
import { checkedFrame, type Place, readIndex } from "./shards.js";
import { sha256 } from "./sha256.js";
import { readDocument, readObject, type Store } from "./store.js";
import { applyEntries, type Entries } from "./weights.js";

/** Positions and patterns that one call may take, of 2^28 entries 3 GiB. */
const MOST_NONZEROS = 2 ** 28;

/** A frame as it is stored, of a chunk that is not zero. */
export interface StoredFrame {
  chunk: number;
  bytes: Uint8Array;
  header: Header;
}

export class Bank {
  private readonly revisions = new Map<string, Promise<Revision>>();
  private readonly indices = new Map<string, Promise<{ places: Place[]; bytes: Uint8Array }>>();

  private constructor(
    readonly store: Store,
    readonly catalog: Catalog,
    readonly layout: Layout,
  ) {}

  /** Opens a bank by two requests. */
  static async open(store: Store): Promise<Bank> {
    const root = await store.get("zarr.json", MOST_BYTES);
    if (!root) throw new Fault("document-missing", "zarr.json: there is no bank");
    const catalog = await readCatalog(root);
    const { layout } = catalog;
    if (layout.size > MOST_BYTES) throw new Fault("limit", "the layout has more than 256 MiB");
    const found = readLayout(parseJson(await readDocument(store, "base/zarr.json", layout)), layout.sha256);
    checkShards(catalog, found);
    return new Bank(store, catalog, found);
  }

  entry(task: string): TaskEntry {
    const entry = this.catalog.tasks.get(task);
    if (!entry) throw new RangeError(`the bank has no task ${task}`);
    return entry;
  }

  unit(name: string): Unit {
    const unit = this.layout.units.get(name);
    if (!unit) throw new RangeError(`the bank has no unit ${name}`);
    return unit;
  }

  folder(task: string): string {
    return `tasks/${task}/${this.entry(task).revision}`;
  }

  /** The revision document of a task: its extras, products and metadata. */
  revision(task: string): Promise<Revision> {
    let found = this.revisions.get(task);
    if (!found) {
      found = this.readRevision(task);
      this.revisions.set(task, found);
      found.catch(() => this.revisions.delete(task));
    }
    return found;
  }

  private async readRevision(task: string): Promise<Revision> {
    const entry = this.entry(task);
    const folder = this.folder(task);
    const document = await readDocument(this.store, `${folder}/zarr.json`, { size: entry.size, sha256: entry.revision });
    return readRevision(parseJson(document), folder, entry, this.layout);
  }

  /** The frames of a shard that was read whole. */
  async wholeShard(task: string, shard: number): Promise<StoredFrame[]> {
    const recorded = this.entry(task).shards[shard];
    if (!recorded) return [];
    const key = `${this.folder(task)}/delta/c/${shard}`;
    const data = await readObject(this.store, key, recorded);
    const places = readIndex(data.subarray(data.length - indexBytes(this.layout)), data.length, key);
    return this.frames(task, shard, places, data, 0);
  }

  private frames(task: string, shard: number, places: Place[], data: Uint8Array, offset: number): StoredFrame[] {
    const found: StoredFrame[] = [];
    const first = shard * chunksAShard(this.layout);
    const key = `${this.folder(task)}/delta/c/${shard}`;
    places.forEach((place, i) => {
      if (!place || place.start < offset || place.end > offset + data.length) return;
      const bytes = checkedFrame(data.subarray(place.start - offset, place.end - offset), key, first + i);
      const header = readHeader(bytes, this.layout.chunkLength);
      found.push({ chunk: first + i, bytes, header });
    });
    return found;
  }

  private index(task: string, shard: number): Promise<{ places: Place[]; bytes: Uint8Array }> {
    const key = `${this.folder(task)}/delta/c/${shard}`;
    let found = this.indices.get(key);
    if (!found) {
      const { size } = this.entry(task).shards[shard]!;
      found = this.store.range(key, size - indexBytes(this.layout), size).then((bytes) => {
        if (!bytes) throw new Fault("object-missing", key);
        if (bytes.length !== indexBytes(this.layout)) throw new Fault("object-size", `${key} ends too soon`);
        return { places: readIndex(bytes, size, key), bytes };
      });
      if (this.indices.size > 63) this.indices.clear();
      this.indices.set(key, found);
      found.catch(() => this.indices.delete(key));
    }
    return found;
  }

  /** What the frames of each unit take in a task, by one request a shard; units without frames are left out. */
  async storedBytes(task: string): Promise<Map<string, number>> {
    const units = [...this.layout.units.values()];
    const found = new Map<string, number>();
    for (const [shard, recorded] of this.entry(task).shards.entries()) {
      if (!recorded) continue;
      const { places } = await this.index(task, shard);
      places.forEach((place, i) => {
        const unit = place && unitOfChunk(this.layout, units, shard * chunksAShard(this.layout) + i);
        if (unit) found.set(unit.name, (found.get(unit.name) ?? 0) + place.end - place.start);
      });
    }
    return found;
  }

  /** The frames of a unit, by two requests for each shard that it touches. */
  async *unitFrames(task: string, name: string): AsyncGenerator<StoredFrame> {
    const unit = this.unit(name);
    const entry = this.entry(task);
    const a = unit.offset / this.layout.chunkLength;
    const b = a + chunksOf(this.layout, unit);
    const k = chunksAShard(this.layout);
    for (let shard = Math.floor(a / k); shard * k < b; shard++) {
      const recorded = entry.shards[shard];
      if (!recorded) continue;
      const key = `${this.folder(task)}/delta/c/${shard}`;
      const { places, bytes: index } = await this.index(task, shard);
      const wanted = places.map((place, i) => (a <= shard * k + i && shard * k + i < b ? place : undefined));
      const stored = wanted.filter((place) => place !== undefined);
      if (!stored.length) continue;
      const start = stored[0]!.start;
      const end = stored[stored.length - 1]!.end;
      const data = await this.store.range(key, start, end);
      if (!data) throw new Fault("object-missing", key);
      if (data.length !== end - start) throw new Fault("object-size", `${key} ends too soon`);
      if (end - start === recorded.size - index.length) {
        const whole = new Uint8Array(recorded.size); // all frames: the digest can be checked, too
        whole.set(data);
        whole.set(index, data.length);
        if ((await sha256(whole)) !== recorded.sha256) throw new Fault("object-digest", key);
      }
      yield* this.frames(task, shard, wanted, data, start);
    }
  }

  /** A frame's entries, none of them where the unit has none. */
  decode(task: string, unit: Unit, stored: StoredFrame, exponents?: Uint8Array): Frame {
    const frame = decodeFrame(stored.bytes, this.layout.chunkLength, exponents);
    if (frame.element !== this.entry(task).element) throw new Fault("element-type", `chunk ${stored.chunk}: ${frame.element}`);
    this.checkAddresses(unit, stored);
    return frame;
  }

  /** The last non-zero of a frame lies within its unit. */
  checkAddresses(unit: Unit, { chunk, header }: StoredFrame): void {
    if (chunk * this.layout.chunkLength + header.extent > unit.offset + unit.size) {
      throw new Fault("address", `chunk ${chunk} has a non-zero after the end of ${unit.name}`);
    }
  }

  /**
   * The entries of a task in one unit.
   *
   * @param base raw little-endian bytes of the unit in the base; needed only where frames are given the base
   */
  async entries(task: string, name: string, base?: Uint8Array): Promise<Entries> {
    const unit = this.unit(name);
    const entry = this.entry(task);
    if (entry.features.includes("products")) {
      const found = await this.product(task, unit);
      if (found) return found;
    }
    let start: Uint8Array | undefined;
    if (base) {
      await this.checkBase(unit, base);
      if (entry.features.includes("given-base")) start = await this.startOf(task, unit, base);
    }
    const frames: { from: number; frame: Frame }[] = [];
    let total = 0;
    const keptWhole = entry.replaced.includes(name);
    for await (const stored of this.unitFrames(task, name)) {
      total += stored.header.nonzeros;
      if (total > MOST_NONZEROS) throw new RangeError(`${name} of ${task} has more than ${MOST_NONZEROS} entries`);
      const from = stored.chunk * this.layout.chunkLength - unit.offset;
      const width = WIDTHS[unit.dtype];
      const raw = start?.subarray(from * width, (from + this.layout.chunkLength) * width);
      const given = raw && isGivenBase(stored.header) ? exponentBytes(unit.dtype, raw) : undefined;
      const frame = this.decode(task, unit, stored, given);
      if (keptWhole && total > 0) throw new Fault("address", `${task} has entries of ${name}, which it keeps whole`);
      frames.push({ from, frame });
    }
    const found = { element: entry.element, positions: new Float64Array(total), patterns: new Uint32Array(total) };
    let at = 0;
    for (const { from, frame } of frames) {
      frame.positions.forEach((position, i) => (found.positions[at + i] = from + position));
      found.patterns.set(frame.patterns, at);
      at += frame.patterns.length;
    }
    return found;
  }

  /** The numbers of a unit: the task vector there, as any zarr reader sees it. */
  async dense(task: string, name: string, base?: Uint8Array): Promise<Float32Array | Int32Array> {
    const { element, positions, patterns } = await this.entries(task, name, base);
    const dense = new Uint32Array(this.unit(name).size);
    positions.forEach((position, i) => (dense[position] = patterns[i]!));
    return element === "float32" ? new Float32Array(dense.buffer) : new Int32Array(dense.buffer);
  }

  private async product(task: string, unit: Unit): Promise<Entries | undefined> {
    const revision = await this.revision(task);
    const product = revision.products.find((each) => each.unit === unit.name);
    if (!product) return undefined;
    if (unit.size > MOST_NONZEROS) throw new RangeError(`${unit.name} has more than ${MOST_NONZEROS} entries`);
    for await (const { header } of this.unitFrames(task, unit.name)) {
      if (header.nonzeros) throw new Fault("address", `${task} has entries of ${unit.name}, which is a product`);
    }
    const key = `${revision.folder}/products/c/0`;
    const bytes = await this.store.range(key, product.start, product.end);
    if (!bytes) throw new Fault("object-missing", key);
    if (bytes.length !== product.end - product.start) throw new Fault("object-size", `${key} ends too soon`);
    const dense = productPatterns(unit, product, productFactors(unit, product, bytes));
    const positions = new Float64Array(dense.length);
    let count = 0;
    dense.forEach((pattern, i) => pattern && (positions[count++] = i));
    return { element: "float32", positions: positions.slice(0, count), patterns: dense.filter((pattern) => pattern !== 0) };
  }

  private async checkBase(unit: Unit, base: Uint8Array): Promise<void> {
    if (base.length !== unit.size * WIDTHS[unit.dtype] || (await sha256(base)) !== unit.sha256) {
      throw new Fault("base", `the weights of ${unit.name} are not those of the bank's base`);
    }
  }

  /** The weights of a unit that a task's entries start from: the base's, or the parent's. */
  private async startOf(task: string, unit: Unit, base: Uint8Array): Promise<Uint8Array> {
    const { parent } = this.entry(task);
    if (!parent) return base;
    const start = await this.startOf(parent.task, unit, base);
    return applyEntries(unit, start, await this.entries(parent.task, unit.name, base));
  }

  /** The raw bytes of an extra of a task. */
  async extra(task: string, name: string): Promise<Uint8Array> {
    const revision = await this.revision(task);
    const j = revision.extras.findIndex((extra) => extra.name === name);
    if (j < 0) throw new RangeError(`${task} has no extra ${name}`);
    return readExtra(this.store, revision.folder, revision.objects, revision.extras[j]!, j);
  }

  /**
   * The raw weights of a tensor in a task's state.
   *
   * @param base the raw bytes of the tensor, or of its owner if it is an alias, in the base
   */
  async weights(task: string, tensor: string, base: Uint8Array): Promise<Uint8Array> {
    const owner = this.layout.tied.get(tensor) ?? tensor;
    const extras = new Set((await this.revision(task)).extras.map((extra) => extra.name));
    for (const name of [tensor, owner]) if (extras.has(name)) return this.extra(task, name);
    if (this.layout.whole.has(owner)) return base;
    const unit = this.unit(owner);
    await this.checkBase(unit, base);
    const start = await this.startOf(task, unit, base);
    return applyEntries(unit, start, await this.entries(task, owner, base));
  }

  /** A router and its arrays. */
  router(name: string): Promise<Router> {
    const entry = this.catalog.routers.get(name);
    if (!entry) throw new RangeError(`the bank has no router ${name}`);
    return readRouter(this.store, name, entry, this.layout);
  }
}
