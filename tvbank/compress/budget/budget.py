"""Budget: the best that a size allows, without data and without training.

Entries are rounded by chance, so that they are right on average (``drawing.py``). Of every unit,
what is drawn, the step, the number of levels and their scale are chosen so that the harm to all of
the task (``choices.py``) is least for the bytes that its frames take in the bank: a Lagrangian over
predicted sizes, corrected by exact ones until the size is met.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, final

from numpy.typing import NDArray

from tvbank._progress import Counter
from tvbank.checkpoint import TensorSpec
from tvbank.compress.budget.allocate import ROUNDS, Allowance, allocate
from tvbank.compress.budget.candidates import choices_of, of_each, survey
from tvbank.compress.budget.target import Target
from tvbank.compress.lossy import Planned, is_float
from tvbank.compress.protocol import Compressor, Each, Entries, Pairs
from tvbank.errors import UsageError

#: The size by default: what real fine-tunes need to lose nothing that a test set sees
#: (docs/measured/budgets.md).
_USUAL: Final = "1 %"
#: By default, entries may take so many bytes however small the model is: the documents of a task
#: alone take some thousand.
_LEAST: Final = 2**14


@final
@dataclass(frozen=True)
class Budget(Compressor):
    """The best that a size allows; a few seconds for a model of some ten million parameters.

    The task lands within 3 % below the size, by the bytes that the bank stores: frames, indices,
    documents and what is kept whole. If all of every unit at 8 bits takes less than that, it
    is stored so.

    Entries of zero stay zero, and no entry changes its sign. Which entries are kept is chance, but
    the same chance every time: the same task takes the same bytes.

    Examples:
        >>> task = bank.add("small", "cats.safetensors", tvbank.Budget("8 bits/param"))
        >>> task.bits_per_parameter <= 8
        True

    Attributes:
        budget: the size, as a person writes it: ``"0.3 bits/param"``, ``"1.5 MiB"``, or ``"1 %"``
            of the base's bytes. By default 1 %, and then more where heads and documents would leave
            the entries less than half of that, or than 16 KiB.
    """

    budget: str | None = None

    element: ClassVar[Literal["float32", "int32"]] = "float32"

    def __post_init__(self) -> None:
        Target.parse(self._size)

    @property
    def _size(self) -> str:
        return _USUAL if self.budget is None else self.budget

    def describe(self) -> dict[str, Any]:
        """See ``Compressor.describe``."""
        return {"name": "budget", "budget": self._size}

    def accepts(self, base: TensorSpec, tuned: TensorSpec) -> bool:
        """See ``Compressor.accepts``."""
        return is_float(tuned.dtype)

    def plan(self, pairs: Pairs) -> Compressor:
        """Choose what to keep of every unit; see ``Compressor.plan``.

        Raises:
            NonFiniteError: a unit has entries that are not finite.
            UsageError: the size is less than what a task takes that keeps nothing.
        """
        goal = Target.parse(self._size).in_bytes(pairs.parameters, pairs.base_bytes)
        if self.budget is None:
            goal = max(goal, pairs.fixed_bytes + max(goal // 2, _LEAST))
        if goal < pairs.fixed_bytes:
            raise UsageError(
                f"the size {self.budget!r} is {goal:,} bytes, but the smallest that this task "
                f"can take is {pairs.fixed_bytes:,} bytes: indices, documents, and the "
                f"{len(pairs.whole)} tensors that are kept whole"
            )
        # Units are looked at once to survey them, then in up to so many rounds.
        work = Counter(pairs.progress, len(pairs.units) * (1 + ROUNDS), "units", "choosing")
        candidates = []
        for candidate in of_each(pairs, pairs.units, survey):
            candidates.append(candidate)
            work.advance()
        allowance = Allowance.under(goal - pairs.fixed_bytes)
        kept = allocate(candidates, allowance, pairs, work.advance)
        work.end()
        return Planned(self.describe(), choices_of(kept))

    def prepare(
        self, unit: str, base: NDArray[Any], tuned: NDArray[Any], each: Each = map
    ) -> Entries:
        """Not before ``plan``, which chooses over all units.

        Raises:
            UsageError: always.
        """
        raise UsageError("Budget chooses over all units: add a task with it, or call plan first")
