/** A static server of a folder that answers ranges, as banks are published from. */
import { readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join, normalize } from "node:path";

export interface Server {
  url: string;
  /** What was asked for since this was emptied. */
  asked: string[];
  close(): void;
}

/** @param ranges false for a server that answers whole objects only */
export async function serve(folder: string, ranges = true): Promise<Server> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const path = join(folder, normalize(decodeURIComponent(new URL(request.url!, "http://x").pathname)));
    const range = ranges ? /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") : null;
    asked.push(`${request.method} ${request.url}${range ? ` ${range[0]}` : ""}`);
    if (!statSync(path, { throwIfNoEntry: false })?.isFile()) {
      response.writeHead(404).end();
      return;
    }
    const data = readFileSync(path);
    const type = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" }[/\.\w+$/.exec(path)?.[0] ?? ""];
    const headers: Record<string, string | number> = { "Access-Control-Allow-Origin": "*", "Content-Type": type ?? "application/octet-stream" };
    if (!range) {
      response.writeHead(200, { ...headers, "Content-Length": data.length });
      response.end(request.method === "HEAD" ? undefined : data);
    } else if (Number(range[1]) >= data.length) {
      response.writeHead(416, { "Content-Range": `bytes */${data.length}` }).end();
    } else {
      const part = data.subarray(Number(range[1]), Number(range[2]) + 1);
      headers["Content-Range"] = `bytes ${range[1]}-${Number(range[1]) + part.length - 1}/${data.length}`;
      response.writeHead(206, { ...headers, "Content-Length": part.length }).end(part);
    }
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, asked, close: () => void (server.close(), server.closeAllConnections()) };
}
