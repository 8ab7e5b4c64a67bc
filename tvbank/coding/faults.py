"""How a frame can be wrong: the reason codes of the spec, in the order of the checks."""

from __future__ import annotations

from typing import Final

from tvbank.errors import BaseNeededError, FrameError

#: Every ``FrameError.reason``. Faults of the mask section come before those of the value section.
REASONS = (
    "frame-truncated",
    "frame-version",
    "element-type",
    "mask-encoding",
    "value-encoding",
    "count",
    "entries-mismatch",
    "mask-parameter",
    "value-parameter",
    "mask-section",
    "frame-trailing",
    "padding",
    "non-canonical",
    "position",
    "code",
    "table",
    "magnitude",
    "value",
    "zero-value",
)


#: What decoders return: 0, or the place of a reason in ``REASONS``, counted from 1.
(
    VALID, FRAME_TRUNCATED, FRAME_VERSION, ELEMENT_TYPE, MASK_ENCODING, VALUE_ENCODING, COUNT,
    ENTRIES_MISMATCH, MASK_PARAMETER, VALUE_PARAMETER, MASK_SECTION, FRAME_TRAILING, PADDING,
    NON_CANONICAL, POSITION, CODE, TABLE, MAGNITUDE, VALUE, ZERO_VALUE,
) = range(len(REASONS) + 1)  # fmt: skip

#: What decoders return of a frame that is to be given the base, where no base is at hand.
NEEDS_BASE: Final = -2

#: What the zarr codec, which is handed a frame and no base, says of a frame that needs the base.
NO_BASE: Final = (
    "the codec tvbank.sass cannot decode this chunk: its task was stored given the base, and needs "
    "the base's weights beside it. Read it with tvbank, bank[task].to_dense(base=...), or store it "
    "with Exact(standalone=True)"
)

_SENTENCES: Final = (
    "the frame ends before its header, its mask section or its value section does",
    "its version is not 1 or 2, those that this tvbank reads, or not that of its encodings",
    "its element type is not known",
    "its mask encoding is not known",
    "its value encoding is not known, or not for its elements or its mask",
    "its numbers of entries and of non-zeros and its extent contradict each other",
    "it has another number of entries than belong there",
    "the mask encoding does not allow a parameter",
    "the value encoding does not allow its parameter",
    "the mask section has not the size that its encoding needs",
    "there are bytes after the value section",
    "unused bits of the last byte of a section are not zero",
    "a section escapes a number that needs no escape, or its states do not end at their start",
    "the mask section does not hold the positions that the header states",
    "a code lies beyond the table of values",
    "the table of values does not ascend from 1",
    "the magnitude is not within 1 .. 0x7fffffff",
    "a value is not one that its encoding allows",
    "there is a value of zero among the non-zeros",
)


def fault(code: int, detail: str | None = None) -> FrameError:
    """The error for one violation.

    Args:
        code: what a decoder returned, from 1.
        detail: what exactly is wrong, as the end of a sentence; else a sentence about the reason.
    """
    reason = REASONS[code - 1]
    return FrameError(reason, f"invalid frame ({reason}): {detail or _SENTENCES[code - 1]}")


def raise_fault(code: int) -> None:
    """Raise the error for what a decoder returned, if it is no 0.

    Raises:
        FrameError: the code is a fault's.
        BaseNeededError: the frame is to be given the base.
        MemoryError: the decoder did not come to its end.
        BaseException: what stopped it: an interrupt, above all.
    """
    if code == NEEDS_BASE:
        raise BaseNeededError(
            "this frame can be decoded only beside the base's weights of its chunk: pass base="
        )
    if code < 0:
        raise_stopped()
        raise MemoryError("there is not enough memory to decode a frame")
    if code:
        raise fault(code)


#: Exceptions raised in Python that compiled code called, kept until ``raise_stopped`` raises one.
_stopped: list[BaseException] = []


def note_stopped(error: BaseException) -> None:
    """Keep the exception that stopped a decoder; ``raise_stopped`` raises it after the loop."""
    _stopped.append(error)


def raise_stopped() -> None:
    """Raise the exception that stopped a decoder since the last call, if there is one."""
    if _stopped:
        error = _stopped[0]
        _stopped.clear()
        raise error
