import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { Bank } from "../src/bank.js";
import { decodeFrame } from "../src/frame.js";
import { parseJson } from "../src/json.js";
import { MemoryStore } from "../src/store.js";

const MiB = 2 ** 20;

const grown = async (work: () => unknown): Promise<number> => {
  const before = process.memoryUsage();
  await work();
  const after = process.memoryUsage();
  return after.arrayBuffers + after.heapTotal - before.arrayBuffers - before.heapTotal;
};

/** A header of 24 bytes. */
function header(mask: number, value: number, parameters: [number, number], counts: number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(24));
  [1, 0, mask, value].forEach((byte, i) => view.setUint8(i, byte));
  parameters.forEach((parameter, i) => view.setUint16(4 + 2 * i, parameter, true));
  counts.forEach((count, i) => view.setUint32(8 + 4 * i, count, true));
  return new Uint8Array(view.buffer);
}

test("a frame of a few bytes that promises 2^24 entries is refused by its header", async () => {
  const full = header(1, 2, [0, 1], [2 ** 24, 2 ** 24, 2 ** 24, 0]);
  const frame = Uint8Array.of(...full, 0, 0, 128, 63);
  const refused = () => assert.throws(() => decodeFrame(frame, 64), { reason: "entries-mismatch" });
  assert.ok((await grown(refused)) < 8 * MiB);
  assert.equal(decodeFrame(frame, 2 ** 24).patterns.length, 2 ** 24, "it is valid where it is expected");
  const longer = header(6, 6, [0, 0], [2 ** 24, 2 ** 24, 2 ** 24, 2 ** 32 - 1]);
  assert.throws(() => decodeFrame(longer), { reason: "frame-truncated" });
});

test("JSON nested a million deep, a member twice, numbers that are none", () => {
  const parsed = (text: string) => parseJson(new TextEncoder().encode(text));
  const bad = ["[".repeat(1e6), '{"a":1,"a":2}', "01", "1.", ".5", "+1", "NaN", "1e999", '"\\ud800"', '"\t"', "\ufeff{}", "{} {}", "[1,]", ""];
  for (const text of bad) assert.throws(() => parsed(text), { reason: "document-syntax" }, text.slice(0, 20));
  assert.deepEqual(parsed(`[-0, ${2 ** 53}, "\\ud83d\\ude00"]`), [0, 2 ** 53, "\u{1f600}"]);
  const digits = "9".repeat(1e6);
  assert.throws(() => parsed(digits), { reason: "document-syntax" });
  assert.equal((parsed("1.5e3") as { value: number }).value, 1500);
});

test("a layout that states 2^40 zeros opens, and a dense unit is an error", async () => {
  const text = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const length = 2 ** 40;
  const unit = { name: "w", dtype: "float32", shape: [length], offset: 0, sha256: "0".repeat(64) };
  const layout = text({
    attributes: { tvbank: { chunk_length: 2 ** 24, shard_length: 2 ** 40, length, units: [unit], whole: [], tied: {} } },
    node_type: "group",
    zarr_format: 3,
  });
  const digestOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
  const entry = {
    revision: "0".repeat(64), size: 1, element: "float32", shards: [null], nonzeros: 0, parameters: length,
    stored_bytes: 1, replaced: [], compressor: { name: "none" },
  }; // prettier-ignore
  const root = (digest: string) =>
    text({
      attributes: {
        tvbank: {
          digest, format: "1.0", required_features: [], generation: 1,
          layout: { size: layout.length, sha256: digestOf(layout) }, tasks: { t: entry },
        },
      },
      node_type: "group",
      zarr_format: 3,
    }); // prettier-ignore
  const document = root(digestOf(root("0".repeat(64))));
  const bank = await Bank.open(new MemoryStore(new Map([["zarr.json", document], ["base/zarr.json", layout]])));
  assert.equal((await bank.entries("t", "w")).positions.length, 0);
  await assert.rejects(bank.dense("t", "w"), RangeError);
});
