/** Browses a bank by its URL: tasks, their units and sizes, the values of one unit. */
import { type Bank, Fault, openUrl, ServerError, verify } from "../src/index.js";
import { element, facts, grouped, name, shown, size, table } from "./elements.js";

const MOST_ENTRIES = 2 ** 24;
const FIRST = 200;
const BARS = 61;

const main = document.querySelector<HTMLElement>("#main")!;
const status = document.querySelector<HTMLElement>("#status")!;
const input = document.querySelector<HTMLInputElement>("#url")!;

const say = (text: string, wrong = false) => {
  status.textContent = shown(text);
  status.classList.toggle("wrong", wrong);
};

/** What was asked for last; what was asked for before does not show any more. */
let asked = 0;

async function busy<T>(what: string, work: () => Promise<T>, show: (found: T) => void): Promise<void> {
  const mine = ++asked;
  say(`${what} …`);
  try {
    const found = await work();
    if (mine !== asked) return;
    say("");
    show(found);
  } catch (error) {
    if (mine !== asked) return;
    const known = error instanceof Fault || error instanceof ServerError || error instanceof RangeError;
    say(known ? error.message : `this page failed: ${error}`, true);
  }
}

/** A section that takes the place of the one of the same level, and of those below. */
function section(level: number, title: string, ...children: (Node | string)[]): HTMLElement {
  for (const old of [...main.children]) if (Number((old as HTMLElement).dataset["level"]) >= level) old.remove();
  const made = element("section", { "data-level": String(level) }, element("h2", {}, title), ...children);
  main.append(made);
  if (level > 0) made.scrollIntoView({ behavior: "smooth", block: "start" });
  return made;
}

const shape = (sides: number[]) => (sides.length ? sides.join(" × ") : "0-d");

const floatElements = (bank: Bank) => [...bank.layout.units.values()].reduce((total, unit) => total + unit.size, 0);

function showBank(bank: Bank, url: string): void {
  const { catalog, layout } = bank;
  const check = element("button", { type: "button" }, "Read and verify every byte");
  const stored = [...catalog.tasks.values(), ...catalog.routers.values()].reduce((sum, each) => sum + each.stored_bytes, 0);
  check.addEventListener("click", () =>
    busy(`reading ${size(stored)}`, () => verify(bank), (found) => {
      const faults = found.map(({ at, fault }) => `${at}: ${fault.message}`);
      say(faults.length ? faults.join("; ") : "Every byte is as the root document says.", faults.length > 0);
    }),
  );
  const tasks = [...catalog.tasks].map(([task, entry]) => [
    name(task, linkTo({ bank: url, task })),
    entry.element === "int32" ? "exact" : "lossy",
    String(entry.compressor.get("name")),
    grouped(entry.nonzeros),
    size(entry.stored_bytes),
    ((8 * entry.stored_bytes) / Math.max(1, entry.parameters)).toPrecision(3),
    entry.parent?.task ?? "",
  ]);
  section(
    0,
    url.replace(/\/+$/, "").split("/").pop() || url,
    facts([
      ["format", catalog.format],
      ["requires", catalog.required_features.join(", ") || "nothing beyond it"],
      ["generation", grouped(catalog.generation)],
      ["base", `${grouped(layout.units.size)} units, ${grouped(floatElements(bank))} parameters`],
      ["tasks", `${grouped(catalog.tasks.size)}, ${size(stored)}`],
      ["routers", [...catalog.routers.keys()].join(", ") || "none"],
    ]),
    check,
    table(["task", "kind", "compressor", "non-zeros", "stored", "bits a parameter", "parent"], tasks, [3, 4, 5]),
  );
}

function showTask(bank: Bank, url: string, task: string): Promise<void> {
  const work = async () => ({ revision: await bank.revision(task), stored: await bank.storedBytes(task) });
  return busy(`reading ${task}`, work, ({ revision, stored }) => {
    const products = new Map(revision.products.map((product) => [product.unit, product]));
    const replaced = new Set(bank.entry(task).replaced);
    const units = [...bank.layout.units.values()].map((unit) => {
      const product = products.get(unit.name);
      const bytes = (stored.get(unit.name) ?? 0) + (product ? product.end - product.start : 0);
      const how = replaced.has(unit.name) ? "whole" : product ? `rank ${product.rank}` : bytes ? "frames" : "zero";
      return [
        name(unit.name, linkTo({ bank: url, task, unit: unit.name })),
        unit.dtype,
        shape(unit.shape),
        how,
        size(bytes),
        ((8 * bytes) / Math.max(1, unit.size)).toPrecision(3),
      ];
    });
    const extras = revision.extras.map((extra) => [extra.name, extra.dtype, shape(extra.shape), grouped(extra.size)]);
    const made = section(
      1,
      `Task ${task}`,
      facts([
        ["revision", bank.entry(task).revision],
        ["metadata", JSON.stringify(revision.metadata)],
      ]),
      table(["unit", "type", "shape", "kept as", "stored", "bits a parameter"], units, [4, 5]),
      ...(extras.length ? [table(["extra", "type", "shape", "elements"], extras, [3])] : []),
    );
    made.dataset["task"] = task;
  });
}

