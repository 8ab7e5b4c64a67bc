/** Objects below a URL, of which a server answers ranges. */
import { Bank } from "./bank.js";
import type { Store } from "./store.js";
import { openZip } from "./zip.js";

/** A server that does not do what it must: no fault of the bank's bytes. */
export class ServerError extends Error {
  override readonly name = "ServerError";
}

/** The body of an answer, at most `limit` bytes; the connection is closed once more have come. */
async function body(answer: Response, limit: number): Promise<Uint8Array> {
  const reader = answer.body?.getReader();
  const parts: Uint8Array[] = [];
  let length = 0;
  while (reader && length <= limit) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    length += value.length;
  }
  await reader?.cancel();
  const data = new Uint8Array(Math.min(length, limit));
  let at = 0;
  for (const part of parts) {
    data.set(part.subarray(0, data.length - at), at);
    at = Math.min(at + part.length, data.length);
  }
  return data;
}

async function ask(url: string, init: RequestInit): Promise<Response | undefined> {
  let answer: Response;
  try {
    answer = await fetch(url, init);
  } catch (error) {
    const why = (error as { cause?: Error }).cause?.message ?? (error as Error).message;
    throw new ServerError(`${url}: no answer (${why}); from a browser the server must also allow other sites (CORS)`);
  }
  if (answer.status === 404 || answer.status === 410) {
    await answer.body?.cancel();
    return undefined;
  }
  if (!answer.ok && answer.status !== 416) {
    await answer.body?.cancel();
    throw new ServerError(`${url}: the server answers ${answer.status}`);
  }
  return answer;
}

async function range(url: string, start: number, end: number): Promise<Uint8Array | undefined> {
  if (start >= end) return new Uint8Array();
  const answer = await ask(url, { headers: { Range: `bytes=${start}-${end - 1}` } });
  if (!answer) return undefined;
  if (answer.status === 416) {
    await answer.body?.cancel();
    return new Uint8Array();
  }
  const stated = answer.headers.get("Content-Range"); // servers of other sites may hide it
  if (answer.status !== 206 || (stated && !stated.startsWith(`bytes ${start}-`))) {
    await answer.body?.cancel();
    throw new ServerError(`${url}: the server does not answer ranges`);
  }
  return body(answer, end - start);
}

export class HttpStore implements Store {
  private readonly root: string;

  constructor(url: string) {
    this.root = url.replace(/\/+$/, "");
  }

  private url(key: string): string {
    return `${this.root}/${key.split("/").map(encodeURIComponent).join("/")}`;
  }

  async get(key: string, limit: number): Promise<Uint8Array | undefined> {
    const answer = await ask(this.url(key), key === "zarr.json" ? { cache: "no-cache" } : {});
    if (answer?.status === 416) throw new ServerError(`${this.url(key)}: the server answers 416`);
    return answer && body(answer, limit + 1);
  }

  range(key: string, start: number, end: number): Promise<Uint8Array | undefined> {
    return range(this.url(key), start, end);
  }
}

/** Opens a bank by its URL: a folder of objects, or one zip file. */
export async function openUrl(url: string): Promise<Bank> {
  if (!/\.zip$/i.test(new URL(url).pathname)) return Bank.open(new HttpStore(url));
  const answer = await ask(url, { method: "HEAD", cache: "no-cache" });
  const size = Number(answer?.headers.get("Content-Length") ?? NaN);
  if (!Number.isSafeInteger(size)) throw new ServerError(`${url}: the server does not say how large the file is`);
  return Bank.open(await openZip({ size, range: (start, end) => range(url, start, end) }));
}
