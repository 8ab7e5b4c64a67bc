"""What each half provides: a few learned scalars a unit, and the weights and size they give."""

from __future__ import annotations

import hashlib
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray

from tvbank._atomic import replace_file
from tvbank.compress import Compressor
from tvbank.errors import StorageError, UsageError
from tvbank.flexswitch._resume import MOST, read_arrays, refuse
from tvbank.flexswitch._weights import Fill

#: The loss on all examples under the weights that something fills.
Distance = Callable[[Fill], float]

#: Steps after which the state is saved.
SAVE_EVERY: Final = 25

#: Adam's decay rates of both moments, and what keeps its divisor above zero.
_DECAY_1, _DECAY_2, _EPSILON = 0.9, 0.999, 1e-8

#: The arrays of a resume file; two are a SHA-256 in hexadecimal digits.
_SAVED: Final = {
    "run": "U64", "digest": "U64", "rows": "f8", "first": "f8", "second": "f8", "reached": "?",
    "step": "i8",
}  # fmt: skip
#: Bytes of a resume file beside its arrays: seven headers of each kind.
_FRAMING: Final = 8192
#: No first moment exceeds so many roots of its second one; nor this, where squares underflow.
_STEEPEST: Final = 7.3
_UNDERFLOW: Final = 1e-150
#: Where scalars may start, and how far they may move in a step: several times what Adam's rates
#: and the level of a budget allow.
_FARTHEST, _FASTEST = 1000.0, 2.0


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

    A step calls ``filling`` once, ``add_gradient`` for every unit that the loss depends on, once
    for each of its uses where weights are made use by use, and then ``step``.

    Attributes:
        state: the scalars, and where the optimiser is.
    """

    state: State

    @abstractmethod
    def filling(self) -> Fill:
        """What fills the model's weights at this step; of each piece always with the same."""

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
            content, run=np.array(run), digest=np.array(self._digest(run)), rows=self.rows,
            first=self.first, second=self.second, reached=self.reached, step=np.array(self.step),
        )  # fmt: skip
        replace_file(path, content.getvalue(), _cannot_write, sweep=True)

    def _digest(self, run: str) -> str:
        digest = hashlib.sha256(f"{run} {self.step} {self.rows.shape}".encode())
        for part in (self.rows, self.first, self.second, self.reached):
            digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()

    @staticmethod
    def load(path: Path, run: str, most: int = MOST) -> State:
        """Read a resume file.

        Args:
            path: of the file.
            run: see ``save``.
            most: bytes that the file may have.

        Raises:
            UsageError: it is of another run, no resume file, or holds what no learning reaches.
        """
        saved = read_arrays(path, _SAVED, most)
        if saved["run"].shape or saved["digest"].shape or str(saved["run"]) != run:
            raise UsageError(
                f"{path} is the resume file of another run (other weights, inputs or settings): "
                "remove it, or name another file"
            )
        rows, first, second = saved["rows"], saved["first"], saved["second"]
        reached, step = saved["reached"], saved["step"]
        if rows.ndim != 2 or not rows.shape == first.shape == second.shape or step.shape:
            raise refuse(path, "its arrays have other shapes")
        if reached.shape != rows.shape[:1] or (reached.view(np.uint8) > 1).any():
            raise refuse(path, "it says of other units which were reached")
        if not (np.isfinite(rows) & np.isfinite(first) & np.isfinite(second)).all():
            raise refuse(path, "it holds NaN or infinity")
        # By the inequality of Cauchy and Schwarz, whatever the gradients were.
        if (second < 0).any() or (np.abs(first) > _STEEPEST * np.sqrt(second) + _UNDERFLOW).any():
            raise refuse(path, "no gradients have such moments")
        if step < 0 or (np.abs(rows) > _FARTHEST + _FASTEST * np.float64(step)).any():
            raise refuse(path, f"no learning reaches such scalars in {int(step)} steps")
        state = State(rows, first, second, reached, int(step))
        if str(saved["digest"]) != state._digest(run):
            raise refuse(path, "its numbers were changed after it was written")
        return state

    @staticmethod
    def resume(path: Path, run: str, start: State, steps: int) -> State:
        """Read the resume file of a run.

        Args:
            path: of the file.
            run: see ``save``.
            start: where this run began.
            steps: of this run.

        Raises:
            UsageError: as ``load``, or the file does not fit the run.
        """
        size = sum(part.nbytes for part in (start.rows, start.first, start.second, start.reached))
        state = State.load(path, run, size + _FRAMING)
        if state.rows.shape != start.rows.shape:
            raise refuse(path, "it is of other units")
        if not 0 < state.step <= steps or (state.step % SAVE_EVERY and state.step != steps):
            raise refuse(path, f"whose states are saved every {SAVE_EVERY} of {steps} steps")
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
