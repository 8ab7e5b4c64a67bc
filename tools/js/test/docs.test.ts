/** The JavaScript of docs/javascript.md runs, and prints what the page shows. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { serve } from "./server.js";
import { ROOT, VECTORS } from "./vectors.js";

const BETWEEN = "--- the next block";

test("the map of the folder names every file", () => {
  const map = readFileSync(join(ROOT, "tools/js/README.md"), "utf8");
  const files = readdirSync(join(ROOT, "tools/js/src")).map((file) => file.replace(/\.ts$/, ""));
  const missing = files.filter((file) => !map.includes(`\`${file.startsWith("zstd_") ? "zstd" : file}\``));
  assert.deepEqual(missing, []);
});

test("the page's code prints what it shows", async () => {
  const page = readFileSync(join(ROOT, "docs/javascript.md"), "utf8");
  const blocks = [...page.matchAll(/^```js\n(.*?)^```\n\n```text\n(.*?)^```/gms)];
  assert.equal(blocks.length, page.match(/^```js/gm)!.length);
  const server = await serve(join(VECTORS, "banks/valid"));
  const module = fileURLToPath(new URL("./docs_page.mjs", import.meta.url)); // within the package, which so finds itself
  try {
    const code = blocks.map(([, block]) => block).join(`console.log("${BETWEEN}");\n`);
    writeFileSync(module, code.replaceAll("https://host", server.url));
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [module], { cwd: ROOT });
    assert.equal(stderr, "");
    assert.deepEqual(stdout.split(`${BETWEEN}\n`), blocks.map(([, , shown]) => shown));
  } finally {
    rmSync(module, { force: true });
    server.close();
  }
});
