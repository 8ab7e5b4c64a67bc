"""What learning has come to, on the disk, so that a killed run goes on where it was."""

from __future__ import annotations

import os
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from tvbank.errors import StorageError, UsageError
from tvbank.flexswitch._gates import SCALARS, initial

#: Adam ([F]: rates of the gates and of the bit widths).
GATE_RATE, WIDTH_RATE = 0.05, 0.1
_DECAY_1, _DECAY_2, _EPSILON = 0.9, 0.999, 1e-8


@final
@dataclass
class State:
    """Scalars and moments of Adam of every unit; a few kilobytes, whatever the model.

    Attributes:
        rows: the scalars, float64 [units, 7].
        first: first moments, float64 [units, 7].
        second: second moments, float64 [units, 7].
        factors: measured bytes of each unit's mask over those of a random one, [units].
        reached: which units the loss has had a gradient in, bool [units].
        lam: the weight of the loss; changes only with a budget.
        step: steps done.
    """

    rows: NDArray[np.float64]
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    factors: NDArray[np.float64]
    reached: NDArray[np.bool_]
    lam: float
    step: int = 0
    rates: NDArray[np.float64] = field(
        default_factory=lambda: np.array([GATE_RATE] * 3 + [WIDTH_RATE] * (SCALARS - 3))
    )

    @staticmethod
    def start(units: int, lam: float) -> State:
        """The state before the first step."""
        first, second = np.zeros((units, SCALARS)), np.zeros((units, SCALARS))
        return State(initial(units), first, second, np.ones(units), np.zeros(units, bool), lam)

    def move(self, gradient: NDArray[np.float64]) -> None:
        """One step of Adam: what the gradient of the objective is, [units, 7]."""
        self.step += 1
        self.first += (1 - _DECAY_1) * (gradient - self.first)
        self.second += (1 - _DECAY_2) * (gradient**2 - self.second)
        mean = self.first / (1 - _DECAY_1**self.step)
        square = self.second / (1 - _DECAY_2**self.step)
        self.rows -= self.rates * mean / (np.sqrt(square) + _EPSILON)

    def save(self, path: Path, run: str) -> None:
        """Write a checkpoint that takes the place of an earlier one, whole or not at all.

        Args:
            path: of the file.
            run: what the run is of; only a run of the same goes on from it.

        Raises:
            StorageError: the disk refused.
        """
        beside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
        try:
            self._write(beside, run)
            os.replace(beside, path)
        except OSError as error:
            raise StorageError(
                f"cannot write the checkpoint {path}: {error.strerror or error}"
            ) from error
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)

    def _write(self, path: Path, run: str) -> None:
        with open(path, "wb") as file:
            np.savez(
                file, run=np.array(run), rows=self.rows, first=self.first, second=self.second,
                factors=self.factors, reached=self.reached, lam=np.array(self.lam),
                step=np.array(self.step),
            )  # fmt: skip
            file.flush()
            os.fsync(file.fileno())

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
                    saved["rows"], saved["first"], saved["second"], saved["factors"],
                    saved["reached"], float(saved["lam"]), int(saved["step"]),
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
