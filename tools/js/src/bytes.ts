/** Small things about bytes. */
export const hexOf = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let c = byte;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  return c;
});

/** CRC-32C; that of the nine ASCII bytes `123456789` is 0xe3069283. */
export function crc32c(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) c = TABLE[(c ^ bytes[i]!) & 255]! ^ (c >>> 8);
  return ~c >>> 0;
}

/** Whether bytes end with the CRC-32C of what is before; of fewer than 4 it is not so. */
export function endsWithChecksum(bytes: Uint8Array): boolean {
  const split = bytes.length - 4;
  if (split < 0) return false;
  return new DataView(bytes.buffer, bytes.byteOffset + split).getUint32(0, true) === crc32c(bytes.subarray(0, split));
}
