import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { buildPage } from "../tool/page.js";
import { serve, type Server } from "./server.js";
import { VECTORS } from "./vectors.js";

const found = ["chromium", "chromium-browser", "google-chrome"].find((name) => {
  try {
    execFileSync(name, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
});
const skip = found ? false : "there is no Chromium here";

let page: Server;
let banks: Server;
let folder: string;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "tvbank-page-"));
  buildPage(folder);
  page = await serve(folder);
  banks = await serve(join(VECTORS, "banks"));
});

after(() => {
  page.close();
  banks.close();
  rmSync(folder, { recursive: true });
});

/** What the page is once it has done what its address says, and what it said on the console. */
async function visit(shown: Record<string, string>): Promise<{ document: string; console: string[] }> {
  const url = `${page.url}/index.html#${new URLSearchParams(shown)}`;
  const options = ["--headless", "--no-sandbox", "--disable-gpu", `--user-data-dir=${join(folder, "profile")}`];
  const watched = ["--enable-logging=stderr", "--virtual-time-budget=10000", "--dump-dom", url];
  const { stdout, stderr } = await promisify(execFile)(found!, [...options, ...watched], { timeout: 60_000 });
  return { document: stdout, console: stderr.split("\n").filter((line) => line.includes("CONSOLE")) };
}

test("the page shows a bank, a task and a unit of another site, and says nothing on the console", { skip }, async () => {
  const shown = { bank: `${banks.url}/valid/mixed`, task: "lossy", unit: "scale" };
  const { document, console } = await visit(shown);
  assert.deepEqual(console, []);
  assert.match(document, /<a [^>]*>Resized_1\.0-rc<\/a>/);
  assert.match(document, /<h2>Task lossy<\/h2>/);
  assert.match(document, /<h2>lossy: scale<\/h2>/);
  assert.match(document, /<td[^>]*>-0\.125<\/td>/);
});

test("the page names what is wrong with a bank", { skip }, async () => {
  const { document } = await visit({ bank: `${banks.url}/invalid/feature-an-unknown-required-feature` });
  assert.match(document, /<p id="status" [^>]*class="wrong">feature: /);
});
