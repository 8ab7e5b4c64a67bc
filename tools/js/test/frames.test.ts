import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { decodeFrame, denseOf, exponentBytes } from "../src/frame.js";
import { unhex, VECTORS, vectors } from "./vectors.js";

interface Given {
  base_dtype?: string;
  base?: string;
}

interface Valid extends Given {
  element: string;
  entries: number;
  nonzeros: number;
  positions?: number[];
  patterns?: string[];
  dense_sha256?: string;
}

interface Invalid extends Given {
  reason: string;
  expected_entries?: number;
}

const bytes = (folder: string, name: string) => new Uint8Array(readFileSync(join(VECTORS, folder, `${name}.bin`)));

const exponents = (given: Given) => given.base_dtype && exponentBytes(given.base_dtype, unhex(given.base!));

test("every valid frame has its entries", () => {
  const all = vectors<Valid>("frames/valid");
  assert.ok(all.length >= 319);
  for (const vector of all) {
    const frame = decodeFrame(bytes("frames/valid", vector.name), vector.entries, exponents(vector) || undefined);
    assert.equal(frame.element, vector.element, vector.name);
    assert.equal(frame.patterns.length, vector.nonzeros, vector.name);
    if (vector.positions) {
      assert.deepEqual([...frame.positions], vector.positions, vector.name);
      assert.deepEqual([...frame.patterns].map((p) => p.toString(16).padStart(8, "0")), vector.patterns, vector.name);
    } else {
      const dense = new Uint8Array(denseOf(frame).buffer);
      assert.equal(createHash("sha256").update(dense).digest("hex"), vector.dense_sha256, vector.name);
    }
  }
});

test("every invalid frame is refused with its reason", () => {
  const all = vectors<Invalid>("frames/invalid");
  assert.ok(all.length >= 260);
  for (const vector of all) {
    assert.throws(
      () =>
        decodeFrame(bytes("frames/invalid", vector.name), vector.expected_entries, exponents(vector) || undefined),
      { name: "Fault", reason: vector.reason },
      vector.name,
    );
  }
});
