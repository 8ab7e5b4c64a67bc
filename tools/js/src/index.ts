/** Reads tvbank banks. The map of this folder is in ../README.md. */
export { Bank, type StoredFrame } from "./bank.js";
export { type Catalog, FEATURES, type Parent, type RouterEntry, type Stored, type TaskEntry } from "./catalog.js";
export { Fault } from "./fault.js";
export { decodeFrame, denseOf, exponentBytes, type Frame, type Header, isGivenBase, readHeader } from "./frame.js";
export { HttpStore, openUrl, ServerError } from "./http.js";
export type { Dtype, Layout, Tensor, Unit, Whole } from "./layout.js";
export type { Product } from "./products.js";
export type { Revision } from "./revision.js";
export type { Router } from "./routers.js";
export { MemoryStore, type Store } from "./store.js";
export { type Found, verify } from "./verify.js";
export { applyEntries, type Entries } from "./weights.js";
export { type File, openZip } from "./zip.js";
