"""A model that becomes the right specialist for each input."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Literal, NoReturn, final

import torch

from tvbank.autoswitch._axes import Axes
from tvbank.autoswitch._batch import (
    Batch,
    Forward,
    Inputs,
    Part,
    call_model,
    call_without_cache,
    listed,
    stack,
    without_padding,
)
from tvbank.autoswitch._choice import MODES, Group, Mode, followed, groups_of, one_task_each
from tvbank.autoswitch._generate import prompts_of, takes
from tvbank.autoswitch._looks import Surety, largest_probability, look_again
from tvbank.autoswitch._model import LikeModel
from tvbank.autoswitch._reuse import Reuse
from tvbank.autoswitch._route import (
    Decision,
    RouterLike,
    Routing,
    Tapping,
    cascade_of,
    decide,
    routing_of,
)
from tvbank.bank.bank import Bank
from tvbank.errors import TvbankError, UsageError
from tvbank.naming import Names
from tvbank.storage import Location
from tvbank.switching import RESIDENT_BYTES, attach, bank_for

#: How outputs come back.
Outputs = Literal["stack", "list"]
_OUTPUTS: tuple[Outputs, ...] = ("stack", "list")


@final
class AutoSwitch(LikeModel):
    """Routes each input to the tasks it needs, and runs it under their merged weights.

    Examples:
        >>> with tvbank.AutoSwitch(model, bank, "router") as auto:
        ...     logits = auto(inputs)
        ...     auto.last
        Routing(8 examples in 2 runs; cats: 4, dogs: 4)

    Called like the model, it returns the model's outputs in the order of the inputs. Examples that
    need the same weights run together; the weights are changed in place, once for each such group,
    the group of the present task first. It is for inference: no gradients are kept.

    *Between calls* the model stays at the last group's task. ``close``, or the end of a ``with``
    block, restores every bit of the base; so does any error. Do not change the model meanwhile.

    *Modes.* ``sample``: each example under ``base + sum of w_k * (task_k - base)`` with its own
    weights ([F] Eq. 5); a row with all its weight on one task is that task as it is stored, heads
    included. ``batch``: one mean of the weights for the whole batch, as the public code of [T]
    does. ``top1``: the task with the largest weight alone. Where a row's weights sum to less than
    one, because the router rejected the input, the rest is the base's; where that rest is the
    largest share, the base leads.

    *Heads* and other units that a task keeps whole are those of the task that leads. Tasks whose
    heads have different widths give outputs that cannot be stacked: ``outputs="list"`` then returns
    one output for each example, as the model returns it for a batch of one.

    *Threads.* Calls take turns.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        bank: Bank | Location,
        router: RouterLike,
        mode: Mode = "sample",
        *,
        forward: Forward | None = None,
        outputs: Outputs = "stack",
        trim: str | None = None,
        pool: bool = False,
        reuse: bool = True,
        twin: bool = False,
        prefix: str | None = None,
        names: Names | None = None,
        resident_bytes: int = RESIDENT_BYTES,
        looks: int = 1,
        surety: Surety | None = None,
    ) -> None:
        """Attach a bank and a router to a model that holds the bank's base.

        Args:
            model: any module, in evaluation mode.
            bank: an open bank, or its place.
            router: a router, its name in the bank, a ``Cascade``, or several routers or names to
                be asked in turn, the cheapest first: the confidence that each needs is then
                computed from the examples that they keep (``Cascade.calibrate``), or is 0.9 if they
                keep centres or with ``pool``.
            mode: ``"sample"``, ``"batch"`` or ``"top1"``.
            forward: called with the model and a batch, a tensor or a dict, for what the model
                itself does not return as tensors with examples along dimension 0. By default the
                model, and if it takes ``use_cache``, without a cache unless the call asks for one.
            outputs: ``"stack"`` or ``"list"``.
            trim: the name of an input [n, length] that is 0 at padding: columns at the end that no
                example of a group uses are cut off every input. For models whose outputs neither
                depend on the padding nor have its length.
            pool: whether the batch is evidence too: which tasks are in it, and how often, is
                estimated from all of its examples, and each example goes to the one task that is
                then the most likely. More often right, and cheaper, where batches hold few of the
                tasks; but an example's output then depends on the rest of its batch, and the only
                example of its task in a batch of 32 mostly goes to another example's task.
            reuse: whether modules that the chosen tasks do not touch are spared a second run when
                their inputs are bit for bit those of the pass for features, as in front of the
                first block that a task changes. Modules must be functions of their inputs. Of no
                effect on compiled models.
            twin: whether features are taken on a copy of the base, made now, instead of on the
                model itself: twice the memory, and no way back to the base before each batch. Pays
                where the same task follows itself in small batches.
            prefix: see ``tvbank.attach``.
            names: see ``tvbank.attach``.
            resident_bytes: see ``tvbank.attach``.
            looks: tasks that an example may run under, with ``mode="top1"``: another likely task is
                tried where the router's posterior of it is above the first one's times how sure its
                answer is, and the answer that is more probably right stays.
            surety: called with what the model returned for some examples and the name of the task
                that it was; returns how sure each answer is, [n], 0..1. By default the largest
                softmax probability of logits [n, classes]. For ``looks``.

        Raises:
            TaskNotFoundError: the router knows tasks that the bank lacks; names them.
            RouterNotFoundError: the bank has no router of that name.
            UsageError: an argument out of its range, or the model is in training mode.
            BaseMismatchError, CheckpointError: as ``tvbank.attach``.
        """
        if mode not in MODES:
            raise UsageError(f"mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}")
        if outputs not in _OUTPUTS:
            shown = ", ".join(map(repr, _OUTPUTS))
            raise UsageError(f"outputs must be one of {shown}, got {outputs!r}")
        if not isinstance(looks, int) or looks < 1 or (looks > 1 and mode != "top1"):
            raise UsageError(
                f"looks= is 1 or more tasks an example, and above 1 for mode='top1' alone; got "
                f"{looks!r} with {mode!r}"
            )
        bank = bank_for(model, bank)
        _check_evaluating(model)
        self._looks, self._surety = looks, surety or largest_probability
        self._cascade = cascade_of(bank, router, pool)
        self._model, self._bank, self.mode = model, bank, mode
        self._outputs, self._pool = outputs, pool
        self.switch = attach(model, bank, prefix=prefix, names=names, resident_bytes=resident_bytes)
        try:
            self._base = copy.deepcopy(model) if twin else model
            self._reuse = Reuse(model, self._base, bank, self.switch.names_of, enabled=reuse)
        except BaseException:
            self.switch.close()
            raise
        usual = call_without_cache if takes(model, "use_cache") else call_model
        self._tapping = Tapping(forward or usual, trim, self._reuse.recording)
        self._axes = Axes()
        self.last: Routing | None = None
        self._lock = threading.RLock()
        self._closed = False

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that inputs are routed to."""
        return self._cascade.tasks

    def __call__(self, inputs: Inputs | None = None, /, **named: Any) -> Any:
        """Run the model on a batch, each example under its own weights.

        Args:
            inputs: a tensor, or a mapping with tensors, examples along dimension 0.
            named: the same by keywords.

        Returns:
            What the model returns, in the order of the inputs; a list if ``outputs="list"``. If all
            examples need the same weights, it is the model's own output, whatever that is; else
            every tensor in it must have the examples along dimension 0 alone. The first call with
            groups of equal size finds that out by running one of them once more.

        Raises:
            UsageError: inputs without examples or of different numbers, outputs that cannot be put
                together, or a model that others have changed, see ``Switch``.
            UnitMismatchError, NonFiniteError, CorruptionError, StorageError: as ``Switch.to``.
        """
        batch = _batch(inputs, named)
        with self._lock, torch.no_grad():
            self._check()
            try:
                decision = self._decide(batch)
                weights, lead = followed(decision.weights, decision.top, self.mode)
                groups = groups_of(weights, lead, self.tasks, self.switch.active)
                parts = self._run_all(batch, groups)
                labels, runs, again = [group.label for group in groups], len(groups), 0
                if self._looks > 1:
                    looked = look_again(
                        parts, groups, decision.likely, lead, self.tasks, self._looks,
                        self._surety, partial(self._run_all, batch),
                    )  # fmt: skip
                    parts, labels, lead = looked.parts, looked.labels, looked.lead
                    runs, again = looked.runs, looked.again
                    weights = one_task_each(lead, len(self.tasks))
                if self._outputs == "list":
                    joined: Any = listed(parts, batch.size)
                else:
                    joined = stack(parts, batch.size, labels)
            except BaseException:
                self._leave_as_base()
                raise
            finally:
                saved = self._reuse.forget()
            self.last = routing_of(decision, self.tasks, weights, lead, runs, saved, again)
            return joined

    def generate(self, inputs: Inputs | None = None, /, **named: Any) -> Any:
        """Generate under each prompt's own task, as the model's ``generate`` of transformers does.

        Each prompt is routed once, by what it says before anything is generated; prompts of one
        task are generated together, with a cache of their own.

        Args:
            inputs: the model's main input, such as ``input_ids`` [n, length], or a mapping of
                inputs by name, such as a tokenizer returns.
            named: inputs by name, each with the n prompts along dimension 0, and whatever else
                ``generate`` takes, the same for all prompts.

        Returns:
            The sequences in the order of the prompts, padded on the right as ``generate`` pads
            what ends early; if ``outputs="list"``, one tensor [sequences, length] a prompt. If all
            prompts need the same weights, what the model returns, whatever that is.

        Raises:
            UsageError: no prompts, a cache among the inputs, a model that cannot generate, more
                than sequences asked for of prompts of several tasks; or as of a call.
            UnitMismatchError, NonFiniteError, CorruptionError, StorageError: as ``Switch.to``.
        """
        prompts = prompts_of(self._model, inputs, named)
        with self._lock, torch.no_grad():
            self._check()
            try:
                decision = self._decide(prompts.features(self._model))
                self._reuse.forget()  # a module that is not run would not fill its cache
                weights, lead = followed(decision.weights, decision.top, self.mode)
                groups = groups_of(weights, lead, self.tasks, self.switch.active)
                parts = []
                for group in groups:
                    self._become(group)
                    taken = prompts.batch.take(group.rows)
                    parts.append((group.rows, self._model.generate(**taken, **prompts.options)))  # type: ignore[operator]
                if self._outputs == "list":
                    joined: Any = prompts.listed(parts)
                else:
                    joined = prompts.joined(parts, self._model)
            except BaseException:
                self._leave_as_base()
                raise
            finally:
                self._reuse.forget()
            self.last = routing_of(decision, self.tasks, weights, lead, len(groups), 0)
            return joined

    def route(self, inputs: Inputs | None = None, /, **named: Any) -> Routing:
        """Where a batch would go, without running it. Arguments and errors as of a call."""
        batch = _batch(inputs, named)
        with self._lock, torch.no_grad():
            self._check()
            try:
                decision = self._decide(batch)
            except BaseException:
                self._leave_as_base()
                raise
            finally:
                self._reuse.forget()
            followed_weights, lead = followed(decision.weights, decision.top, self.mode)
            return routing_of(decision, self.tasks, followed_weights, lead, 0, 0)

    def prefetch(self, *tasks: str) -> None:
        """Read tasks into memory, by default all that the router knows; see ``Switch.prefetch``."""
        with self._lock:
            self._check()
            self.switch.prefetch(*(tasks or self.tasks))

    def close(self) -> None:
        """Restore the base; the model is no longer used, and can be attached to again.

        Raises:
            UsageError: others have changed the model meanwhile, see ``Switch.close``.
        """
        with self._lock:
            self.switch.close()
            self._closed = True

    def __enter__(self) -> AutoSwitch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise UsageError(
            "an AutoSwitch belongs to its model and cannot be copied or pickled: pickle the bank, "
            "and make another one there"
        )

    def __repr__(self) -> str:
        return f"AutoSwitch({self._bank.location!r}, {len(self.tasks)} tasks, mode={self.mode!r})"

    def _decide(self, batch: Batch) -> Decision:
        if self._base is self._model:
            self.switch.off()  # features are the base's
        return decide(self._base, self._cascade, batch, self._tapping, self._pool)

    def _become(self, group: Group) -> None:
        if group.tasks is None:
            self.switch.off()
        else:
            self.switch.to(group.tasks, heads=group.heads)

    def _run_all(self, batch: Batch, groups: Sequence[Group]) -> list[Part]:
        """Every group's output; several groups, and several looks, show where examples lie."""
        for name in {name for group in groups for name in group.names}:
            self._reuse.learn(name)
        parts = [self._run(batch, group) for group in groups]
        apart = len(parts) > 1 or self._looks > 1 or self._outputs == "list"
        if apart and batch.size > 1:
            taken = self._taken(batch, groups[-1])
            self._axes.show(parts, taken, partial(self._tapping.forward, self._model))
        return parts

    def _run(self, batch: Batch, group: Group) -> Part:
        self._become(group)
        taken = self._taken(batch, group)
        with self._reuse.replaying(group.names, group.rows):
            return group.rows, self._tapping.forward(self._model, taken)

    def _taken(self, batch: Batch, group: Group) -> Any:
        taken = batch.take(group.rows)
        trim = self._tapping.trim
        return taken if trim is None else without_padding(taken, trim)

    def _check(self) -> None:
        if self._closed:
            raise UsageError("this AutoSwitch is closed: make another one")
        _check_evaluating(self._model)

    def _leave_as_base(self) -> None:
        """Restore the base as far as possible; the caller raises the error that came first."""
        with suppress(TvbankError):
            self.switch.off(force=True)


def _batch(inputs: Inputs | None, named: Mapping[str, Any]) -> Batch:
    if inputs is None:
        return Batch(named)
    if named:
        raise UsageError("give inputs either as one argument or by name, not both")
    return Batch(inputs)


def _check_evaluating(model: torch.nn.Module) -> None:
    if model.training:
        raise UsageError(
            "the model is in training mode, in which its outputs may be random and its buffers "
            "change: call model.eval() first"
        )
