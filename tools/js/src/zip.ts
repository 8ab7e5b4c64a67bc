/** A bank in one zip file, which is read in one way only (spec/container.md, A bank in one zip file). */
import { Fault } from "./fault.js";
import type { Store } from "./store.js";

/** One file of which ranges can be read. */
export interface File {
  size: number;
  range(start: number, end: number): Promise<Uint8Array | undefined>;
}

/** Where an object's bytes lie in the file. */
export interface Place {
  start: number;
  end: number;
}

/** An entry of the directory; its local header has at least `header` bytes. */
interface Entry {
  name: string;
  offset: number;
  size: number;
  header: number;
}

const MOST_DIRECTORY = 2 ** 26;
const TAIL = 2 ** 18;
const END = 22;
const LOCATOR = 20;
const END64 = 56;
const LOCAL = 30;
const FLAGS = 0b1000_0000_0110;

const wrong = (what: string) => new Fault("zip", what);

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

async function read(file: File, start: number, end: number): Promise<Uint8Array> {
  const data = await file.range(start, end);
  if (data?.length !== end - start) throw wrong("the file is shorter than it was");
  return data;
}

interface Directory {
  start: number;
  end: number;
  entries: number;
}

const number64 = (view: DataView, at: number) => {
  const value = view.getBigUint64(at, true);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw wrong("a number is beyond the file");
  return Number(value);
};

/** The end records: where the directory lies. */
function findDirectory(tail: DataView, size: number): Directory {
  const at = tail.byteLength - END;
  if (at < 0 || tail.getUint32(at, true) !== 0x06054b50 || tail.getUint16(at + 20, true) !== 0) {
    throw wrong("the file does not end with an end record without a comment");
  }
  const u16 = (offset: number) => tail.getUint16(at + offset, true);
  let [disk, diskOfDirectory, onDisk, entries] = [u16(4), u16(6), u16(8), u16(10)];
  let [bytes, start] = [tail.getUint32(at + 12, true), tail.getUint32(at + 16, true)];
  let end = size - END;
  const locator = at - LOCATOR;
  if (locator >= END64 && tail.getUint32(locator, true) === 0x07064b50) {
    const record = locator - END64;
    const fits = tail.getUint32(record, true) === 0x06064b50 && number64(tail, record + 4) === END64 - 12;
    end = size - END - LOCATOR - END64;
    const [diskOfRecord, disks] = [tail.getUint32(locator + 4, true), tail.getUint32(locator + 16, true)];
    if (!fits || number64(tail, locator + 8) !== end || diskOfRecord !== 0 || disks !== 1) {
      throw wrong("the records at its end contradict each other");
    }
    [disk, diskOfDirectory] = [tail.getUint32(record + 16, true), tail.getUint32(record + 20, true)];
    [onDisk, entries, bytes, start] = [24, 32, 40, 48].map((offset) => number64(tail, record + offset)) as [
      number, number, number, number,
    ]; // prettier-ignore
  }
  if (disk || diskOfDirectory || onDisk !== entries) throw wrong("the file has several disks");
  if (bytes > MOST_DIRECTORY) throw wrong("the directory has more than 64 MiB");
  if (start < 0 || start + bytes !== end) throw wrong("the directory does not end at the end record");
  return { start, end, entries };
}

/** Size, stored size and offset of an entry; those of 64 bits stand in the extra field, of kind 1. */
function numbersOf(header: DataView, extra: Uint8Array): [size: number, stored: number, offset: number] {
  const narrow = [24, 20, 42].map((at) => header.getUint32(at, true));
  const view = viewOf(extra);
  let at = 0;
  while (at + 4 <= extra.length && view.getUint16(at, true) !== 1) at += 4 + view.getUint16(at + 2, true);
  let next = at + 4;
  const end = next <= extra.length ? Math.min(extra.length, next + view.getUint16(at + 2, true)) : 0;
  return narrow.map((value) => {
    if (value !== 0xffffffff) return value;
    next += 8;
    if (next > end) throw wrong("an entry lacks the numbers of 64 bits that it asks for");
    return number64(view, next - 8);
  }) as [number, number, number];
}

// eslint-disable-next-line no-control-regex
const BAD_NAME = /[\u0000-\u001f\u007f-\u009f\\:]/;

