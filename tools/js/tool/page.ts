/** Puts the page that browses banks together, as one folder for any static server: `npm run page [FOLDER]`. */
import { cpSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));

export function buildPage(folder: string): void {
  for (const part of ["src", "page"]) {
    mkdirSync(join(folder, part), { recursive: true });
    for (const file of readdirSync(join(root, "dist", part))) {
      if (file.endsWith(".js")) cpSync(join(root, "dist", part, file), join(folder, part, file));
    }
  }
  cpSync(join(root, "page/index.html"), join(folder, "index.html"));
  cpSync(join(root, "page/style.css"), join(folder, "page/style.css"));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = process.argv[2] ?? join(root, "dist", "site");
  buildPage(folder);
  console.log(folder);
}
