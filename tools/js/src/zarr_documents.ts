/** Documents of fixed bytes, which zarr tools read (spec/container.md, Zarr documents). */
import type { Layout, Tensor } from "./layout.js";
import { chunkShape } from "./extras.js";

export const MARKER = '{"attributes":{},"node_type":"group","zarr_format":3}';

const document = (chunk: number[], codecs: string, type: string, fill: string, shape: number[]) =>
  `{"attributes":{},"chunk_grid":{"name":"regular","configuration":{"chunk_shape":[${chunk}]}},` +
  `"chunk_key_encoding":{"name":"default","configuration":{"separator":"/"}},"codecs":[${codecs}],` +
  `"data_type":"${type}","fill_value":${fill},"node_type":"array","shape":[${shape}],"zarr_format":3}`;

export function deltaDocument(layout: Layout, element: string): string {
  const codecs =
    `{"name":"sharding_indexed","configuration":{"chunk_shape":[${layout.chunkLength}],` +
    `"codecs":[{"name":"tvbank.sass","configuration":{}},{"name":"crc32c"}],` +
    `"index_codecs":[{"name":"bytes","configuration":{"endian":"little"}},{"name":"crc32c"}],` +
    `"index_location":"end"}}`;
  return document([layout.shardLength], codecs, element, element === "int32" ? "0" : "0.0", [layout.length]);
}

export const productsDocument = (bytes: number): string => document([bytes], '{"name":"bytes"}', "uint8", "0", [bytes]);

export function extraDocument(extra: Tensor): string {
  const type = { bfloat16: "uint16", float8_e4m3fn: "uint8", float8_e5m2: "uint8" }[extra.dtype as string] ?? extra.dtype;
  const narrow = ["bool", "int8", "uint8"].includes(type);
  const bytes = narrow ? '{"name":"bytes"}' : '{"name":"bytes","configuration":{"endian":"little"}}';
  const fill =
    type === "bool" ? "false" : type === "complex64" ? "[0.0,0.0]" : type.startsWith("float") ? "0.0" : "0";
  const codecs = `${bytes},{"name":"zstd","configuration":{"level":3,"checksum":true}}`;
  return document(chunkShape(extra), codecs, type, fill, extra.shape);
}
