"""SASS, sparsity-aware storage: the smallest of all encodings by exact byte count.

Generalises [F] Eq. 16–17, which always stores grouped coordinates and guesses the group size.
Mask and value section are chosen independently. Ties go to the lower id, which is the faster
decoder, then to the lower parameter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tvbank.coding.encoding import Encoding, Facts
from tvbank.coding.header import HEADER_BYTES
from tvbank.errors import UsageError


@dataclass(frozen=True)
class FrameSizes:
    """Exact section lengths of one chunk in every encoding at its best parameter.

    Attributes:
        masks: bytes by name of the mask encoding; None where it cannot hold the chunk.
        values: bytes by name of the value encoding; None where it cannot hold the chunk.
    """

    masks: dict[str, int | None]
    values: dict[str, int | None]

    @property
    def frame(self) -> int:
        """Bytes of the smallest frame, header included: the length of ``encode_frame``'s result."""
        sections = (self.masks.values(), self.values.values())
        return HEADER_BYTES + sum(min(s for s in each if s is not None) for each in sections)


def section_sizes(encodings: Sequence[Encoding[Facts]], facts: Facts) -> dict[str, int | None]:
    """Exact bytes of a section in each encoding at its best parameter; None where it cannot."""
    parameters = {each: each.best_parameter(facts) for each in encodings}
    return {
        each.name: None if parameter is None else each.section_bytes(facts, parameter)
        for each, parameter in parameters.items()
    }


def choose(
    encodings: Sequence[Encoding[Facts]], facts: Facts, slack: float
) -> tuple[Encoding[Facts], int]:
    """Choose the encoding of one section.

    Args:
        encodings: all of them, by id.
        facts: the chunk's mask or values; at least one encoding can hold them.
        slack: the share of additional bytes at which an encoding of a lower id, which decodes
            faster, is still taken; 0 takes the smallest.

    Returns:
        The first encoding within (1 + slack) times the smallest size, and its best parameter.

    Raises:
        UsageError: if ``slack`` is negative or not finite.
    """
    if not (math.isfinite(slack) and slack >= 0):
        raise UsageError(f"slack must be a finite number of at least 0, not {slack}")
    fitting: list[tuple[Encoding[Facts], int, int]] = []
    smallest: float = math.inf
    for each in encodings:
        if each.least_bytes < smallest and (parameter := each.best_parameter(facts)) is not None:
            size = each.section_bytes(facts, parameter)
            fitting.append((each, parameter, size))
            smallest = min(smallest, size)
    most = (1 + slack) * smallest
    return next((each, parameter) for each, parameter, size in fitting if size <= most)


def force(
    encodings: Sequence[Encoding[Facts]], facts: Facts, name: str
) -> tuple[Encoding[Facts], int]:
    """Take one encoding whatever its size, with its best parameter.

    Raises:
        UsageError: if there is none of that name, or if it cannot hold the chunk.
    """
    by_name = {each.name: each for each in encodings}
    if name not in by_name:
        raise UsageError(f"no encoding is called '{name}'; there are {', '.join(by_name)}")
    parameter = by_name[name].best_parameter(facts)
    if parameter is None:
        able = [each.name for each in encodings if each.best_parameter(facts) is not None]
        raise UsageError(
            f"the encoding '{name}' cannot hold this chunk exactly; {', '.join(able)} can"
        )
    return by_name[name], parameter
