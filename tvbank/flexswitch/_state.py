"""What learning has come to, on the disk, so that a killed run goes on where it was."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from tvbank._atomic import replace_file
from tvbank.errors import StorageError, UsageError

#: Of Adam.
_DECAY_1, _DECAY_2, _EPSILON = 0.9, 0.999, 1e-8


@final
@dataclass
class State:
    """Scalars and moments of Adam of every unit; a few kilobytes, whatever the model.

    Attributes:
        rows: the scalars, float64 [units, scalars].
        first: first moments, of the same shape.
        second: second moments, of the same shape.
        reached: which units the loss has had a gradient in, bool [units].
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
        """Write a checkpoint that takes the place of an earlier one, whole or not at all.

        Args:
            path: of the file.
            run: what the run is of; only a run of the same goes on from it.

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
        """Read a checkpoint.

        Raises:
            UsageError: it is of another run, or no checkpoint.
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
                f"{path} is no checkpoint of FlexSwitch, or is damaged: remove it, or name "
                "another file"
            ) from error
        if not same:
            raise UsageError(
                f"{path} is the checkpoint of another run (other weights, inputs or settings): "
                "remove it, or name another file"
            )
        return state


def _cannot_write(path: Path, error: OSError | ValueError) -> Exception:
    why = getattr(error, "strerror", None) or error
    return StorageError(f"cannot write the checkpoint {path}: {why}")


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
