/** What a member of a document must be; anything else is `document-syntax`. */
import { Fault } from "./fault.js";
import { type Json, Real } from "./json.js";

/** Checks a value found at a place of a document, and gives it its type. */
export type Check<T> = (value: Json | undefined, place: string) => T;

const refuse = (place: string, what: string): never => {
  throw new Fault("document-syntax", `${place || "the document"} must be ${what}`);
};

export const anything: Check<Json> = (value, place) => value ?? (value === null ? null : refuse(place, "there"));

export const integer =
  (least: number, most: number): Check<number> =>
  (value, place) =>
    typeof value === "number" && least <= value && value <= most
      ? value
      : refuse(place, `an integer from ${least} to ${most}`);

export const real: Check<number> = (value, place) =>
  typeof value === "number" ? value : value instanceof Real ? value.value : refuse(place, "a number");

export const string: Check<string> = (value, place) => (typeof value === "string" ? value : refuse(place, "a string"));

export const boolean: Check<boolean> = (value, place) =>
  typeof value === "boolean" ? value : refuse(place, "true or false");

export const matching =
  (pattern: RegExp, what: string): Check<string> =>
  (value, place) =>
    typeof value === "string" && pattern.test(value) ? value : refuse(place, what);

export const digest = matching(/^[0-9a-f]{64}$/, "a digest");

export const oneOf =
  <T extends string | number>(...allowed: readonly T[]): Check<T> =>
  (value, place) =>
    allowed.includes(value as T) ? (value as T) : refuse(place, `one of ${allowed.join(", ")}`);

export const array =
  <T>(item: Check<T>, least = 0, most = Infinity): Check<T[]> =>
  (value, place) =>
    Array.isArray(value) && least <= value.length && value.length <= most
      ? value.map((each, i) => item(each, `${place}[${i}]`))
      : refuse(place, `an array of ${least} to ${most}`);

/** An object with free names. */
export const mapping =
  <T>(item: Check<T>, name: Check<string> = string): Check<Map<string, T>> =>
  (value, place) => {
    if (!(value instanceof Map)) return refuse(place, "an object");
    const found = new Map<string, T>();
    for (const [key, each] of value) found.set(name(key, `a name in ${place}`), item(each, `${place}.${key}`));
    return found;
  };

/** An object of which these members are described; others are ignored. */
export const object =
  <T extends object>(members: { [K in keyof T]: Check<T[K]> }): Check<T> =>
  (value, place) => {
    if (!(value instanceof Map)) return refuse(place, "an object");
    const found = {} as T;
    for (const name of Object.keys(members) as (keyof T & string)[]) {
      found[name] = members[name](value.get(name), place ? `${place}.${name}` : name);
    }
    return found;
  };

/** A member that may be missing. */
export const optional =
  <T, U>(check: Check<T>, missing: U): Check<T | U> =>
  (value, place) =>
    value === undefined ? missing : check(value, place);

export const nullable =
  <T>(check: Check<T>): Check<T | null> =>
  (value, place) =>
    value === null ? null : check(value, place);

/** The attributes of a group document. */
export function group<T>(document: Json, check: Check<T>): T {
  const { attributes } = object({
    attributes: object({ tvbank: anything }),
    node_type: oneOf("group"),
    zarr_format: oneOf(3),
  })(document, "");
  return check(attributes.tvbank, "");
}
