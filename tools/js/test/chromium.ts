/** A headless Chromium, driven by its own protocol over a pipe. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";

/** A Chromium of this machine: its name, or its path. */
export const CHROMIUM = [process.env.TVBANK_CHROMIUM, "chromium", "chromium-browser", "google-chrome"].find((name) => {
  if (!name) return false;
  try {
    execFileSync(name, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
});

interface Message {
  id?: number;
  method?: string;
  params?: Record<string, unknown>;
  result?: Record<string, unknown>;
  error?: { message: string };
}

export class Page {
  /** What pages said on the console, and what the browser said of them. */
  readonly said: string[] = [];
  private readonly waiting = new Map<number, (message: Message) => void>();
  private session: string | undefined;
  private next = 1;

  private constructor(private readonly browser: ChildProcess) {
    let rest = "";
    (browser.stdio[4] as Readable).setEncoding("utf8").on("data", (part: string) => {
      const messages = (rest + part).split("\0");
      rest = messages.pop()!;
      for (const message of messages) this.take(JSON.parse(message) as Message);
    });
  }

  /** @param profile a folder of the browser's own */
  static async open(profile: string): Promise<Page> {
    const options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", `--user-data-dir=${profile}`];
    const page = new Page(spawn(CHROMIUM!, options, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] }));
    const { targetId } = await page.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await page.send("Target.attachToTarget", { targetId, flatten: true });
    page.session = sessionId as string;
    for (const part of ["Page", "Runtime", "Log"]) await page.send(`${part}.enable`);
    return page;
  }

  private take(message: Message): void {
    if (message.id) this.waiting.get(message.id)?.(message);
    if (message.method && /consoleAPICalled|exceptionThrown|entryAdded/.test(message.method)) {
      this.said.push(JSON.stringify(message.params));
    }
  }

  private async send(method: string, params: object = {}): Promise<Record<string, unknown>> {
    const id = this.next++;
    const answered = new Promise<Message>((resolve) => this.waiting.set(id, resolve));
    (this.browser.stdio[3] as Writable).write(`${JSON.stringify({ id, method, params, sessionId: this.session })}\0`);
    const { result, error } = await answered;
    if (error) throw new Error(`${method}: ${error.message}`);
    return result!;
  }

  async visit(url: string): Promise<void> {
    await this.send("Page.navigate", { url });
  }

  async run(expression: string): Promise<unknown> {
    const { result } = await this.send("Runtime.evaluate", { expression, returnByValue: true });
    return (result as { value: unknown }).value;
  }

  /** The text of an element, once it is there and matches. */
  async text(selector: string, pattern: RegExp): Promise<string> {
    let found: unknown;
    for (let tries = 0; tries < 600; tries++) {
      found = await this.run(`document.querySelector(${JSON.stringify(selector)})?.textContent`);
      if (typeof found === "string" && pattern.test(found)) return found;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`${selector} never was ${pattern}, last ${found}; the browser says: ${this.said.join(" ")}`);
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.browser.once("exit", resolve));
    this.session = undefined;
    await this.send("Browser.close");
    await ended;
  }
}
