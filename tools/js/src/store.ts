/** Where objects are: a folder, a server, a zip file, memory. */
import { Fault } from "./fault.js";
import type { Stored } from "./catalog.js";
import { sha256 } from "./sha256.js";

export interface Store {
  /** A whole object, or its first `limit` + 1 bytes if it is longer; undefined if there is none. */
  get(key: string, limit: number): Promise<Uint8Array | undefined>;
  /** Bytes `start` to `end` of an object, or fewer if it ends before; undefined if there is none. */
  range(key: string, start: number, end: number): Promise<Uint8Array | undefined>;
}

export class MemoryStore implements Store {
  constructor(private readonly objects: ReadonlyMap<string, Uint8Array>) {}

  async get(key: string, limit: number): Promise<Uint8Array | undefined> {
    return this.objects.get(key)?.subarray(0, limit + 1);
  }

  async range(key: string, start: number, end: number): Promise<Uint8Array | undefined> {
    return this.objects.get(key)?.subarray(start, end);
  }
}

/** An object that has the size and the digest that were recorded of it. */
async function read(store: Store, key: string, recorded: Stored, kind: "document" | "object"): Promise<Uint8Array> {
  const data = await store.get(key, recorded.size);
  if (!data) throw new Fault(`${kind}-missing`, key);
  if (data.length !== recorded.size) throw new Fault(`${kind}-size`, `${key} has not the ${recorded.size} bytes recorded`);
  if ((await sha256(data)) !== recorded.sha256) throw new Fault(`${kind}-digest`, key);
  return data;
}

export const readDocument = (store: Store, key: string, recorded: Stored): Promise<Uint8Array> =>
  read(store, key, recorded, "document");

export const readObject = (store: Store, key: string, recorded: Stored): Promise<Uint8Array> =>
  read(store, key, recorded, "object");
