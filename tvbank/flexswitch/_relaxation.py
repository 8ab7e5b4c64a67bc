"""What each half provides: a few learned scalars a unit, and the weights and size they give."""

from __future__ import annotations

import io
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from tvbank._atomic import replace_file
from tvbank.compress import Compressor
from tvbank.errors import StorageError, UsageError

#: The loss on all examples under some weights, by name of the unit.
Distance = Callable[[dict[str, torch.Tensor]], float]

#: Of Adam.
_DECAY_1, _DECAY_2, _EPSILON = 0.9, 0.999, 1e-8


@final
@dataclass(frozen=True)
class Estimate:
    """What would be stored if learning ended now.

    Attributes:
        density: share of entries that are kept.
        bits: mean bits of a kept entry.
        bytes: of the task in the bank.
    """

    density: float
    bits: float
    bytes: int


class Relaxation(ABC):
    """A way to compress units whose choices are relaxed to scalars that gradients can move.

    A step calls ``weights`` once, ``add_gradient`` once for every unit that the loss depends on,
    and then ``step``.

    Attributes:
        state: the scalars, and where the optimiser is.
    """

    state: State

    @abstractmethod
    def weights(self) -> dict[str, torch.Tensor]:
        """The model's weights at this step, by name of the unit."""

    @abstractmethod
    def add_gradient(self, number: int, gradient: torch.Tensor) -> None:
        """Add what the loss says of a unit's scalars.

        Args:
            number: of the unit.
            gradient: of the loss in the unit's weights.
        """

    @abstractmethod
    def step(self) -> None:
        """Move the scalars against the gradient of the objective, and start a new gradient.

        Raises:
            UsageError: the gradient is not finite; names the unit.
        """

    @abstractmethod
    def estimate(self) -> Estimate:
        """What would be stored now."""

    @abstractmethod
    def finish(self, distance: Distance) -> Compressor:
        """The compressor that applies what was learned.

        Args:
            distance: compares outcomes, where several were drawn at random.
        """


@final
@dataclass
class State:
    """The scalars of every unit and Adam's moments; a few kilobytes, whatever the model.

    Attributes:
        rows: the scalars, float64 [units, scalars].
        first: first moments, of the same shape.
        second: second moments, of the same shape.
        reached: units that a gradient of the loss has arrived in, bool [units].
        step: steps done.
    """

    rows: NDArray[np.float64]
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    reached: NDArray[np.bool_]
    step: int = 0

    @staticmethod
    def start(rows: NDArray[np.float64]) -> State:
        """The state before the first step."""
        return State(rows, np.zeros_like(rows), np.zeros_like(rows), np.zeros(len(rows), bool))

    def move(self, gradient: NDArray[np.float64], rates: NDArray[np.float64]) -> None:
        """One step of Adam.

        Args:
            gradient: of the objective, [units, scalars].
            rates: of each scalar, [scalars].
        """
        self.step += 1
        self.first += (1 - _DECAY_1) * (gradient - self.first)
        self.second += (1 - _DECAY_2) * (gradient**2 - self.second)
        mean = self.first / (1 - _DECAY_1**self.step)
        square = self.second / (1 - _DECAY_2**self.step)
        self.rows -= rates * mean / (np.sqrt(square) + _EPSILON)

    def save(self, path: Path, run: str) -> None:
        """Write the resume file; a crash leaves the earlier one or the new one.

        Args:
            path: of the file.
            run: digest of what is learned from; only the same run goes on from the file.

        Raises:
            StorageError: the disk refused.
        """
        content = io.BytesIO()
        np.savez(
            content, run=np.array(run), rows=self.rows, first=self.first, second=self.second,
            reached=self.reached, step=np.array(self.step),
        )  # fmt: skip
        replace_file(path, content.getvalue(), _cannot_write)

    @staticmethod
    def load(path: Path, run: str) -> State:
        """Read a resume file.

        Raises:
            UsageError: it is of another run, or no resume file.
        """
        try:
            with np.load(path, allow_pickle=False) as saved:
                same = str(saved["run"]) == run
                state = State(
                    saved["rows"], saved["first"], saved["second"], saved["reached"],
                    int(saved["step"]),
                )  # fmt: skip
        except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError,
                zipfile.BadZipFile) as error:  # fmt: skip
            raise UsageError(
                f"{path} is no resume file of FlexSwitch, or is damaged: remove it, or name "
                "another file"
            ) from error
        if not same:
            raise UsageError(
                f"{path} is the resume file of another run (other weights, inputs or settings): "
                "remove it, or name another file"
            )
        return state


def _cannot_write(path: Path, error: OSError | ValueError) -> Exception:
    why = getattr(error, "strerror", None) or error
    return StorageError(f"cannot write the resume file {path}: {why}")


def check_finite(gradient: NDArray[np.float64], names: Sequence[str], step: int) -> None:
    """Refuse a gradient [units, scalars] that is not finite.

    Raises:
        UsageError: names the unit.
    """
    finite = np.isfinite(gradient).all(1)
    if not finite.all():
        raise UsageError(
            f"the loss has no finite gradient in unit {names[int(np.argmin(finite))]!r} at step "
            f"{step + 1}: check the forward function, or choose another loss"
        )
