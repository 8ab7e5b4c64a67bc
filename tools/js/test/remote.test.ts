import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import * as zarr from "zarrita";
import { Bank } from "../src/bank.js";
import { Fault } from "../src/fault.js";
import { openPath } from "../src/folder.js";
import { HttpStore, openUrl, ServerError } from "../src/http.js";
import { verify } from "../src/verify.js";
import { SassCodec } from "../src/zarrita.js";
import { openZip } from "../src/zip.js";
import { serve, type Server } from "./server.js";
import { ROOT, VECTORS } from "./vectors.js";
import { objectsOf, zipOf } from "./zips.js";

const MIXED = join(VECTORS, "banks/valid/mixed");
let server: Server;
let folder: string;

before(async () => {
  server = await serve(join(VECTORS, "banks"));
  folder = mkdtempSync(join(tmpdir(), "tvbank-"));
});

after(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

test("a bank opens by two requests, and a unit takes two more", async () => {
  server.asked.length = 0;
  const bank = await openUrl(`${server.url}/valid/mixed/`);
  assert.deepEqual(server.asked, ["GET /valid/mixed/zarr.json", "GET /valid/mixed/base/zarr.json"]);
  server.asked.length = 0;
  const found = await bank.entries("lossy", "scale");
  assert.equal(server.asked.length, 2);
  assert.ok(server.asked.every((each) => / bytes=\d+-\d+$/.test(each)));
  assert.deepEqual(found, await (await openPath(MIXED)).entries("lossy", "scale"));
  await bank.entries("lossy", "scale");
  assert.equal(server.asked.length, 3, "the index is kept");
});

test("a bank is verified over HTTP, and an invalid one is refused", async () => {
  assert.deepEqual(await verify(await openUrl(`${server.url}/valid/products`)), []);
  const shorter = await openUrl(`${server.url}/invalid/object-size-a-shard-cut-short`);
  assert.deepEqual((await verify(shorter)).map(({ fault }) => fault.reason), ["object-size"]);
  await assert.rejects(openUrl(`${server.url}/nothing`), { name: "Fault", reason: "document-missing" });
});

test("a server without ranges is named, not read", async () => {
  const plain = await serve(join(VECTORS, "banks"), false);
  try {
    const bank = await openUrl(`${plain.url}/valid/mixed`);
    await assert.rejects(bank.entries("lossy", "embed.weight"), ServerError);
  } finally {
    plain.close();
  }
  await assert.rejects(openUrl(`${plain.url}/valid/mixed`), ServerError);
});

test("no more than a document may have is read", async () => {
  const store = new HttpStore(`${server.url}/valid/mixed`);
  assert.equal((await store.get("zarr.json", 10))!.length, 11);
  assert.equal((await store.range("zarr.json", 2 ** 30, 2 ** 31))!.length, 0);
  assert.equal(await store.get("nothing", 10), undefined);
});

test("zarrita reads a task as any array, sharded over HTTP", async () => {
  zarr.registry.set("tvbank.sass", async () => SassCodec as never);
  const bank = await openUrl(`${server.url}/valid/mixed`);
  for (const task of ["lossy", "exact"]) {
    const store = new zarr.FetchStore(`${server.url}/valid/mixed/${bank.folder(task)}/delta`);
    const array = await zarr.open(store, { kind: "array" });
    assert.deepEqual(array.shape, [bank.layout.length]);
    for (const unit of bank.layout.units.values()) {
      if (!unit.size) continue;
      const { data } = await zarr.get(array, [zarr.slice(unit.offset, unit.offset + unit.size)]);
      const dense = await bank.dense(task, unit.name);
      assert.equal(data.constructor, dense.constructor);
      const bits = (each: ArrayBufferView) => Buffer.from(each.buffer, each.byteOffset, each.byteLength).toString("hex");
      assert.equal(bits(data as Float32Array), bits(dense), unit.name);
    }
  }
});

test("zarrita reads the samples of the codec's registration", async () => {
  zarr.registry.set("tvbank.sass", async () => SassCodec as never);
  const spec = await serve(join(ROOT, "spec/zarr-extensions/codecs/tvbank.sass/sample_data"));
  try {
    const listed = { float32: [7, 12, 39], int32: [0, 3, 6, 9], sharded: [7, 12, 39] };
    for (const [name, expected] of Object.entries(listed)) {
      const array = await zarr.open(new zarr.FetchStore(`${spec.url}/${name}.zarr`), { kind: "array" });
      const { data } = await zarr.get(array);
      const nonzeros = Array.from(data as Float32Array, (value, i) => (value ? i : -1)).filter((i) => i >= 0);
      assert.deepEqual(nonzeros, expected, name);
    }
  } finally {
    spec.close();
  }
});

test("the codec refuses chunks of another length or type", () => {
  const frame = objectsOf(join(VECTORS, "frames/valid")).get("worked-example.bin")!;
  const codec = SassCodec.fromConfig({}, { dataType: "float32", shape: [64] });
  assert.equal(codec.decode(frame).data[7], 0.5);
  assert.throws(() => SassCodec.fromConfig({}, { dataType: "float32", shape: [65] }).decode(frame), Fault);
  assert.throws(() => SassCodec.fromConfig({}, { dataType: "int32", shape: [64] }).decode(frame), TypeError);
  assert.throws(() => SassCodec.fromConfig({}, { dataType: "float64", shape: [64] }), TypeError);
  assert.throws(() => codec.encode(), /reads only/);
});

for (const wide of [false, true]) {
  test(`a bank in a zip file${wide ? " of 64 bits" : ""}, on a disk and over HTTP`, async () => {
    writeFileSync(join(folder, "bank.zip"), zipOf(objectsOf(MIXED), wide));
    const local = await openPath(join(folder, "bank.zip"));
    assert.deepEqual(await verify(local), []);
    const zips = await serve(folder);
    try {
      const remote = await openUrl(`${zips.url}/bank.zip`);
      assert.equal(zips.asked.length, 2, "its size and its end");
      const expected = await (await openPath(MIXED)).dense("exact", "scale");
      assert.deepEqual(await remote.dense("exact", "scale"), expected);
    } finally {
      zips.close();
    }
  });
}

test("a zip file of which anything contradicts anything is refused", async () => {
  const open = async (bytes: Uint8Array) =>
    Bank.open(await openZip({ size: bytes.length, range: async (start, end) => bytes.subarray(start, end) }));
  const objects = objectsOf(MIXED);
  const good = zipOf(objects);
  await open(good);
  const changed = (change: (view: DataView, directory: number, end: number) => void) => {
    const bytes = good.slice();
    const view = new DataView(bytes.buffer);
    const end = bytes.length - 22;
    change(view, view.getUint32(end + 16, true), end);
    return bytes;
  };
  const bad: Record<string, Uint8Array> = {
    "bytes in front": Uint8Array.of(0, ...good),
    "a byte behind": Uint8Array.of(...good, 0),
    "cut short": good.subarray(0, -1),
    "a comment": changed((view, _, end) => view.setUint16(end + 20, 1, true)),
    "another disk": changed((view, _, end) => view.setUint16(end + 4, 1, true)),
    "an entry less": changed((view, _, end) => {
      view.setUint16(end + 8, objects.size - 1, true);
      view.setUint16(end + 10, objects.size - 1, true);
    }),
    compressed: changed((view, directory) => view.setUint16(directory + 10, 8, true)),
    encrypted: changed((view, directory) => view.setUint16(directory + 8, 1, true)),
    "a size too large": changed((view, directory) => view.setUint32(directory + 24, 2 ** 30, true)),
    "a link": changed((view, directory) => {
      view.setUint8(directory + 5, 3);
      view.setUint32(directory + 38, 0xa1ff0000, true);
    }),
    "a name that leads out": zipOf(new Map([...objects, ["../x", new Uint8Array(1)]])),
    "an absolute name": zipOf(new Map([...objects, ["/x", new Uint8Array(1)]])),
    "a folder with bytes": zipOf(new Map([...objects, ["x/", new Uint8Array(1)]])),
  };
  for (const [what, bytes] of Object.entries(bad)) {
    await assert.rejects(open(bytes), { name: "Fault", reason: "zip" }, what);
  }
});
