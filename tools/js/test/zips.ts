/** Makes zip files, for tests of reading them. */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";

export function objectsOf(folder: string): Map<string, Uint8Array> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((each) => each.isFile());
  const paths = files.map((each) => join(each.parentPath ?? each.path, each.name));
  return new Map(paths.map((path) => [relative(folder, path), new Uint8Array(readFileSync(path))]));
}

const record = (layout: [bytes: number, value: number][]): Buffer =>
  Buffer.concat(
    layout.map(([bytes, value]) => {
      const field = Buffer.alloc(bytes);
      if (bytes === 8) field.writeBigUInt64LE(BigInt(value));
      else field.writeUIntLE(value, 0, bytes);
      return field;
    }),
  );

/** A zip file of stored entries, with zip64's records if `wide`. */
export function zipOf(objects: ReadonlyMap<string, Uint8Array>, wide = false): Uint8Array {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const [key, data] of objects) {
    const name = Buffer.from(key);
    const size = data.length;
    const sizes: [number, number][] = [[4, 0], [4, size], [4, size], [2, name.length]];
    const begin: [number, number][] = [[2, 20], [2, 0x800], [2, 0], [2, 0], [2, 0]];
    const local = Buffer.concat([record([[4, 0x04034b50], ...begin, ...sizes, [2, 0]]), name]);
    const tail: [number, number][] = [[2, 0], [2, 0], [2, 0], [2, 0], [4, 0], [4, at]];
    directory.push(Buffer.concat([record([[4, 0x02014b50], [2, 20], ...begin, ...sizes, ...tail]), name]));
    parts.push(local, Buffer.from(data));
    at += local.length + size;
  }
  const listed = Buffer.concat(directory);
  const count = directory.length;
  if (wide) {
    const sizes: [number, number][] = [[8, count], [8, count], [8, listed.length], [8, at]];
    parts.push(listed, record([[4, 0x06064b50], [8, 44], [2, 45], [2, 45], [4, 0], [4, 0], ...sizes]));
    parts.push(record([[4, 0x07064b50], [4, 0], [8, at + listed.length], [4, 1]]));
  } else {
    parts.push(listed);
  }
  const sizes: [number, number][] = [[2, count], [2, count], [4, listed.length], [4, at], [2, 0]];
  return new Uint8Array(Buffer.concat([...parts, record([[4, 0x06054b50], [2, 0], [2, 0], ...sizes])]));
}