function checkName(name: string): void {
  const parts = name.split("/");
  if (parts[parts.length - 1] === "") parts.pop();
  if (!parts.length || BAD_NAME.test(name) || parts.some((part) => part === "" || part === "." || part === "..")) {
    throw wrong(`${JSON.stringify(name)} is no key`);
  }
}

function readDirectory(data: Uint8Array, { start, entries }: Directory): Map<string, Place> {
  const view = viewOf(data);
  const found: Entry[] = [];
  let at = 0;
  for (let i = 0; i < entries; i++) {
    if (at + 46 > data.length || view.getUint32(at, true) !== 0x02014b50) throw wrong("the directory is cut short");
    const header = new DataView(view.buffer, view.byteOffset + at, 46);
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((offset) => header.getUint16(offset, true)) as [
      number, number, number,
    ]; // prettier-ignore
    const end = at + 46 + nameBytes + extraBytes + commentBytes;
    if (end > data.length) throw wrong("the directory is cut short");
    let name: string;
    try {
      const bytes = data.subarray(at + 46, at + 46 + nameBytes);
      name = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw wrong("a name is not UTF-8");
    }
    checkName(name);
    const extra = data.subarray(at + 46 + nameBytes, at + 46 + nameBytes + extraBytes);
    const [size, stored, offset] = numbersOf(header, extra);
    const [flags, method] = [header.getUint16(8, true), header.getUint16(10, true)];
    if (method !== 0 || flags & ~FLAGS || size !== stored) throw wrong(`${name} is not stored as it is`);
    const disk = header.getUint16(34, true);
    if (disk !== 0) throw wrong(`${name} is on another disk`);
    if (header.getUint8(5) === 3 && (header.getUint32(38, true) >>> 28) === 0xa) throw wrong(`${name} is a link`);
    if (name.endsWith("/") && size) throw wrong(`the folder ${name} has bytes`);
    found.push({ name, offset, size, header: LOCAL + nameBytes });
    at = end;
  }
  if (at !== data.length) throw wrong("the directory has bytes left over");
  return tile(found, start);
}

/** Entries and their local headers fill the file up to the directory. */
function tile(entries: Entry[], end: number): Map<string, Place> {
  const sorted = [...entries].sort((a, b) => a.offset - b.offset);
  const places = new Map<string, Place>();
  if ((sorted[0]?.offset ?? end) !== 0) throw wrong("the file does not begin with an entry");
  sorted.forEach(({ name, offset, size, header }, i) => {
    const next = sorted[i + 1]?.offset ?? end;
    const slack = next - size - header - offset; // the local header's own extra field
    if (slack < 0 || slack > 0xffff) throw wrong(`${name} does not fill its place`);
    if (places.has(name)) throw wrong(`${name} stands twice`);
    places.set(name, { start: next - size, end: next });
  });
  for (const name of places.keys()) if (name.endsWith("/")) places.delete(name);
  return places;
}

class ZipStore implements Store {
  constructor(
    private readonly file: File,
    private readonly places: Map<string, Place>,
  ) {}

  get(key: string, limit: number): Promise<Uint8Array | undefined> {
    return this.range(key, 0, limit + 1);
  }

  async range(key: string, start: number, end: number): Promise<Uint8Array | undefined> {
    const place = this.places.get(key);
    if (!place) return undefined;
    const from = place.start + start;
    return read(this.file, from, Math.max(from, Math.min(place.end, place.start + end)));
  }
}

/** A file of which the end is kept, where `tvbank pack` puts the directory and the documents. */
async function withTail(file: File): Promise<File> {
  const at = Math.max(0, file.size - TAIL);
  const tail = await read(file, at, file.size);
  return {
    size: file.size,
    range: async (start, end) => (start < at ? file.range(start, end) : tail.subarray(start - at, end - at)),
  };
}

/** Where every object lies in a zip file, from its directory alone. */
export async function findPlaces(file: File): Promise<Map<string, Place>> {
  const end = await read(file, Math.max(0, file.size - END - LOCATOR - END64), file.size);
  const directory = findDirectory(viewOf(end), file.size);
  return readDirectory(await read(file, directory.start, directory.end), directory);
}

/** The objects of a zip file. */
export async function openZip(whole: File): Promise<Store> {
  const file = await withTail(whole);
  return new ZipStore(file, await findPlaces(file));
}
