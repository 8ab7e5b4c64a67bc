/** Names of tasks, routers and units (spec/container.md, Names). */
import { Fault } from "./fault.js";

const FOLDER = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const DEVICE = /^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)/;
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

export function checkFolderName(name: string): void {
  const lower = name.toLowerCase();
  const bad = !FOLDER.test(name) || name.endsWith(".") || lower === "zarr.json" || lower.includes(".tmp-");
  if (bad || DEVICE.test(lower)) throw new Fault("name", `${JSON.stringify(name)} is no name of a task or router`);
}

/** Names that become folders of one parent: allowed, and different in more than case. */
export function checkFolderNames(names: Iterable<string>): void {
  const seen = new Set<string>();
  for (const name of names) {
    checkFolderName(name);
    const lower = name.toLowerCase();
    if (seen.has(lower)) throw new Fault("name", `${name} stands twice, but for case`);
    seen.add(lower);
  }
}

export function checkUnitName(name: string): void {
  const bytes = new TextEncoder().encode(name).length;
  if (bytes < 1 || bytes > 1024 || CONTROL.test(name)) {
    throw new Fault("name", `${JSON.stringify(name.slice(0, 80))} is no name of a unit`);
  }
}
