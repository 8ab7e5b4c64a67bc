"""What an artefact is: a file or folder that says how a fine-tune differs from its base.

Each of its tensors is a *delta*, which is added to the base's, or a *replacement*, which stands
instead of it. The two never mix: a replacement is no sum.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from tvbank.artefacts._given import Given
from tvbank.checkpoint import Checkpoint, TensorSpec
from tvbank.errors import CheckpointError, UnitMismatchError

Role: TypeAlias = Literal["delta", "replacement", "other"]


@final
@dataclass(frozen=True)
class Stored:
    """One tensor of an artefact, as its file holds it.

    Attributes:
        name: of the base's tensor that it changes, as far as the file tells.
        dtype: element type of what is stored, as the file calls it.
        shape: of what is stored.
        nbytes: stored bytes.
        role: what it does with the base's tensor.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    role: Role


@final
@dataclass(frozen=True)
class Delta:
    """New weights of a tensor that are made from the base's.

    Attributes:
        make: the base's weights -> the fine-tune's, of the same shape and element type.
    """

    make: Callable[[NDArray[Any]], NDArray[Any]]


@final
@dataclass(frozen=True)
class Replacement:
    """A tensor that stands instead of the base's, or that the base has not.

    Attributes:
        spec: its name, element type and shape.
        read: its weights.
    """

    spec: TensorSpec
    read: Callable[[], NDArray[Any]]


Change: TypeAlias = Delta | Replacement


class Artefact(ABC):
    """A recognised artefact. Nothing but what recognising needs has been read of it.

    Attributes:
        kind: its format in one word.
        title: its format as sentences name it.
        takes: what can be given beside it, and what that is; see ``Given``.
        source: where it lies.
        files: all of its files.
    """

    kind: ClassVar[str]
    title: ClassVar[str]
    takes: ClassVar[Mapping[str, str]] = {}
    source: str
    files: Sequence[Path]

    @abstractmethod
    def stored(self) -> Sequence[Stored]:
        """Its tensors."""

    @abstractmethod
    def changes(self, base: Checkpoint, given: Given) -> Mapping[str, Change]:
        """What it changes of a base, by the name of the base's tensor.

        Sizes are compared with the base's before anything is decoded.

        Raises:
            CheckpointError: it is damaged, or contradicts itself.
            UnitMismatchError: it does not fit the base; names tensors.
            BaseMismatchError: it says that it was made for another base.
            UsageError: something must be given that is not; or is given and of no use.
        """

    @property
    def refusal(self) -> str:
        """Why it cannot be added to any base, and what to do; empty if it can."""
        return ""

    def needs(self) -> Mapping[str, str]:
        """What must be given so that it can be added: those of ``takes`` that it lacks."""
        return {}

    def notes(self) -> Mapping[str, Any]:
        """What else it says of itself: its base, version, method."""
        return {}


def base_shape(source: str, base: Checkpoint, name: str) -> tuple[int, ...]:
    """The shape of the base's tensor that an artefact changes.

    Raises:
        UnitMismatchError: the base has none of that name.
    """
    spec = base.tensors.get(base.tied.get(name, name))
    if spec is None:
        raise UnitMismatchError(
            f"{source} changes tensor {name!r}, which the base ({base.source}) has not: it was "
            "made for another model; give the base that it was made for"
        )
    return spec.shape


def check_size(source: str, name: str, what: str, found: object, expected: object) -> None:
    """Compare a size that an artefact states with the one that the base demands.

    Raises:
        CheckpointError: they differ.
    """
    if found != expected:
        raise CheckpointError(
            f"{source}: the {what} of tensor {name!r} is {found}, where the base's demands "
            f"{expected}; it is damaged, or was made for another base"
        )


def add_in_float32(base: NDArray[Any], delta: NDArray[np.float32]) -> NDArray[Any]:
    """``base + delta``, summed in float32 and rounded once to the base's element type."""
    with np.errstate(over="ignore", invalid="ignore"):
        return (base.astype(np.float32) + delta).astype(base.dtype)


def add_in_own_type(base: NDArray[Any], delta: NDArray[np.float32]) -> NDArray[Any]:
    """``base + delta``, the delta rounded to the base's element type first, the sum to it again."""
    with np.errstate(over="ignore", invalid="ignore"):
        total: NDArray[Any] = base + delta.astype(base.dtype)
    return total


def cast(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array in another element type, rounded to the nearest, ties to even."""
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(dtype)
