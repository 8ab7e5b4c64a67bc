"""``attach`` and ``Switch``: what users hold to change the weights of a live model."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NoReturn, final

import torch

from tvbank._shown import html_table, human_bytes
from tvbank.bank.bank import Bank, as_bank
from tvbank.errors import CorruptionError, UsageError
from tvbank.naming import Names
from tvbank.storage import Location
from tvbank.switching import _live
from tvbank.switching._blend import Blends
from tvbank.switching._change import Path, Request, Tasks, Weights, path_of, read_request
from tvbank.switching._heads import Swap, plan_swaps
from tvbank.switching._model import AttachedModel
from tvbank.switching._proving import provable
from tvbank.switching._proving import prove as prove_weights
from tvbank.switching._resident import Cache, ResidentTask
from tvbank.switching._turns import Block, Held, Turns

#: Bytes of tasks kept in memory by default: some two hundred of a model of 22 million parameters.
RESIDENT_BYTES = 2**28


def bank_for(model: object, bank: Bank | Location) -> Bank:
    """A bank that can be attached to a model: an open one as it is, a place opened.

    Raises:
        UsageError: these are no model and no bank.
        BankNotFoundError, CorruptionError, UnsupportedError: as ``tvbank.open``.
    """
    if not isinstance(model, torch.nn.Module):
        raise UsageError(f"attach to a torch.nn.Module, not to {type(model).__name__}")
    return as_bank(bank)


def attach(
    model: torch.nn.Module,
    bank: Bank | Location,
    *,
    prefix: str | None = None,
    names: Names | None = None,
    resident_bytes: int = RESIDENT_BYTES,
) -> Switch:
    """Attach a bank to a model that holds the bank's base, so that tasks can be switched.

    The model's weights are compared with the fingerprints of the base: every unit with deltas must
    be there, in the base's element type or a wider one, on any device. Other parts of the model
    (heads of its own) are left alone unless a task brings weights for them.

    Args:
        model: any module.
        bank: an open bank, or its place.
        prefix: what stands before the base's names in the model; by default it is found out: a
            bank of a bare encoder fits a model that holds this encoder as ``bert``, once.
        names: the model's name for each of the bank's: a mapping, or a function. By default it is
            found out: transformers' own tables say what ``from_pretrained`` renamed, fused and
            stacked. ``Switch.remarks`` says what was found.
        resident_bytes: the most bytes of tasks that stay in memory between calls; 0 reads a task
            anew at each switch.

    Returns:
        The switch; the model is still the base.

    Raises:
        BaseMismatchError: the model is not the base; names the units that are missing or differ.
        UsageError: several prefixes fit, parameters overlap in memory, the model has a switch
            already, or an argument is of another kind or out of its range.
        CheckpointError: a parameter without plain memory (meta, offloaded, lazy, sparse, quantised,
            sharded); says which and what to do.
    """
    bank = bank_for(model, bank)
    if prefix is not None and not isinstance(prefix, str):
        raise UsageError(f"prefix must be text, got {prefix!r}")
    if not isinstance(resident_bytes, (int, float)) or not resident_bytes >= 0:
        raise UsageError(f"resident_bytes must be at least 0, got {resident_bytes}")
    attached = AttachedModel(model, bank.layout, prefix, names)
    _live.enter(attached)
    return Switch(attached, bank, resident_bytes)


@final
class Switch:
    """Changes a live model's weights in place, from the base to tasks of a bank and back.

    ``to("a")`` makes the model what ``tvbank.export`` would write for the task, heads included;
    ``to({"a": 0.7, "b": 0.3})`` makes it what ``tvbank.merge`` would return, bit for bit, buffers
    averaged; ``off()``
    restores every bit of every parameter and buffer. If a change fails or is interrupted, the
    model is the base, or still what it was if nothing had been written; ``active`` says which.

    *Memory.* Tasks that were used or prefetched stay in memory as frames, about a hundredth of a
    checkpoint each, within a budget. Beside them the switch holds the positions and old values of
    the entries that the present tasks touch (eight bytes each, six in half precision), and as much
    again for the next change.

    *What others do to the weights.* A change first looks whether parameters were replaced, moved,
    cast or resized since, and whether anybody has written to them, and raises ``UsageError`` before
    it touches anything; at the base, ``BaseMismatchError`` if weights are no longer the base's. It
    sees what torch counts (plain optimisers, ``load_state_dict``, batch normalisation in training);
    the step of every ``torch.optim.Optimizer``, fused or not; and, in samples of eight lines of
    64 bytes of every parameter and buffer, what is written through ``.data``, numpy, inference
    tensors, storages or by other processes. What changes a share p of a tensor's lines is missed
    with probability (1 - p)^8 there: a write to a few entries of a large tensor through numpy is
    not seen. Then ``off()`` puts back old values at the entries that the tasks have touched, and
    leaves what was written elsewhere.

    *One switch a model.* A second one is refused, also for a part of the model, a wrapper of it, or
    another model that shares its weights, until ``close()``, or until nobody holds the first.

    *Threads.* Each call is atomic, and a ``with`` block keeps the turn to its end, on whatever
    thread that comes, so that blocks in several threads take turns. A thread that runs the model
    outside such a block is not held up: its forward pass may see weights of both states. Blocks of
    one thread must nest; tasks of ``asyncio`` on one thread are refused a turn while another of
    them has a block open.
    """

    def __init__(self, model: AttachedModel, bank: Bank, resident_bytes: int) -> None:
        """Use ``tvbank.attach``."""
        self._model, self._bank = model, bank
        self._turns = Turns()
        self._cache = Cache(bank, model.bindings, resident_bytes)
        self._weights = Weights(model)
        self._blends = Blends(model)
        self._revisions: dict[str, str] = {}
        self._unused: tuple[str, ...] = ()
        self._closed = False

    @property
    def active(self) -> str | dict[str, float] | None:
        """What the model is now: a task, weights by task, or ``None`` for the base."""
        return self._weights.request.asked

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is worth knowing of how the model holds the base; mostly nothing.

        Names that differ, heads that it lacks, a wider element type than the base's.
        """
        return self._model.remarks

    def names_of(self, name: str) -> tuple[str, ...]:
        """The model's parameters and buffers that a unit is, or is a part of, or that take a head.

        Args:
            name: of a unit, of what is tied to it, or of what a task keeps whole.
        """
        return self._model.names_of(name)

    @property
    def unused(self) -> tuple[str, ...]:
        """Names of units that the present task keeps whole and the model has no place for."""
        return self._unused if self._weights.request != Request() else ()

    @property
    def resident(self) -> dict[str, int]:
        """Bytes of each task in memory, the least recently used one first."""
        return self._cache.sizes()

    def to(self, tasks: Tasks, *, heads: str | None = None, prove: bool = False) -> None:
        """Change the model to a task, or to a weighted sum of tasks.

        Args:
            tasks: a task's name; or weights by name, for ``base + sum of weight * (task - base)``,
                accumulated in float32 and rounded once.
            heads: the task whose units kept whole (heads, buffers, resized embeddings) take their
                places: by default the one task, and none for a weighted sum.
            prove: whether every unit that an exact task changes is hashed and compared with the
                digest that the task records. If one differs, the model goes back to the base.

        Raises:
            TaskNotFoundError: the bank lacks a task.
            UsageError: a weight is not a finite number; or the model was changed, see ``Switch``;
                or ``prove`` of what records no digests.
            UnitMismatchError: a task of a sum keeps units of the base whole; tasks disagree with
                what the model ties; or a head does not fit the model's element type.
            NonFiniteError: a weight would become NaN or too large; names the unit.
            BaseMismatchError: the base's weights in the model were changed; names the units.
            CorruptionError: what is stored is missing or damaged; says where.
            StorageError: the store refused.
        """
        with self._turn():
            request = read_request(self._bank, tasks, heads)
            if not prove:
                self._go(request)
                return
            task = provable(request, self._bank)
            self._go(request)
            try:
                prove_weights(self._model, task)
            except CorruptionError:
                self._weights.back_to_base()
                raise

    def off(self, *, force: bool = False) -> None:
        """Restore the base.

        Args:
            force: whether to go ahead though others have written to the weights meanwhile: the
                entries that the tasks touched get their old values, others keep what was written.

        Raises:
            UsageError: the model was changed, see ``Switch``; nothing is touched then.
        """
        with self._turn(force):
            self._check(force)
            self._weights.back_to_base(self._model.watches.written() if force else ())

    def close(self, *, force: bool = False) -> None:
        """Restore the base and end the switch, so that another one can be attached to the model.

        Args:
            force: as of ``off``.

        Raises:
            UsageError: the model was changed, see ``Switch``; the switch is not closed then.
        """
        with self._turn(force):
            if not self._closed:
                self.off(force=force)
                self._closed = True
                _live.leave(self._model)

    @contextmanager
    def __call__(self, tasks: Tasks, *, heads: str | None = None) -> Iterator[Switch]:
        """``with switch("task"):`` changes as ``to`` does, and back to what was there before.

        The block may be ended on another thread. Calls and blocks within it are for the thread that
        began it; those of other threads wait for its end.

        Raises:
            UsageError: also of a block that ended before one that began within it: what ran in it
                since then ran under the other's tasks. The model is right when both have ended.
        """
        held = Held()
        block = Block(held)
        try:
            with self._turn():
                before = self._weights.request
                self._turns.begin(block)
                self._go(read_request(self._bank, tasks, heads))
                block.before = before
            yield self
        finally:
            with self._turns.end(block) as after:
                if after is not None:
                    self._go(after)
        del held
        if block.overlapped:
            raise UsageError(
                f"a block, with switch({tasks!r}), ended before another one that began within it: "
                f"since then its code ran under the other's tasks. Blocks must nest; let "
                "generators and tasks of asyncio take turns"
            )

    def prefetch(self, *tasks: str) -> None:
        """Read tasks into memory, check every frame, and make them quick to apply.

        Of a chain that the model has the first steps of already, the others. Frames that were
        stored given the base are decoded when they are applied, beside the weights of the model;
        until then only their bytes and headers are checked.

        Those beyond the budget push out the least recently used ones. Other threads can go on
        using the switch.

        Raises:
            TaskNotFoundError, UnitMismatchError, CorruptionError, StorageError: as ``to``.
        """
        self._refuse_closed()
        for name in tasks:
            read_request(self._bank, name, None)
        for name in tasks:
            shared = self._weights.shared(path_of(self._bank[name]))
            for task in self._cache.path(name, shared):
                task.pack()
            self._cache.trim()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        active = self.active
        if isinstance(active, dict):
            active = ", ".join(f"{task}={weight:g}" for task, weight in active.items())
        facts = {"bank": self._bank.location, "active": "the base" if active is None else active}
        rows = [(task, human_bytes(size)) for task, size in self.resident.items()]
        return html_table("Switch", facts, ("in memory", "bytes") if rows else (), rows)

    def __repr__(self) -> str:
        return f"Switch({self._bank.location!r}, active={self.active!r})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise UsageError(
            "a switch belongs to its model and cannot be copied or pickled: copy the model without "
            "it, and attach the bank to the copy"
        )

    @contextmanager
    def _turn(self, force: bool = False) -> Iterator[None]:
        """The turn for one call; see ``Turns.take``."""
        with self._turns.take(force) as abandoned:
            if abandoned is not None and not force:
                self._go(abandoned)
            yield

    def _refuse_closed(self) -> None:
        if self._closed:
            raise UsageError("this switch is closed: attach the bank to the model again")

    def _check(self, force: bool = False) -> None:
        self._refuse_closed()
        self._weights.check(force)

    def _go(self, request: Request) -> None:
        self._check()
        revisions = {name: self._bank[name].revision for name in request.names}
        if (request, revisions) == (self._weights.request, self._revisions):
            return
        if request == Request():
            self._weights.back_to_base()
            return
        try:
            self._weights.recover()
            path = self._path(request)
            alone = path[-1][0] if path else None
            if any(self._cache.lacks_base(name) for name in request.names if name != alone):
                self._weights.back_to_base()
            if path:
                last = request.tasks[0][0]
                steps = self._cache.path(last, self._weights.shared(path))
                summed: list[tuple[ResidentTask, float | None]] = [(task, None) for task in steps]
                tasks = {name: self._cache.get(name) for name in revisions if name != last}
                tasks[last] = (steps or self._cache.path(last, len(path) - 1))[-1]
            else:
                tasks = {name: self._cache.get(name) for name in revisions}
                summed = [(tasks[name], weight) for name, weight in request.tasks]
            weighted = [(task, weight) for task, weight in summed if weight is not None]
            kept = self._blends.kept(weighted) if weighted else set()
            if unknown := self._blends.unknown(kept):
                self._weights.back_to_base()
                self._blends.remember(unknown)
            swaps = self._swaps(request, tasks, kept)
            self._weights.go(
                request, summed, swaps,
                partial(self._blends.swaps, weighted, kept) if weighted else list,
                path,
            )  # fmt: skip
            self._revisions = revisions
        finally:
            self._cache.trim()

    def _path(self, request: Request) -> Path:
        """The tasks that lead to one task as it is; none for a weighted sum, or at the base."""
        if len(request.tasks) != 1 or request.tasks[0][1] is not None:
            return ()
        return path_of(self._bank[request.tasks[0][0]])

    def _swaps(
        self, request: Request, tasks: dict[str, ResidentTask], blended: Collection[str]
    ) -> list[Swap]:
        """The units kept whole that go with a request, but those that are blended."""
        if request.heads is None:
            self._unused = ()
            return []
        heads = tasks[request.heads]
        swaps, unused = plan_swaps(heads, self._model, blended)
        self._unused = tuple(unused)
        return swaps