/** A number in as few digits as tell it apart in its type. */
function digits(value: number): string {
  for (let precision = 1; precision < 9; precision++) {
    const short = Number(value.toPrecision(precision));
    if (Math.fround(short) === value) return Object.is(value, -0) ? "-0" : String(short);
  }
  return String(value);
}

/** A histogram of numbers that are finite, from the least to the greatest. */
function histogram(numbers: Float32Array | Int32Array): HTMLElement[] {
  let [least, most] = [Infinity, -Infinity];
  for (const each of numbers) {
    if (!Number.isFinite(each)) continue;
    if (each < least) least = each;
    if (each > most) most = each;
  }
  if (!(least < most)) return [];
  const counts = new Array<number>(BARS).fill(0);
  for (const each of numbers) {
    if (Number.isFinite(each)) counts[Math.min(BARS - 1, Math.floor(((each - least) / (most - least)) * BARS))]!++;
  }
  const highest = Math.max(...counts);
  const bars = counts.map((count) => {
    const bar = element("div", { title: grouped(count) });
    bar.style.height = `${(100 * count) / highest}%`;
    return bar;
  });
  const label = `Histogram of the entries from ${digits(least)} to ${digits(most)}`;
  return [
    element("div", { class: "bars", role: "img", "aria-label": label }, ...bars),
    element("div", { class: "ends" }, element("span", {}, digits(least)), element("span", {}, digits(most))),
  ];
}

function showUnit(bank: Bank, task: string, name: string): Promise<void> {
  const work = async () => {
    const unit = bank.unit(name);
    if (unit.size > MOST_ENTRIES) throw new RangeError(`${name} has more entries than this page shows`);
    return { unit, entries: await bank.entries(task, name) };
  };
  return busy(`reading ${name}`, work, ({ unit, entries: { element: kind, positions, patterns } }) => {
    const numbers = kind === "float32" ? new Float32Array(patterns.buffer) : new Int32Array(patterns.buffer);
    let squares = 0;
    for (const each of numbers) squares += each * each;
    const place = (position: number) => {
      const at: number[] = [];
      for (const side of [...unit.shape].reverse()) {
        at.unshift(position % side);
        position = Math.floor(position / side);
      }
      return `[${at.join(", ")}]`;
    };
    const rows = Array.from(positions.subarray(0, FIRST), (position, i) => [place(position), kind === "int32" ? String(numbers[i]) : digits(numbers[i]!)]);
    const all = numbers.length <= FIRST ? "all" : `the first ${FIRST}`;
    section(
      2,
      `${task}: ${name}`,
      facts([
        ["shape", shape(unit.shape)],
        ["non-zeros", `${grouped(numbers.length)} of ${grouped(unit.size)}`],
        ["norm", Math.sqrt(squares).toPrecision(6)],
      ]),
      ...histogram(numbers),
      element("p", { class: "note" }, kind === "int32" ? `Steps between neighbouring numbers, ${all}:` : `Entries, ${all}:`),
      table(["at", kind === "int32" ? "step" : "value"], rows, [1]),
    );
  });
}

/** What the page shows, as the part of its address after `#`; a link to it can be passed on. */
interface Shown {
  bank: string;
  task?: string;
  unit?: string;
}

const linkTo = (wanted: Shown) => `#${new URLSearchParams({ ...wanted })}`;

let current: { url: string; bank: Bank } | undefined;

async function show(): Promise<void> {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const [url, task, unit] = ["bank", "task", "unit"].map((part) => wanted.get(part) ?? "") as [string, string, string];
  input.value = url;
  if (!url) main.replaceChildren();
  if (!url) return;
  if (current?.url !== url) {
    current = undefined;
    main.replaceChildren();
    await busy(`opening ${url}`, () => openUrl(new URL(url, location.href).href), (bank) => {
      current = { url, bank };
      showBank(bank, url);
    });
  }
  if (current?.url !== url) return;
  if (task && shownTask() !== task) await showTask(current.bank, url, task);
  if (task && unit && shownTask() === task) await showUnit(current.bank, task, unit);
}

const shownTask = () => main.querySelector<HTMLElement>("section[data-task]")?.dataset["task"];

document.querySelector("#open")!.addEventListener("submit", (event) => {
  event.preventDefault();
  current = undefined;
  const link = linkTo({ bank: input.value });
  if (location.hash === link) void show();
  else location.hash = link;
});
addEventListener("hashchange", () => void show());
document.documentElement.dataset["ready"] = "";
void show();
