/** Why bytes are refused: the codes of spec/frame.md and spec/container.md, and `base`. */
export class Fault extends Error {
  override readonly name = "Fault";

  /** @param reason a reason code of the spec; `base` if what is lacking or wrong is the caller's base */
  constructor(
    readonly reason: string,
    message: string,
  ) {
    super(`${reason}: ${message}`);
  }
}
