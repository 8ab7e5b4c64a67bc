/** The committed test vectors. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));
export const VECTORS = join(ROOT, "spec", "vectors");

export function vectors<T>(folder: string): (T & { name: string })[] {
  return JSON.parse(readFileSync(join(VECTORS, folder, "index.json"), "utf8")).vectors;
}

export const unhex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "hex"));
