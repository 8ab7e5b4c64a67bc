/** Elements made of text that strangers wrote: nothing of it becomes markup. */
type Child = Node | string | number;

/** Text with control characters and marks of direction as escapes. */
export const shown = (text: string): string =>
  text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (mark) => `\\u{${mark.codePointAt(0)!.toString(16)}}`);

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.map((child) => (typeof child === "object" ? child : shown(String(child)))));
  return made;
}

/** A cell: numbers to the right. */
const cell = (tag: "td" | "th", child: Child) => element(tag, typeof child === "number" ? { class: "number" } : {}, child);

export const grouped = (value: number): string => value.toLocaleString("en");

export function table(heads: string[], rows: Child[][], numbers: number[] = []): HTMLElement {
  const body = rows.map((row) => element("tr", {}, ...row.map((child) => cell("td", child))));
  const made = element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...heads.map((head) => cell("th", head)))),
    element("tbody", {}, ...body),
  );
  for (const row of made.rows) for (const column of numbers) row.cells[column]?.classList.add("number");
  return element("div", { class: "wide" }, made);
}

export function facts(pairs: [string, Child][]): HTMLElement {
  return element("dl", {}, ...pairs.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

/** A name that leads to what it names. */
export const name = (text: string, link: string): HTMLAnchorElement => element("a", { href: link }, text);

export function size(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const step = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return step ? `${(bytes / 1024 ** step).toPrecision(3)} ${units[step]}` : `${bytes} bytes`;
}
