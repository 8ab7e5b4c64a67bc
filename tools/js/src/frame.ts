/** The bytes of one chunk (spec/frame.md). */
import { Fault } from "./fault.js";
import { decodeMask, maskBytes, maskParameterAllowed, type Mask, MASKS } from "./masks.js";
import { decodeValues, type Element, type Value, valueAllowed, valueParameterAllowed, VALUES } from "./values.js";

export const HEADER = 24;
const MOST_ENTRIES = 2 ** 24;

export interface Header {
  version: number;
  element: Element;
  mask: Mask;
  value: Value;
  maskParameter: number;
  valueParameter: number;
  entries: number;
  /** Position of the last non-zero, plus 1; or 0. */
  extent: number;
  nonzeros: number;
  maskBytes: number;
}

export interface Frame {
  element: Element;
  entries: number;
  /** Strictly ascending, below `entries`. */
  positions: Uint32Array;
  /** The 32 bits of each non-zero. */
  patterns: Uint32Array;
}

/**
 * The header, checked, with what can be told of the sections without decoding them: lines 1 to 11 of the table of faults.
 *
 * @param entries the length that the caller expects
 */
export function readHeader(data: Uint8Array, entries?: number): Header {
  if (data.length < HEADER) throw new Fault("frame-truncated", `${data.length} bytes`);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const version = data[0]!;
  const header: Header = {
    version,
    element: data[1] === 0 ? "float32" : "int32",
    mask: MASKS[data[2]!]!,
    value: VALUES[data[3]!]!,
    maskParameter: view.getUint16(4, true),
    valueParameter: view.getUint16(6, true),
    entries: view.getUint32(8, true),
    extent: view.getUint32(12, true),
    nonzeros: view.getUint32(16, true),
    maskBytes: view.getUint32(20, true),
  };
  const { element, mask, value, extent, nonzeros } = header;
  if (version < 1 || version > 2) throw new Fault("frame-version", `version ${version}`);
  if (version === 2 && data[2]! <= 8 && data[3]! <= 7) {
    throw new Fault("frame-version", "both encodings are of version 1, so is the frame");
  }
  if (data[1]! > 1) throw new Fault("element-type", `element type ${data[1]}`);
  if (data[2]! > (version === 2 ? 9 : 8)) throw new Fault("mask-encoding", `mask encoding ${data[2]}`);
  if (mask === "base-blocks" && element === "float32") throw new Fault("mask-encoding", `${mask} of ${element}`);
  if (data[3]! > (version === 2 ? 9 : 7)) throw new Fault("value-encoding", `value encoding ${data[3]}`);
  if (!valueAllowed(value, element)) throw new Fault("value-encoding", `${value} of ${element}`);
  if ((value === "none") !== (mask === "empty")) throw new Fault("value-encoding", `${value} with ${mask}`);
  if (header.entries < 1 || header.entries > MOST_ENTRIES) throw new Fault("count", `${header.entries} entries`);
  if (extent > header.entries || nonzeros > extent) throw new Fault("count", `${nonzeros} of ${extent} entries`);
  const empty = mask === "empty";
  if ((nonzeros === 0) !== empty || (extent === 0) !== empty) throw new Fault("count", `${nonzeros} in ${mask}`);
  if (mask === "full" && nonzeros !== extent) throw new Fault("count", `${nonzeros} of ${extent} entries in full`);
  if (entries !== undefined && header.entries !== entries) {
    throw new Fault("entries-mismatch", `${header.entries} entries where there must be ${entries}`);
  }
  if (!maskParameterAllowed(mask, header.maskParameter, extent)) {
    throw new Fault("mask-parameter", `${header.maskParameter} of ${mask}`);
  }
  if (!valueParameterAllowed(value, header.valueParameter)) {
    throw new Fault("value-parameter", `${header.valueParameter} of ${value}`);
  }
  const bytes = maskBytes(mask, header.maskParameter, extent, nonzeros);
  if (bytes !== undefined && bytes !== header.maskBytes) {
    throw new Fault("mask-section", `${header.maskBytes} bytes where there must be ${bytes}`);
  }
  if (HEADER + header.maskBytes > data.length) throw new Fault("frame-truncated", "the mask section is cut short");
  return header;
}

/** Whether a frame cannot be decoded without the base. */
export const isGivenBase = (header: Header): boolean =>
  header.mask === "base-blocks" || header.value === "base-magnitudes";

/**
 * What a frame holds. A frame given the base is refused with the reason `base` where there is none.
 *
 * @param entries the length that the caller expects; up to 2^24 without
 * @param exponents of a frame given the base: the exponent byte of each of the base's weights, at least the extent
 */
export function decodeFrame(data: Uint8Array, entries?: number, exponents?: Uint8Array): Frame {
  const header = readHeader(data, entries);
  const { mask, value, element, extent, nonzeros } = header;
  if (isGivenBase(header) && (exponents?.length ?? 0) < extent) {
    throw new Fault("base", `the frame is given the base, of which ${extent} weights are needed`);
  }
  const split = HEADER + header.maskBytes;
  const section = data.subarray(HEADER, split);
  const positions = decodeMask(mask, header.maskParameter, extent, nonzeros, section, exponents);
  const ofPositions = () => Uint8Array.from(positions, (position) => exponents![position]!);
  const rest = data.subarray(split);
  const patterns = decodeValues(value, header.valueParameter, element, nonzeros, rest, ofPositions);
  return { element, entries: header.entries, positions, patterns };
}

/** All entries of a frame: the numbers that a zarr reader sees. */
export function denseOf(frame: Frame): Float32Array | Int32Array {
  const patterns = new Uint32Array(frame.entries);
  frame.positions.forEach((position, i) => (patterns[position] = frame.patterns[i]!));
  return frame.element === "float32" ? new Float32Array(patterns.buffer) : new Int32Array(patterns.buffer);
}

/** The exponent bytes of a base's weights, of which `raw` has the little-endian bytes. */
export function exponentBytes(dtype: string, raw: Uint8Array): Uint8Array {
  const width = dtype === "float32" ? 4 : 2;
  const found = new Uint8Array(raw.length / width);
  for (let i = 0; i < found.length; i++) {
    const upper = raw[i * width + width - 2]! | (raw[i * width + width - 1]! << 8);
    found[i] = upper >>> 7;
  }
  return found;
}
