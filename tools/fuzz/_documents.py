"""JSON documents for fuzzing: seeds from the vectors, and mutations that keep them JSON."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from typing import Any, Final

from spec.reference.json_text import MAX_NESTING, _nesting
from tools.fuzz._agreement import Outcome
from tools.fuzz._frames import VECTORS
from tools.fuzz._mutate import mutate_bytes

#: Longest document among the seeds; one vector has 257 MiB when unpacked.
MOST_BYTES: Final = 8192

_VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, 1, -1, 1.0, 0.5, 2**24, 2**24 + 1, 2**48, 2**48 + 1, 2**53, 2**53 + 1,
    2**63, 2**64, 10**400, 1e308, "", "a", "\0", "\x1b[0m", "é", "..", "../x", "x/../../y", "nul",
    "zarr.json", "float32", "bfloat16", "int64", "0" * 64, [], {}, [0], [None], [[]], {"name": "x"},
)  # fmt: skip
#: Text that stands for itself: what a JSON writer would not write.
_RAW: Final = (
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1E5", b"-0", b"0.0", b"00", b"1.",
    b'"\\ud800"', b'"\\u0000"', b'"\\udc00\\ud800"', b"[" * 70 + b"]" * 70, b"\xff",
    b"\xef\xbb\xbf",    b"'", b"/**/", b"9" * 5000, b"0." + b"3" * 5000,
)  # fmt: skip
_MARK: Final = "\x00here\x00"


def seeds(name: Callable[[str], bool]) -> Iterator[bytes]:
    """The documents of the vectors' banks whose key below the bank passes."""
    for bank in sorted((VECTORS / "banks").glob("*/*")):
        for path in sorted(bank.rglob("zarr.json")) if bank.is_dir() else ():
            if name(path.relative_to(bank).as_posix()) and path.stat().st_size <= MOST_BYTES:
                yield path.read_bytes()


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Change a value, a name or the shape of a document; sometimes any bytes."""
    dice = random.Random(seed)
    if dice.random() >= 0.25:
        try:
            return _mutate_json(data, dice)[:max_size]
        except (ValueError, RecursionError):  # no JSON, or too deep for Python's own
            pass
    return mutate_bytes(data or b"{", max_size)


def _mutate_json(data: bytes, dice: random.Random) -> bytes:
    document = json.loads(data)
    raw = None
    for _ in range(dice.choice((1, 1, 2, 3))):
        places = list(_places(document))
        if not places:
            break
        holder, at = dice.choice(places)
        raw = _change(holder, at, dice) or raw
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=dice.random() < 0.5)
    encoded = text.encode("utf-8", "surrogatepass")
    return encoded if raw is None else encoded.replace(json.dumps(_MARK).encode(), raw)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every holder and key of a value."""
    keys: Any = ()
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        keys = range(len(value))
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _change(holder: Any, at: Any, dice: random.Random) -> bytes | None:
    """Change one value; returns the raw text that is to stand for a mark, if it was put there."""
    kind = dice.randrange(7)
    value = holder[at]
    if kind == 0:
        del holder[at]
    elif kind == 1:
        holder[at] = dice.choice(_VALUES)
    elif kind == 2 and isinstance(value, int) and not isinstance(value, bool):
        holder[at] = value + dice.choice((-1, 1, 8, -8, value, 2**32))
    elif kind == 2 and isinstance(value, str) and value:
        place = dice.randrange(len(value))
        holder[at] = (
            value[:place] + dice.choice(("", "0", "\n", "/", ".", "A")) + value[place + 1 :]
        )
    elif kind == 3 and isinstance(holder, dict):
        other = dice.choice(("", at + "x", "tvbank", "name", "..", "\0", at.upper()))
        holder[other] = holder.pop(at)
    elif kind == 4 and isinstance(holder, list):
        holder.insert(at, value)
    elif kind == 5:
        others = list(_places(holder))
        there, key = dice.choice(others)
        holder[at] = json.loads(json.dumps(there[key]))
    else:
        holder[at] = _MARK
        return dice.choice(_RAW)
    return None


def one_meaning(data: bytes) -> bool:
    """Whether the format says whether a document's JSON is to be read, and as what.

    Not if a member stands there twice, or beyond the depth that a reader must read, or if a number
    is too large, which may be in a member that is not looked at.
    """
    doubled = False
    finite = True

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal doubled
        doubled |= len(dict(pairs)) != len(pairs)
        return dict(pairs)

    def real(digits: str) -> float:
        nonlocal finite
        finite &= math.isfinite(float(digits))
        return float(digits)

    try:
        text = data.decode()
        json.loads(text, object_pairs_hook=members, parse_float=real)
    except RecursionError:
        return False
    except ValueError as error:
        return "digits" not in str(error)
    return finite and not doubled and _nesting(text) <= MAX_NESTING


def agree(data: bytes, fast: Outcome, slow: Outcome, *, same_reason: bool) -> bool:
    """Check that two readers' verdicts are alike; returns whether both have read it."""
    if one_meaning(data):
        assert (fast.reason is None) == (slow.reason is None), (fast, slow)
        if same_reason:
            assert fast.reason == slow.reason, (fast, slow)
    return fast.reason is None and slow.reason is None
