import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { test } from "node:test";
import { Fault } from "../src/fault.js";
import { openPath } from "../src/folder.js";
import { verify } from "../src/verify.js";
import { unhex, VECTORS, vectors } from "./vectors.js";

interface Valid {
  base: Record<string, string>;
  tasks: Record<
    string,
    {
      element: string;
      units: Record<string, { nonzeros: number; dense_sha256: string }>;
      extras: Record<string, { dtype: string; shape: number[]; sha256: string }>;
      weights_sha256: Record<string, string>;
    }
  >;
  routers?: Record<
    string,
    {
      tasks: string[];
      at: string[];
      width: number;
      neighbours: number;
      spread: number;
      rejection: { evidence: number; distance: number } | null;
      arrays: Record<string, string>;
    }
  >;
}

const digestOf = (bytes: ArrayBufferView) => createHash("sha256").update(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)).digest("hex");

for (const vector of vectors<Valid>("banks/valid")) {
  test(`bank ${vector.name}`, async () => {
    const bank = await openPath(join(VECTORS, "banks/valid", vector.name));
    assert.deepEqual(await verify(bank), []);
    const base = new Map(Object.entries(vector.base).map(([name, hex]) => [name, unhex(hex)]));
    assert.deepEqual([...bank.catalog.tasks.keys()], Object.keys(vector.tasks));
    for (const [name, task] of Object.entries(vector.tasks)) {
      assert.equal(bank.entry(name).element, task.element);
      for (const [unit, expected] of Object.entries(task.units)) {
        const entries = await bank.entries(name, unit, base.get(unit));
        assert.equal(entries.positions.length, expected.nonzeros);
        assert.equal(digestOf(await bank.dense(name, unit, base.get(unit))), expected.dense_sha256);
      }
      const { extras } = await bank.revision(name);
      assert.deepEqual(extras.map((extra) => extra.name), Object.keys(task.extras));
      for (const extra of extras) {
        const expected = task.extras[extra.name]!;
        assert.deepEqual([extra.dtype, extra.shape], [expected.dtype, expected.shape]);
        assert.equal(digestOf(await bank.extra(name, extra.name)), expected.sha256);
      }
      for (const [tensor, digest] of Object.entries(task.weights_sha256)) {
        const start = base.get(bank.layout.tied.get(tensor) ?? tensor)!;
        assert.equal(digestOf(await bank.weights(name, tensor, start)), digest, `${name} ${tensor}`);
      }
    }
    const routers = vector.routers ?? {};
    assert.deepEqual([...bank.catalog.routers.keys()], Object.keys(routers));
    for (const [name, expected] of Object.entries(routers)) {
      const router = await bank.router(name);
      assert.deepEqual(router.tasks.map((task) => task.name), expected.tasks);
      assert.deepEqual([router.recipe.at, router.recipe.width], [expected.at, expected.width]);
      assert.deepEqual([router.neighbours, router.spread], [expected.neighbours, expected.spread]);
      assert.deepEqual(router.rejection, expected.rejection);
      const arrays = router.arrays.map((array, j) => [array.name, Buffer.from(router.data[j]!).toString("hex")]);
      assert.deepEqual(Object.fromEntries(arrays), expected.arrays);
    }
  });
}

test("every invalid bank is refused with its reason", async () => {
  const all = vectors<{ reason: string }>("banks/invalid");
  assert.ok(all.length >= 309);
  for (const vector of all) {
    let reasons: string[];
    try {
      const bank = await openPath(join(VECTORS, "banks/invalid", vector.name));
      reasons = (await verify(bank)).map(({ fault }) => fault.reason);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      reasons = [error.reason];
    }
    assert.equal(reasons[0], vector.reason, `${vector.name}: ${reasons}`);
  }
});
