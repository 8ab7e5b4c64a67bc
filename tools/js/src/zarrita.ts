/**
 * The codec `tvbank.sass` for zarrita, which then reads a task as any other array:
 *
 *     import { registry } from "zarrita";
 *     import { SassCodec } from "tvbank/zarrita";
 *     registry.set("tvbank.sass", async () => SassCodec);
 */
import { decodeFrame, denseOf } from "./frame.js";

interface ChunkMeta {
  dataType: string;
  shape: number[];
}

interface SassChunk {
  data: Float32Array | Int32Array;
  shape: number[];
  stride: number[];
}

export class SassCodec {
  readonly kind = "array_to_bytes";

  private constructor(private readonly meta: ChunkMeta) {}

  static fromConfig(_configuration: unknown, meta: ChunkMeta): SassCodec {
    if (meta.shape.length !== 1 || !["float32", "int32"].includes(meta.dataType)) {
      throw new TypeError(`tvbank.sass codes chunks of one side of float32 or int32, not ${meta.dataType}[${meta.shape}]`);
    }
    return new SassCodec(meta);
  }

  encode(): never {
    throw new Error("this codec reads only; banks are written by tvbank in Python");
  }

  decode(bytes: Uint8Array): SassChunk {
    const frame = decodeFrame(bytes, this.meta.shape[0]);
    if (frame.element !== this.meta.dataType) throw new TypeError(`a frame of ${frame.element} in an array of ${this.meta.dataType}`);
    return { data: denseOf(frame), shape: this.meta.shape, stride: [1] };
  }
}
