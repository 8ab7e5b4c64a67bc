"""Modules that would return in the second pass what they returned in the first are not run again.

Routing runs the base up to a layer. Modules that the chosen tasks do not touch, and whose inputs
are bit for bit those of that pass, would return what they returned then: for a task that leaves
embeddings and first blocks alone, computing starts after them. The user does not say where that
is: the bank knows which units a task touches, and a module's inputs are compared when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from tvbank.bank.bank import Bank


@final
@dataclass(frozen=True)
class Call:
    """What a module was given and what it returned.

    Attributes:
        rows: int64 [m], the examples of the batch that it was called with, ascending.
        given: copies of positional arguments, and of those by name.
        returned: a copy.
    """

    rows: NDArray[np.int64]
    given: Any
    returned: Any

    def answer(self, rows: NDArray[np.int64], args: Any, kwargs: Any) -> tuple[Any, bool] | None:
        """What the module returns for some of the examples, if its arguments are theirs.

        Returns:
            The output, for the caller to change as it likes, and whether it was made by taking some
            rows of what was returned, which is right only if those are the examples; or ``None``.
        """
        place = np.searchsorted(self.rows, rows)
        if (place >= len(self.rows)).any() or (self.rows[place] != rows).any():
            return None
        index = None if len(rows) == len(self.rows) else torch.from_numpy(place)
        by_example = [False]
        if not self._matches(self.given, (args, kwargs), index, by_example):
            return None
        if index is None or not by_example[0]:
            return _mapped(self.returned, torch.clone), False
        return _mapped(self.returned, lambda tensor: _picked(tensor, index)), True

    def _matches(
        self, stored: Any, given: Any, index: torch.Tensor | None, by_example: list[bool]
    ) -> bool:
        """Whether an argument is what it was; sets ``by_example[0]`` if it has a row an example."""
        if isinstance(stored, torch.Tensor):
            if not isinstance(given, torch.Tensor) or stored.device != given.device:
                return False
            if stored.dtype != given.dtype or stored.shape[1:] != given.shape[1:]:
                return False
            if stored.ndim and len(stored) == len(self.rows):
                wanted = (
                    stored if index is None else stored.index_select(0, index.to(stored.device))
                )
                if wanted.shape == given.shape and torch.equal(wanted, given):
                    by_example[0] = True
                    return True
            return stored.shape == given.shape and torch.equal(stored, given)
        if isinstance(stored, (tuple, list)):
            return (
                type(given) is type(stored)
                and len(given) == len(stored)
                and all(
                    self._matches(one, other, index, by_example)
                    for one, other in zip(stored, given, strict=True)
                )
            )
        if isinstance(stored, dict):
            return (
                isinstance(given, dict)
                and stored.keys() == given.keys()
                and all(self._matches(stored[k], given[k], index, by_example) for k in stored)
            )
        return type(given) is type(stored) and bool(given == stored)


@final
class Reuse:
    """Remembers, for the length of a call, the outputs of modules that tasks leave alone."""

    def __init__(
        self,
        model: torch.nn.Module,
        base: torch.nn.Module,
        bank: Bank,
        names_of: Callable[[str], Iterable[str]],
        *,
        enabled: bool,
    ) -> None:
        """Prepare for a model that is the base now.

        Args:
            model: that takes on tasks.
            base: on which features are taken: the model itself, or a copy of it.
            bank: whose tasks it takes on.
            names_of: see ``Switch.names_of``.
            enabled: whether anything is to be remembered at all.
        """
        self._model, self._bank = model, bank
        state = model.state_dict(keep_vars=True)
        self._names_of = names_of
        self._memory = {name: _memory(tensor) for name, tensor in state.items()}
        self._holds = {module: _holds(module) for module in model.modules()}
        self._copies = dict(zip(model.modules(), base.modules(), strict=True))
        self._touched: dict[tuple[str, str], frozenset[int]] = {}
        #: Whether the rows of a module's outputs are examples: its first answer of some is checked.
        self._by_example: dict[torch.nn.Module, bool] = {}
        self._calls: dict[torch.nn.Module, list[Call]] = {}
        # Compiled code does not look a module's forward up at each call.
        self._works = enabled and not any(
            hasattr(module, "_orig_mod") or isinstance(module, torch.jit.ScriptModule)
            for module in model.modules()
        )
        self._saved = 0

    def learn(self, task: str) -> None:
        """Find out which of the model's memory a task touches; once for each revision.

        Raises:
            CorruptionError, StorageError: the task cannot be read.
        """
        key = (task, self._bank[task].revision)
        if key in self._touched or not self._works:
            return
        stored = self._bank[task].by_shard()
        units = [name for name in stored if next(iter(stored.frames(name)), None) is not None]
        aliases = self._bank.layout.aliases
        names = {alias for name in units for alias in (name, *aliases.get(name, ()))}
        names.update(stored.extras)
        touched = (self._memory.get(place) for name in names for place in self._names_of(name))
        self._touched[key] = frozenset(memory for memory in touched if memory is not None)

    def forget(self) -> int:
        """Drop the remembered calls; returns how many calls were answered from them."""
        saved, self._calls, self._saved = self._saved, {}, 0
        return saved

    @contextmanager
    def recording(self, rows: NDArray[np.int64], at: Sequence[str]) -> Iterator[None]:
        """Remember what happens in a pass over some examples, at the base.

        Args:
            rows: int64, the examples.
            at: names of modules, of which the last one ends the pass: modules around them do not
                return.
        """
        around = {name[:end] for name in at for end, sign in enumerate(name) if sign == "."} | {""}
        skipped = {module for name, module in self._model.named_modules() if name in around}
        worth = {
            module
            for touched in set(self._touched.values())
            for module in self._untouched(touched, lambda module: module not in skipped)
        }
        with ExitStack() as hooks:
            for module in worth:
                kept = self._calls.setdefault(module, [])
                keep = partial(_keep, kept, rows)
                hook = self._copies[module].register_forward_hook(keep, with_kwargs=True)
                hooks.callback(hook.remove)
            yield

    @contextmanager
    def replaying(self, tasks: frozenset[str], rows: NDArray[np.int64]) -> Iterator[None]:
        """Answer calls of modules that the tasks do not touch from memory, where that is the same.

        Args:
            tasks: those that the model now holds, for their weights or heads.
            rows: int64, the examples that it will be called with.
        """
        keys = [(task, self._bank[task].revision) for task in tasks]
        if not self._calls or any(key not in self._touched for key in keys):
            yield
            return
        touched = frozenset[int]().union(*(self._touched[key] for key in keys))
        with ExitStack() as stack:
            for module in self._untouched(touched, lambda module: bool(self._calls.get(module))):
                self._answer(module, rows, stack)
            yield

    def _answer(self, module: torch.nn.Module, rows: NDArray[np.int64], stack: ExitStack) -> None:
        compute, calls = module.forward, self._calls[module]

        def forward(*args: Any, **kwargs: Any) -> Any:
            for call in calls:
                answer = call.answer(rows, args, kwargs)
                if answer is None:
                    continue
                output, picked = answer
                if picked and module not in self._by_example:
                    computed = compute(*args, **kwargs)
                    self._by_example[module] = _agree(output, computed)
                    return computed
                if not picked or self._by_example[module]:
                    self._saved += 1
                    return output
            return compute(*args, **kwargs)

        own = vars(module)
        if "forward" in own:
            stack.callback(own.__setitem__, "forward", own["forward"])
        else:
            stack.callback(own.pop, "forward", None)
        own["forward"] = forward

    def _untouched(
        self, touched: frozenset[int], serves: Callable[[torch.nn.Module], bool]
    ) -> list[torch.nn.Module]:
        """The largest modules that serve, have parameters, and of which nothing is touched."""
        largest: list[torch.nn.Module] = []

        def look(module: torch.nn.Module) -> None:
            holds = self._holds.get(module)
            if not holds:
                return  # no parameters, or not there when the bank was attached
            if touched.isdisjoint(holds) and _is_called(module) and serves(module):
                largest.append(module)
                return
            for child in module.children():
                look(child)

        if self._works:
            look(self._model)
        return list(dict.fromkeys(largest))


def _keep(
    kept: list[Call],
    rows: NDArray[np.int64],
    _: torch.nn.Module,
    args: Any,
    named: Any,
    output: Any,
) -> None:
    """The hook that remembers a call."""
    if (call := record(rows, args, named, output)) is not None:
        kept.append(call)


def _is_called(module: torch.nn.Module) -> bool:
    """Whether a module can be called: a list of modules cannot."""
    return type(module).forward is not torch.nn.Module.forward


def _holds(module: torch.nn.Module) -> frozenset[int]:
    """The memory of a module with parameters, buffers included; nothing of one without."""
    parameters = [_memory(tensor) for tensor in module.parameters()]
    if not parameters:
        return frozenset()
    return frozenset(parameters).union(_memory(tensor) for tensor in module.buffers())


def _memory(tensor: torch.Tensor) -> int:
    """Where a tensor lies: tensors that share memory have it in common."""
    return tensor.untyped_storage().data_ptr()


def record(rows: NDArray[np.int64], args: Any, kwargs: Any, output: Any) -> Call | None:
    """Remember a call, unless there is more to it than tensors, numbers and text.

    Copies are kept: later modules may write to its tensors.
    """
    if not (_is_plain((args, kwargs)) and _is_plain(output)):
        return None
    given, tensors = list(_tensors((args, kwargs))), list(_tensors(output))
    several = any(tensor.ndim and len(tensor) == len(rows) for tensor in given)
    if several and any(not tensor.ndim or len(tensor) != len(rows) for tensor in tensors):
        return None  # which rows of the output belong to which example is unknown
    return Call(rows, _mapped((args, kwargs), torch.clone), _mapped(output, torch.clone))


def _agree(answered: Any, computed: Any) -> bool:
    """Whether an answer is what the module returns, but for how sums are rounded."""
    here, there = list(_tensors(answered)), list(_tensors(computed))
    return len(here) == len(there) and all(
        one.shape == other.shape
        and one.dtype == other.dtype
        and (torch.equal(one, other) or _nearly_equal(one.float(), other.float()))
        for one, other in zip(here, there, strict=True)
    )


def _nearly_equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    scale = float(one.abs().max()) if one.numel() else 0.0
    return torch.allclose(one, other, rtol=1e-2, atol=1e-2 * scale, equal_nan=True)


def _picked(tensor: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    return tensor.index_select(0, index.to(tensor.device))


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return type(value) in (tuple, list) and all(map(_is_plain, value))
    if isinstance(value, dict):
        return type(value) is dict and all(map(_is_plain, value.values()))
    return value is None or isinstance(value, (torch.Tensor, bool, int, float, str))


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


def _mapped(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same containers with other tensors."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)(_mapped(item, change) for item in value)
    if isinstance(value, dict):
        return {name: _mapped(item, change) for name, item in value.items()}
    return value
