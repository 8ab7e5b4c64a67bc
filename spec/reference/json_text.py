"""JSON as the format allows it, and typed access to its members (container.md, "Documents")."""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate
from typing import Any, NoReturn

from .invalid import Invalid, require

MAX_BYTES = 2**28
MAX_NESTING = 64
MAX_INTEGER = 2**53

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


class Object:
    """A JSON object being read; a member of the wrong kind is ``document-syntax``."""

    def __init__(self, value: Any, where: str) -> None:
        self.value = value
        self.where = where
        require(isinstance(value, dict), "document-syntax", f"{where} is no object")

    def __getitem__(self, name: str) -> Any:
        if name not in self.value:
            raise Invalid("document-syntax", f"{self.where} has no member {name!r}")
        return self.value[name]

    def object(self, name: str) -> Object:
        """A member that is an object."""
        return Object(self[name], f"{self.where}.{name}")

    def integer(self, name: str, low: int = 0, high: int = MAX_INTEGER) -> int:
        """A member that is an integer in a range."""
        return checked_integer(self[name], low, high, f"{self.where}.{name}")

    def number(self, name: str) -> float:
        """A member that is a number."""
        value = self[name]
        fits = type(value) in (int, float)
        require(fits, "document-syntax", f"{self.where}.{name} is no number")
        try:
            return float(value)
        except OverflowError as error:
            raise Invalid("document-syntax", f"{self.where}.{name} is too large") from error

    def text(self, name: str, pattern: str = ".*") -> str:
        """A member that is a string which matches a pattern as a whole."""
        return checked_text(self[name], f"{self.where}.{name}", pattern)

    def digest(self, name: str) -> str:
        """A member that is a SHA-256 in lower-case hexadecimal."""
        return self.text(name, "[0-9a-f]{64}")

    def array(self, name: str, limit: int | None = None) -> list[Any]:
        """A member that is an array."""
        value = self[name]
        fits = isinstance(value, list) and (limit is None or len(value) <= limit)
        require(fits, "document-syntax", f"{self.where}.{name} is no array, or too long a one")
        return list(value)


def checked_integer(value: Any, low: int, high: int, where: str) -> int:
    """An integer in a range; neither ``true`` nor ``1.0`` is one."""
    fits = type(value) is int and low <= value <= high
    require(fits, "document-syntax", f"{where} is no integer in {low}..{high}")
    return int(value)


def checked_text(value: Any, where: str, pattern: str = ".*") -> str:
    """A string that matches a pattern as a whole."""
    fits = isinstance(value, str) and re.fullmatch(pattern, value, re.DOTALL) is not None
    require(fits, "document-syntax", f"{where} is no string /{pattern}/")
    return str(value)


def parse(data: bytes, key: str) -> Object:
    """Parse a document.

    Raises:
        Invalid: ``limit`` if it is too large, ``document-syntax`` if it is no JSON object or
            nested too deeply.
    """
    require(len(data) <= MAX_BYTES, "limit", f"{key} has {len(data)} bytes")
    try:
        text = data.decode()
        require(_nesting(text) <= MAX_NESTING, "document-syntax", f"{key} is nested too deeply")
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        json.dumps(value, ensure_ascii=False).encode()  # refuses escaped lone surrogates
    except Invalid:
        raise
    except (ValueError, RecursionError) as error:
        raise Invalid("document-syntax", f"{key} is no JSON: {error}") from error
    return Object(value, key)


def group_attributes(data: bytes, key: str) -> Object:
    """The ``tvbank`` attributes of a document that is a zarr group."""
    document = parse(data, key)
    document.integer("zarr_format", 3, 3)
    document.text("node_type", "group")
    return document.object("attributes").object("tvbank")


def _nesting(text: str) -> int:
    brackets = re.sub(r"[^][{}]", "", _STRING.sub("", text))
    return max(accumulate(1 if bracket in "[{" else -1 for bracket in brackets), default=0)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits} is beyond a 64-bit float")
    return number
