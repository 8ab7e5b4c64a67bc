"""Budget: the best that a size allows, without data and without training.

Entries are rounded by chance, so that they are right on average (``drawing.py``). Of every unit,
what is drawn, the step, the number of levels and their scale are chosen so that the harm to all of
the task (``choices.py``) is least for the bytes that its frames take in the bank: a Lagrangian over
predicted sizes, corrected by exact ones until the size is met. With ``products``, matrices may be
products of few bits instead (``products.py``), and all of it is weighed by squared error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Final, Literal, final

from numpy.typing import NDArray

from tvbank._progress import Counter
from tvbank.checkpoint import TensorSpec
from tvbank.compress.budget.allocate import ROUNDS, Allowance, allocate
from tvbank.compress.budget.candidates import Kept, choices_of, densities_for, of_each, survey
from tvbank.compress.budget.target import Target
from tvbank.compress.budget.tolerance import Evaluate, Found, Searching, check_search
from tvbank.compress.lossy import Planned, is_float
from tvbank.compress.protocol import Each, Entries, Pairs
from tvbank.errors import UsageError

#: The size by default: what real fine-tunes need to lose nothing that a test set sees
#: (docs/measured/budgets.md).
_USUAL: Final = "1 %"
#: By default, entries may take so many bytes however small the model is: the documents of a task
#: alone take some thousand.
_LEAST: Final = 2**14


@final
@dataclass(frozen=True)
class Budget(Searching):
    """The best that a size allows; a few seconds for a model of some ten million parameters.

    A LoRA adapter stays products of two thin matrices: its factors are turned to the singular
    values of what it changes, rounded to levels of one step, and coded; small components vanish
    (``factors.py``). If the factors fit as they are, nothing is lost.

    The task lands within 3 % below the size, by the bytes that the bank stores: frames, indices,
    documents and what is kept whole. If all of every unit at 8 bits takes less than that, it
    is stored so. With products it may be less, as components of a product come and go whole.

    Entries of zero stay zero, and no entry changes its sign. Which entries are kept is chance, but
    the same chance every time: the same task takes the same bytes.

    Examples:
        >>> task = bank.add("small", "cats.safetensors", tvbank.Budget("8 bits/param"))
        >>> task.bits_per_parameter <= 8
        True

    Attributes:
        budget: the size, as a person writes it: ``"0.3 bits/param"``, ``"1.5 MiB"``, or ``"1 %"``
            of the base's bytes; of a LoRA adapter also ``"30 % of the adapter"``, of the bytes of
            its tensors as its file has them. By default 1 %, and then more where heads and
            documents would leave the entries less than half of that, or than 16 KiB.
        tolerance: instead of a size, how much worse than the fine-tune the task may be: ``"1
            point"`` of a score from 0 to 1, ``"0.02 nats"`` of a loss, or a number in the score's
            own units. The smallest such size is looked for in about eight evaluations; the task's
            ``remarks`` say what they gave.
        evaluate: for a tolerance: called with the path of a full checkpoint, a safetensors file;
            returns a finite number, of which more is better, or less with a tolerance in nats.
        found: what the search for a tolerance found.
        products: whether units of two sides may be products of two thin matrices, too: each is then
            kept in the form that loses fewer squares for its bytes, mostly as a product. Whether
            the fine-tune does better so is seen by evaluating it, and not from its weights
            (docs/measured/gemma.md): with a tolerance, entries alone are tried, too. Such a task
            makes its bank one of format 1.1.
    """

    budget: str | None = None
    tolerance: str | None = None
    evaluate: Evaluate | None = None
    found: Found | None = None
    products: bool = False

    element: ClassVar[Literal["float32", "int32"]] = "float32"

    def __post_init__(self) -> None:
        Target.parse(self._size)
        if not isinstance(self.products, bool):
            raise UsageError(f"products is True or False, got {self.products!r}")
        check_search(self.budget, self.tolerance, self.evaluate)

    def bytes_beside(
        self,
        parameters: int,
        base_bytes: int,
        fixed_bytes: int,
        kept: str,
        adapter_bytes: int | None = None,
    ) -> int:
        """Bytes that the entries of a task may take: the size that is wanted, less what is fixed.

        Args:
            parameters: entries of all its units.
            base_bytes: size of the base's weights.
            fixed_bytes: what it takes beside: indices, documents, what is kept whole.
            kept: the latter, in words.
            adapter_bytes: size of the tensors of an adapter that stays products.

        Raises:
            UsageError: there is none; or the size is of an adapter, and this is none.
        """
        goal = Target.parse(self._size).in_bytes(parameters, base_bytes, adapter_bytes)
        if self.budget is None:
            goal = max(goal, fixed_bytes + max(goal // 2, _LEAST))
        if goal < fixed_bytes:
            raise UsageError(
                f"the size {self.budget!r} is {goal:,} bytes, but the smallest that this task "
                f"can take is {fixed_bytes:,} bytes: indices, documents, and {kept}"
            )
        return goal - fixed_bytes

    @property
    def forms(self) -> tuple[Budget, ...]:
        """See ``Searching.forms``: without products and with them."""
        return (replace(self, products=False), self) if self.products else (self,)

    @property
    def _size(self) -> str:
        return _USUAL if self.budget is None else self.budget

    def describe(self) -> dict[str, Any]:
        """See ``Compressor.describe``."""
        described = {"name": "budget", "budget": self._size}
        return described | {"products": True} if self.products else described

    def accepts(self, base: TensorSpec, tuned: TensorSpec) -> bool:
        """See ``Compressor.accepts``."""
        return is_float(tuned.dtype)

    def plan(self, pairs: Pairs) -> Planned:
        """Choose what to keep of every unit; see ``Compressor.plan``.

        Raises:
            NonFiniteError: a unit has entries that are not finite.
            UsageError: the size is less than what a task takes that keeps nothing.
        """
        if self.tolerance is not None:
            raise UsageError("a tolerance is looked for by bank.add: plan knows only sizes")
        kept_whole = f"the {len(pairs.whole)} tensors that are kept whole"
        left = self.bytes_beside(pairs.parameters, pairs.base_bytes, pairs.fixed_bytes, kept_whole)
        # Units are looked at once to survey them, then in up to so many rounds.
        work = Counter(pairs.progress, len(pairs.units) * (1 + ROUNDS), "units", "choosing")
        densities = densities_for(8 * left / max(pairs.parameters, 1))
        if self.products:
            left = max(left - pairs.products_bytes, 0)
        look = partial(survey, densities=densities, products=left if self.products else None)
        candidates = []
        for candidate in of_each(pairs, pairs.units, look):
            candidates.append(candidate)
            work.advance()
        kept = allocate(candidates, Allowance.under(left), pairs, work.advance)
        if spared := _spared(pairs, kept) if self.products else 0:
            more = allocate(candidates, Allowance.under(left + spared), pairs)
            kept = more if _spared(pairs, more) >= spared else kept
        work.end()
        products = {name: each.option.product for name, each in kept.items() if each.option}
        if self.products and not products:  # then their documents take nothing
            return replace(replace(self, products=False).plan(pairs), described=self.describe())
        return Planned(self.describe(), choices_of(kept), kept_products=products)

    def prepare(
        self, unit: str, base: NDArray[Any], tuned: NDArray[Any], each: Each = map
    ) -> Entries:
        """Not before ``plan``, which chooses over all units.

        Raises:
            UsageError: always.
        """
        raise UsageError("Budget chooses over all units: add a task with it, or call plan first")


def _spared(pairs: Pairs, kept: Mapping[str, Kept]) -> int:
    """Bytes of indices that are not taken, as many units are products or nothing."""
    return pairs.spared_bytes([name for name, each in kept.items() if each.how is not None])
