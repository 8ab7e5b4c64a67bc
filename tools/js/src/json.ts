/** JSON as banks have it (spec/container.md, Documents): stricter than JSON.parse, and with the order of members kept. */
import { Fault } from "./fault.js";

/** A number that is not written as an integer of at most 2^53, though it may equal one. */
export class Real {
  constructor(readonly value: number) {}
}

export type Json = null | boolean | number | Real | string | Json[] | Map<string, Json>;

const DEEPEST = 64;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const SPACE = /[ \t\n\r]*/y;
const ESCAPES: Record<string, string> = {
  '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t",
}; // prettier-ignore

class Parser {
  private at = 0;

  constructor(private readonly text: string) {}

  document(): Json {
    const value = this.value(1);
    this.skip();
    if (this.at < this.text.length) this.refuse();
    return value;
  }

  private refuse(): never {
    throw new Fault("document-syntax", `no JSON as banks have it, at character ${this.at}`);
  }

  private match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found) this.at += found[0].length;
    return found;
  }

  private skip(): void {
    this.match(SPACE);
  }

  private take(character: string): boolean {
    if (this.text[this.at] !== character) return false;
    this.at++;
    return true;
  }

  private value(depth: number): Json {
    this.skip();
    switch (this.text[this.at]) {
      case "{":
        return this.object(depth);
      case "[":
        return this.array(depth);
      case '"':
        return this.string();
      case "t":
        return this.word("true", true);
      case "f":
        return this.word("false", false);
      case "n":
        return this.word("null", null);
      default:
        return this.number();
    }
  }

  private word<T>(word: string, value: T): T {
    if (!this.text.startsWith(word, this.at)) this.refuse();
    this.at += word.length;
    return value;
  }

  private number(): number | Real {
    const found = this.match(NUMBER);
    if (!found || found[0] === "") this.refuse();
    const value = Number(found[0]);
    if (!Number.isFinite(value)) this.refuse();
    const written = found[1] === undefined && found[2] === undefined;
    const exact = Math.abs(value) < 2 ** 53 || (Math.abs(value) === 2 ** 53 && BigInt(found[0]) === BigInt(value));
    return written && exact ? value + 0 : new Real(value);
  }

  private string(): string {
    this.at++;
    let found = "";
    while (true) {
      found += this.match(PLAIN)![0];
      if (this.take('"')) break;
      if (!this.take("\\")) this.refuse();
      const escape = this.text[this.at++] ?? "";
      if (escape === "u") {
        const digits = this.text.slice(this.at, this.at + 4);
        if (!/^[0-9a-fA-F]{4}$/.test(digits)) this.refuse();
        found += String.fromCharCode(parseInt(digits, 16));
        this.at += 4;
      } else {
        found += Object.hasOwn(ESCAPES, escape) ? ESCAPES[escape] : this.refuse();
      }
    }
    if (/\p{Surrogate}/u.test(found)) this.refuse();
    return found;
  }

  private array(depth: number): Json[] {
    if (depth > DEEPEST) this.refuse();
    this.at++;
    const found: Json[] = [];
    this.skip();
    if (this.take("]")) return found;
    do {
      found.push(this.value(depth + 1));
      this.skip();
    } while (this.take(","));
    if (!this.take("]")) this.refuse();
    return found;
  }

  private object(depth: number): Map<string, Json> {
    if (depth > DEEPEST) this.refuse();
    this.at++;
    const found = new Map<string, Json>();
    this.skip();
    if (this.take("}")) return found;
    do {
      this.skip();
      if (this.text[this.at] !== '"') this.refuse();
      const name = this.string();
      if (found.has(name)) this.refuse();
      this.skip();
      if (!this.take(":")) this.refuse();
      found.set(name, this.value(depth + 1));
      this.skip();
    } while (this.take(","));
    if (!this.take("}")) this.refuse();
    return found;
  }
}

/** @throws Fault `document-syntax` */
export function parseJson(bytes: Uint8Array): Json {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Fault("document-syntax", "the document is not UTF-8, or too long for this machine");
  }
  return new Parser(text).document();
}

/** What JSON.parse would give, with objects that have no prototype. */
export function plain(value: Json): unknown {
  if (value instanceof Real) return value.value;
  if (Array.isArray(value)) return value.map(plain);
  if (!(value instanceof Map)) return value;
  const found: Record<string, unknown> = Object.create(null);
  for (const [name, member] of value) found[name] = plain(member);
  return found;
}

/** Equality of JSON values: 1 and 1.0 are equal, and the order of members does not count. */
export function sameJson(one: Json, other: Json): boolean {
  if (one instanceof Real) one = one.value;
  if (other instanceof Real) other = other.value;
  if (Array.isArray(one)) {
    return Array.isArray(other) && one.length === other.length && one.every((item, i) => sameJson(item, other[i]!));
  }
  if (one instanceof Map) {
    if (!(other instanceof Map) || one.size !== other.size) return false;
    return [...one].every(([name, value]) => other.has(name) && sameJson(value, other.get(name)!));
  }
  return one === other;
}
