import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { buildPage } from "../tool/page.js";
import { CHROMIUM, Page } from "./chromium.js";
import { serve, type Server } from "./server.js";
import { VECTORS } from "./vectors.js";

const skip = CHROMIUM ? false : "there is no Chromium: python -m tools.chromium FOLDER fetches one, TVBANK_CHROMIUM says where it is";

let site: Server;
let banks: Server;
let page: Page;
let folder: string;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "tvbank-page-"));
  buildPage(folder);
  site = await serve(folder);
  banks = await serve(join(VECTORS, "banks"));
  if (CHROMIUM) page = await Page.open(join(folder, "profile"));
});

after(async () => {
  await page?.close();
  site.close();
  banks.close();
  rmSync(folder, { recursive: true });
});

const link = (shown: Record<string, string>) => `${site.url}/index.html#${new URLSearchParams(shown)}`;

test("one goes from a bank to a task to a unit, on a page of another site that says nothing on the console", { skip }, async () => {
  await page.visit(`${site.url}/index.html`);
  await page.text("html[data-ready] h1", /A tvbank bank/);
  await page.run(`document.querySelector("#url").value = ${JSON.stringify(`${banks.url}/valid/mixed`)}`);
  await page.run(`document.querySelector("#open button").click()`);
  await page.text("section h2", /^mixed$/);
  assert.match(await page.text("section table", /Resized_1\.0-rc/), /lossy/);
  await page.run(`[...document.querySelectorAll("a")].find((each) => each.textContent === "lossy").click()`);
  await page.text("section[data-level='1'] h2", /^Task lossy$/);
  await page.run(`[...document.querySelectorAll("a")].find((each) => each.textContent === "scale").click()`);
  await page.text("section[data-level='2'] h2", /^lossy: scale$/);
  assert.match(await page.text("section[data-level='2'] table", /value/), /-0\.125/);
  await page.run(`document.querySelector("#main button").click()`);
  await page.text("#status", /^Every byte is as the root document says\.$/);
  assert.deepEqual(page.said, []);
  const asked = site.asked.map((each) => each.split(" ")[1]!);
  assert.ok(asked.every((path) => /^\/(index\.html|page\/|src\/)/.test(path)), "nothing but the page's own files");
});

test("a link leads to a unit at once", { skip }, async () => {
  await page.visit(link({ bank: `${banks.url}/valid/mixed`, task: "exact", unit: "scale" }));
  await page.text("section[data-level='2'] h2", /^exact: scale$/);
});

test("the page names what is wrong with a bank, and what is not there", { skip }, async () => {
  await page.visit(link({ bank: `${banks.url}/invalid/feature-an-unknown-required-feature` }));
  await page.text("#status.wrong", /^feature: the bank requires x/);
  await page.visit(link({ bank: `${banks.url}/valid/mixed`, task: "nobody" }));
  await page.text("#status.wrong", /no task nobody/);
});
