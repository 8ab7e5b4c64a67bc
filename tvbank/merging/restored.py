"""One task as it is: the base plus its delta, and the units it keeps whole, tensor by tensor."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, final

from numpy.typing import NDArray

from tvbank.bank.proved import refuse_other_state, state_after
from tvbank.bank.task import Task
from tvbank.checkpoint import TensorSpec
from tvbank.layout import Layout
from tvbank.merging._assemble import Assembler, Finish, NumberedFrame, OldWeights
from tvbank.merging.apply import restore


@final
class Restored:
    """The tensors of the checkpoint that a task stands for; nothing is read before it is asked for.

    Attributes:
        specs: the base's tensors, tied ones under each of their names, as the task replaces them;
            then the other units that it keeps whole.
    """

    def __init__(
        self,
        task: Task,
        base: OldWeights,
        layout: Layout,
        pool: ThreadPoolExecutor,
        seen: dict[str, Future[str]] | None = None,
        checked: bool = True,
        prove: bool = False,
    ) -> None:
        """Find out what there is.

        Args:
            task: read shard by shard (``Task.by_shard``).
            base: the base's weights; each unit is compared with the bank's fingerprint.
            layout: of the bank.
            pool: threads to decode on.
            seen: see ``Assembler``.
            checked: see ``Assembler``.
            prove: whether what is made is compared with the digests that an exact task records.

        Raises:
            CorruptionError: the revision document is missing or damaged.
        """
        self._task, self._layout = task, layout
        self._units = Assembler(layout, base, [task], pool, seen, checked)
        self.specs = self._specs()
        self._proved = state_after(task.lineage) if prove and task.element == "int32" else {}

    def start(self, name: str) -> Finish:
        """Begin the work on one of ``specs``; what is returned waits for it.

        Raises:
            CorruptionError: now or when waited for; what is stored is missing or damaged, or other
                weights come out than the task records.
            BaseMismatchError, NonFiniteError: when waited for.
        """
        if (kept := self._kept_as(name)) is not None:
            return lambda: self._task.extras[kept]
        owner = self._layout.tied.get(name, name)
        if owner not in self._task:
            return self._units.unchanged(owner)
        if self._task.element == "int32":
            finish = self._units.start(owner, self._change, in_place=True)
        else:
            finish = self._units.start(owner, self._restore)
        sha256 = self._proved.get(owner)
        return finish if sha256 is None else partial(self._prove, owner, finish, sha256)

    def _prove(self, name: str, finish: Finish, sha256: str) -> NDArray[Any]:
        made = finish()
        refuse_other_state(self._task.name, name, made, sha256)
        return made

    def owner(self, name: str) -> str:
        """The tensor that a name shares: itself, or what it is tied to."""
        return self._kept_as(name) or self._layout.tied.get(name, name)

    def _change(
        self, _name: str, block: NDArray[Any], frames: Sequence[NumberedFrame]
    ) -> NDArray[Any]:
        return self._task.after(frames[0][1], block, in_place=True)

    def _restore(
        self, name: str, block: NDArray[Any], frames: Sequence[NumberedFrame]
    ) -> NDArray[Any]:
        return restore(name, block, self._task.decode(frames[0][1], block))

    def _specs(self) -> list[TensorSpec]:
        specs = {spec.name: spec for spec in base_specs(self._layout)}
        for name in [*specs, *self._task.extras]:
            if (kept := self._kept_as(name)) is not None:
                record = self._task.extras.record(kept)
                specs[name] = TensorSpec(name, record.dtype, record.shape)
        return list(specs.values())

    def _kept_as(self, name: str) -> str | None:
        """The extra that holds a tensor: its own, or that of the unit to which it is tied."""
        extras = self._task.extras
        return next((n for n in (name, self._layout.tied.get(name)) if n in extras), None)


def base_specs(layout: Layout) -> list[TensorSpec]:
    """What the base's own tensors are, tied ones under each of their names."""
    specs = {r.name: TensorSpec(r.name, r.dtype, r.shape) for r in layout.records}
    aliases = [replace(specs[owner], name=alias) for alias, owner in layout.tied.items()]
    return [*specs.values(), *aliases]
