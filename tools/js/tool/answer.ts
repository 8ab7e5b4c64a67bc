/**
 * What this reader makes of inputs, for a program that compares it with another (tools/fuzz/against_javascript.py): a
 * request in JSON a line on standard input, an answer a line on standard output. Bytes are in base64.
 */
import { createHash } from "node:crypto";
import { createInterface } from "node:readline";
import { Bank } from "../src/bank.js";
import { readCatalog } from "../src/catalog.js";
import { Fault } from "../src/fault.js";
import { decodeFrame } from "../src/frame.js";
import { MemoryStore } from "../src/store.js";
import { verify } from "../src/verify.js";
import { findPlaces } from "../src/zip.js";
import { decompress } from "../src/zstd.js";

type Request =
  | { kind: "frame"; data: string; exponents?: string }
  | { kind: "catalog"; data: string }
  | { kind: "extra"; data: string; size: number }
  | { kind: "zip"; data: string }
  | { kind: "bank"; objects: Record<string, string>; most: number };

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64"));

const digestOf = (...parts: ArrayBufferView[]): string => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
  return hash.digest("hex");
};

/** Every unit and extra of a bank that is not too large, by its digest. */
async function contents(bank: Bank, most: number): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const task of bank.catalog.tasks.keys()) {
    for (const unit of bank.layout.units.values()) {
      if (unit.size <= most) found[`${task}\n${unit.name}`] = digestOf(await bank.dense(task, unit.name));
    }
    for (const extra of (await bank.revision(task)).extras) {
      if (extra.size <= most) found[`${task}\nextra\n${extra.name}`] = digestOf(await bank.extra(task, extra.name));
    }
  }
  return found;
}

async function answer(request: Request): Promise<unknown> {
  switch (request.kind) {
    case "frame": {
      const exponents = request.exponents === undefined ? undefined : bytesOf(request.exponents);
      const frame = decodeFrame(bytesOf(request.data), undefined, exponents);
      return [frame.element, frame.entries, digestOf(frame.positions, frame.patterns)];
    }
    case "catalog": {
      const catalog = await readCatalog(bytesOf(request.data));
      return [catalog.generation, [...catalog.tasks.keys()], [...catalog.routers.keys()]];
    }
    case "extra":
      return digestOf(decompress(bytesOf(request.data), request.size));
    case "zip": {
      const data = bytesOf(request.data);
      const places = await findPlaces({ size: data.length, range: async (start, end) => data.subarray(start, end) });
      return [...places].map(([name, { start, end }]) => [name, start, end]);
    }
    case "bank": {
      const objects = new Map(Object.entries(request.objects).map(([key, data]) => [key, bytesOf(data)]));
      const bank = await Bank.open(new MemoryStore(objects));
      const [first] = await verify(bank);
      if (first) throw first.fault;
      return contents(bank, request.most);
    }
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  let found: unknown;
  try {
    found = { read: await answer(JSON.parse(line)) };
  } catch (error) {
    found = error instanceof Fault ? { reason: error.reason, why: error.message } : { crash: String((error as Error).stack) };
  }
  console.log(JSON.stringify(found));
}
