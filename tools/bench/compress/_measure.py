"""One fine-tune, stored, read back and scored."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import final

from safetensors.torch import load_file

import tvbank
from tools.bench import realtasks
from tools.bench.compress._methods import Setting
from tools.bench.realtasks import Family, RealTask
from tvbank.storage import MemoryStorage


@final
@dataclass(frozen=True)
class Measured:
    """One row.

    Attributes:
        stored_bytes, share, bits_per_parameter: as the bank has it; share of the base's bytes.
        accuracy: on the tests.
        held_out: accuracy on the end of the training data, by which settings can be chosen.
        scale: what was chosen on training data, if the method leaves it open.
        seconds: of compressing and storing, without the choice of the scale.
    """

    family: str
    task: str
    method: str
    label: str
    seed: int
    stored_bytes: int
    share: float
    bits_per_parameter: float
    accuracy: float
    held_out: float
    scale: float
    seconds: float


@final
class Bench:
    """A bank and a model for one family."""

    def __init__(self, family: Family, held_out: int, device: str) -> None:
        """Make an empty bank.

        Args:
            family: whose tasks to measure.
            held_out: examples at the end of the training data that choose scales.
            device: where the model runs.
        """
        self.family, self._held_out = family, held_out
        self._model = family.model().to(device)
        self._bank = tvbank.create(MemoryStorage(), base=family.base)
        self._bytes = 4 * self._bank.layout.parameters

    def reference(self, task: RealTask) -> tuple[float, float]:
        """Accuracy of the base and of the fine-tune, which is read from the bank too."""
        self._model.load_state_dict(load_file(self.family.base))
        base = realtasks.accuracy(self.family, self._model, task)
        self._bank.add("exact", task.tuned, tvbank.Exact(), replace=True)
        return base, self._accuracy("exact", task, 1.0)

    def measure(self, setting: Setting, task: RealTask, seed: int) -> Measured:
        """Store with a setting, read back, score."""
        scale = setting.scales[0]
        if len(setting.scales) > 1:
            scale = self._choose(setting, task, seed)
        start = time.monotonic()
        compressor = setting.make(self.family, task, seed, scale)
        stored = self._bank.add(task.name, task.tuned, compressor, replace=True)
        seconds = time.monotonic() - start
        accuracy = self._accuracy(task.name, task, 1.0)
        end = self._end(task)
        held_out = realtasks.accuracy(self.family, self._model, end)
        return Measured(
            self.family.name, task.name, setting.method, setting.label, seed, stored.stored_bytes,
            stored.stored_bytes / self._bytes, stored.bits_per_parameter, accuracy, held_out, scale,
            seconds,
        )  # fmt: skip

    def _choose(self, setting: Setting, task: RealTask, seed: int) -> float:
        """The scale of the best accuracy on the end of the training data; the least of equals."""
        end = self._end(task)
        compressor = setting.make(self.family, task, seed, 1.0)
        self._bank.add(task.name, task.tuned, compressor, replace=True)
        return max(setting.scales, key=lambda scale: self._accuracy(task.name, end, scale))

    def _end(self, task: RealTask) -> RealTask:
        """The task with the end of its training data for tests."""
        last = slice(-self._held_out, None)
        return replace(task, x_test=task.x_train[last], y_test=task.y_train[last])

    def _accuracy(self, name: str, task: RealTask, weight: float) -> float:
        state = tvbank.merge(self._bank, {name: weight})
        self._model.load_state_dict(state)
        return realtasks.accuracy(self.family, self._model, task)
