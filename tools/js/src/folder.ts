/** A bank in a folder or in a zip file of this machine; for Node.js. */
import { open, stat } from "node:fs/promises";
import { join } from "node:path";
import { Bank } from "./bank.js";
import type { Store } from "./store.js";
import { openZip } from "./zip.js";

const missing = (error: unknown) => ["ENOENT", "ENOTDIR", "ENAMETOOLONG"].includes((error as NodeJS.ErrnoException).code ?? "");

async function readPart(path: string, start: number, end: number): Promise<Uint8Array | undefined> {
  try {
    if (!(await stat(path)).isFile()) return undefined;
    const file = await open(path);
    try {
      const length = Math.min(end, (await file.stat()).size) - start;
      const data = new Uint8Array(Math.max(0, length));
      let at = 0;
      while (at < data.length) {
        const { bytesRead } = await file.read(data, at, data.length - at, start + at);
        if (!bytesRead) break;
        at += bytesRead;
      }
      return data.subarray(0, at);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (missing(error)) return undefined;
    throw error;
  }
}

export class FolderStore implements Store {
  constructor(private readonly path: string) {}

  get(key: string, limit: number): Promise<Uint8Array | undefined> {
    return this.range(key, 0, limit + 1);
  }

  range(key: string, start: number, end: number): Promise<Uint8Array | undefined> {
    return readPart(join(this.path, key), start, end);
  }
}

/** Opens a bank on a disk: a folder, or one zip file. */
export async function openPath(path: string): Promise<Bank> {
  const found = await stat(path);
  if (found.isDirectory()) return Bank.open(new FolderStore(path));
  return Bank.open(await openZip({ size: found.size, range: (start, end) => readPart(path, start, end) }));
}
