"""A live model is switched at random while others write to its weights: is each write noticed?

    python -m tools.soak switching [--steps 10000] [--seed 0] [--json]

A step is a change (a task, a weighted sum, the base, a block) or a write: by an optimiser (SGD,
Adam and others, plain, foreach and fused), or behind torch's back (``.data``, numpy, storages,
inference mode). After a change the model must be, bit for bit, what ``tvbank.export`` or
``tvbank.merge`` makes of the task, or the base. After a write the switch must refuse, and leave
what was written. Models: two layers in float32, the same of inference tensors, and a convolution
with batch normalisation, in the memory format of images. Ends with status 1 if a write was not
noticed (lost) or a state is another than it should be (wrong).
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch

import tvbank
from tools import borrow_tests
from tools.bench._measure import options, report, timed
from tvbank.errors import BaseMismatchError, CorruptionError, UsageError

borrow_tests()
import disturbing  # noqa: E402
import live  # noqa: E402


class Patient:
    """A model with a switch, what it must be for each task, and what came of the steps."""

    def __init__(self, kind: str, dice: random.Random, folder: Path) -> None:
        self.inference = kind == "inference tensors"
        with torch.inference_mode(self.inference):
            self.model = live.Convolution() if kind == "convolution" else live.perceptron(width=64)
        self.inputs = torch.randn(3, 3, 8, 8) if kind == "convolution" else torch.randn(3, 64)
        self.base = {name: t.detach().clone() for name, t in self.model.state_dict().items()}
        tunes = {name: live.fine_tune(self.base, seed) for seed, name in enumerate("ab")}
        self.bank = live.bank_of(self.base, tunes, chunk_length=4096)  # exact ones given the base
        self.wanted: dict[str | None, Any] = {None: self.base}
        for name in self.bank:
            self.wanted[name] = live.exported(self.bank, name, self.base, folder)
        self.switch = tvbank.attach(self.model, self.bank, resident_bytes=dice.choice([0, 2**20]))
        self.optimisers = [
            (name, make)
            for name, make in disturbing.OPTIMISERS.items()
            if (kind, name) != ("convolution", "LBFGS")  # which refuses the format of images
        ]
        self.kind, self.dice, self.counts = kind, dice, Counter[str]()

    def step(self) -> None:
        """A change or a write."""
        if self.dice.random() < 0.5:
            self.change()
        else:
            self.write()

    def change(self) -> None:
        """To a task, to a sum, to the base, or into a block and out of it."""
        names = list(self.bank)
        request = self.dice.choice([None, *names, "sum", "block"])
        if request == "sum":
            some = self.dice.sample(names, self.dice.randint(1, len(names)))
            weights = {name: self.dice.choice([1.0, 0.3, -0.7]) for name in some}
            self.switch.to(weights)
            self.expect(tvbank.merge(self.bank, weights, base=self.base), f"the sum {weights}")
        elif request == "block":
            before = live.bits(self.model)
            with self.switch(name := self.dice.choice(names)):
                self.expect(self.wanted[name], f"the block of {name}")
            self.expect(before, "what was before the block")
        else:
            self.switch.off() if request is None else self.switch.to(request)
            self.expect(self.wanted[request], str(request))
        self.counts["changes"] += 1

    def write(self) -> None:
        """By an optimiser or another way; it must be noticed, and nothing of it be lost."""
        before = live.bits(self.model)
        ways = list(disturbing.WRITES)
        if not self.inference:
            ways += self.optimisers
        way = self.dice.choice(ways)
        if isinstance(way, tuple):
            what, optimiser = way
            disturbing.train(self.model, optimiser(self.model.parameters()), self.inputs)
        else:
            what, tensor = way.__name__, self.dice.choice(list(self.model.parameters()))
            with torch.inference_mode(self.inference):
                way(tensor)
        written = live.bits(self.model)
        if all(torch.equal(before[name], written[name]) for name in before):
            self.counts["writes that changed nothing"] += 1
            self.switch.off(force=True)  # an optimiser's step counts as one all the same
            self.restore()
            return
        active = self.switch.active
        request = self.dice.choice([*self.bank, None] if active else list(self.bank))
        try:
            self.switch.off() if request is None else self.switch.to(request)
        except (UsageError, BaseMismatchError):
            self.expect(written, f"what {what} wrote")
        except CorruptionError as error:  # noticed too late: some of it was overwritten
            self.fail("lost", f"{what} under {active} was found while decoding: {error}")
        else:
            self.fail("lost", f"{what} under {active} was not noticed")
        self.counts["writes"] += 1
        self.switch.off(force=True)
        self.restore()

    def restore(self) -> None:
        """Load the base again, as a user does after training."""
        with torch.inference_mode(self.inference):
            self.model.load_state_dict(self.base)
        self.model.zero_grad()

    def expect(self, wanted: dict[str, torch.Tensor], what: str) -> None:
        """Count it as wrong if the model is another, bit for bit."""
        try:
            live.assert_same(self.model, wanted)
        except AssertionError as differing:
            self.fail("wrong", f"{what}: {differing}")

    def fail(self, how: str, what: str) -> None:
        """Count what went wrong, and tell."""
        self.counts[how] += 1
        print(f"{how}: {self.kind}: {what}", file=sys.stderr)


def soak(steps: int, seed: int) -> list[dict[str, Any]]:
    """Take so many steps on each of the models; what came of them."""
    rows = []
    for kind in ("two layers", "inference tensors", "convolution"):
        torch.manual_seed(seed)
        with tempfile.TemporaryDirectory() as folder:
            patient = Patient(kind, random.Random(seed), Path(folder))
        seconds, _ = timed(lambda patient=patient: [patient.step() for _ in range(steps)])
        patient.switch.close()
        patient.expect(patient.base, "the base at the end")
        counts = {"lost": 0, "wrong": 0} | patient.counts
        rows.append({"model": kind, "steps": steps, **counts, "seconds": seconds})
    return rows


def main() -> int:
    parser = options(__doc__)
    parser.add_argument("--steps", type=int, default=10_000, help="of each model")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows = soak(arguments.steps, arguments.seed)
    report(arguments, {}, {"switching beside writers": rows})
    return 1 if any(row["lost"] or row["wrong"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
