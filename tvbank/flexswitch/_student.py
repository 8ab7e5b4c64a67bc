"""The model that learns: a clone that shares the user's tensors and is given other weights.

The user's module is never touched, not even if learning is interrupted: the clone has its own
modules around the same tensors, and other weights are given to each call.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from numpy.typing import NDArray
from torch import nn

from tvbank.compress import Pairs
from tvbank.errors import BaseMismatchError, UnitMismatchError, UsageError, name_units
from tvbank.merging.tensor import to_torch
from tvbank.naming import Located, Part, locate

#: The inputs of a model: a tensor, or tensors by name; examples along dimension 0.
Inputs = torch.Tensor | dict[str, torch.Tensor]

#: Runs a model on a batch of inputs; returns logits [batch, …, classes].
Forward = Callable[[nn.Module, Any], Any]


def call(model: nn.Module, batch: Any) -> Any:
    """The default ``forward``: ``model(batch)``, or ``model(**batch)`` for tensors by name.

    Raises:
        UsageError: the model takes no such arguments.
    """
    named = isinstance(batch, Mapping)
    try:
        return model(**batch) if named else model(batch)
    except TypeError as error:
        given = f"inputs named {', '.join(map(repr, batch))}" if named else "one tensor"
        raise UsageError(
            f"the model cannot be called with {given}: {error}; name the inputs as its own "
            "call does, or give a forward function"
        ) from error


def count_examples(inputs: Any) -> int:
    """Number of examples.

    Raises:
        UsageError: not a tensor nor a dict of tensors of equal length.
    """
    tensors = list(inputs.values()) if isinstance(inputs, Mapping) else [inputs]
    if not tensors or not all(isinstance(t, torch.Tensor) and t.ndim for t in tensors):
        raise UsageError(
            "inputs must be a tensor, or a dict of tensors, with the examples along dimension 0"
        )
    lengths = {len(tensor) for tensor in tensors}
    if len(lengths) > 1:
        shown = ", ".join(f"{name!r}: {len(t)}" for name, t in inputs.items())
        raise UsageError(f"the inputs have different numbers of examples ({shown})")
    return lengths.pop()


@final
class _Called(nn.Module):
    """A model and the function that runs it, as one module."""

    def __init__(self, model: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.model, self._forward = model, forward

    def forward(self, batch: Any) -> torch.Tensor:
        returned = self._forward(self.model, batch)
        logits = getattr(returned, "logits", returned)
        if not isinstance(logits, torch.Tensor) or logits.ndim < 1:
            raise UsageError(
                "forward must return logits, a tensor [batch, classes], not a "
                f"{type(returned).__name__}: give FlexSwitch forward=… (--model a callable that "
                "returns such a module)"
            )
        return logits.reshape(len(logits), -1) if logits.ndim < 2 else logits.flatten(0, -2)


@final
class Student:
    """Runs the model with given weights of the base's units.

    Attributes:
        units: the model's own tensors, by the bank's name of the unit.
    """

    def __init__(self, model: nn.Module, forward: Forward, pairs: Pairs) -> None:
        """Find the units in a model, and clone it.

        Raises:
            BaseMismatchError: the model lacks units of the base, or has other weights.
            UsageError: several prefixes fit; the model cannot be copied.
        """
        tensors: dict[str, torch.Tensor] = {
            **dict(model.named_parameters(remove_duplicate=False)),
            **dict(model.named_buffers(remove_duplicate=False)),
        }
        units = [[unit.name, *pairs.aliases.get(unit.name, ())] for unit in pairs.units]
        self._tensors = tensors
        located = locate({names[0]: names for names in units}, model, tensors) if units else None
        parts = {} if located is None else located.parts
        self._places = {
            names[0]: [parts[name] for name in names if name in parts] for names in units
        }
        if missing := [unit for unit, places in self._places.items() if not places]:
            raise BaseMismatchError(f"the model lacks {name_units(missing)} of the base", missing)
        self.units = {unit: places[0].of(tensors) for unit, places in self._places.items()}
        _check(pairs, self.units)
        self._kept = _kept(pairs, tensors, located)
        self._called = _Called(_clone(model), forward)
        self._device = next(iter(tensors.values())).device if tensors else torch.device("cpu")

    def run(self, weights: Mapping[str, torch.Tensor], inputs: Inputs, chosen: Any) -> torch.Tensor:
        """Logits [rows, classes] of some examples with the given weights.

        Args:
            weights: of every unit, by the bank's name.
            inputs: of all examples.
            chosen: their indices, or a slice.
        """
        given: dict[str, torch.Tensor] = {}
        for unit, parts in self._places.items():
            for part in parts:
                key = f"model.{part.name}"
                whole = given.get(key, self._tensors[part.name])
                given[key] = part.replaced(whole, weights[unit])
        given |= {f"model.{place}": tensor for place, tensor in self._kept.items()}
        if isinstance(inputs, torch.Tensor):
            batch: Any = inputs[chosen].to(self._device)
        else:
            batch = {name: tensor[chosen].to(self._device) for name, tensor in inputs.items()}
        logits: torch.Tensor = torch.func.functional_call(self._called, given, (batch,))
        return logits


def _clone(model: nn.Module) -> nn.Module:
    """Copies of all modules around the same tensors, in evaluation mode."""
    shared = {id(t): t for t in (*model.parameters(), *model.buffers())}
    try:
        clone = copy.deepcopy(model, dict(shared))
    except Exception as error:
        raise UsageError(
            f"the model cannot be copied ({type(error).__name__}: {error}): give the plain module, "
            "without wrappers that hold locks, files or graphs"
        ) from error
    return clone.eval()


def _check(pairs: Pairs, units: Mapping[str, torch.Tensor]) -> None:
    """Compare the model's tensors with the base's, in the element types of the model."""
    shapes = [unit.name for unit in pairs.units if tuple(units[unit.name].shape) != unit.shape]
    if shapes:
        raise BaseMismatchError(
            f"the model does not fit the bank's base: {name_units(shapes)} of another shape", shapes
        )
    integers = [name for name, tensor in units.items() if not tensor.is_floating_point()]
    if integers:
        raise BaseMismatchError(
            f"the model's {name_units(integers)} are not floats: give the model as it was "
            "fine-tuned, not quantised",
            integers,
        )
    others = [u.name for u in pairs.units if not _same(pairs.read(u.name)[0], units[u.name])]
    if others:
        raise BaseMismatchError(
            f"the model has other weights than the bank's base ({name_units(others)}): load the "
            "base into it",
            others,
        )


def _same(base: NDArray[Any], tensor: torch.Tensor) -> bool:
    wanted = to_torch(base).to(tensor.dtype)
    here = tensor.detach().to(wanted.device)
    return bool(((wanted == here) | (wanted.isnan() & here.isnan())).all())


def _kept(
    pairs: Pairs, tensors: Mapping[str, torch.Tensor], located: Located | None
) -> dict[str, torch.Tensor]:
    """Tensors that the task keeps whole and that the model has, by their places: heads, buffers."""
    kept: dict[str, torch.Tensor] = {}
    for name in pairs.whole:
        part = Part(name) if located is None else located.find(name, tensors)
        if part is None or part.window is not None or part.name not in tensors:
            continue
        place = part.name
        tuned = to_torch(pairs.read_whole(name))
        if tuned.shape != tensors[place].shape:
            raise UnitMismatchError(
                f"unit {name!r} has the shape {list(tuned.shape)} in the fine-tune and "
                f"{list(tensors[place].shape)} in the model: give a model with the fine-tune's head"
            )
        kept[place] = tuned.to(tensors[place].device, tensors[place].dtype)
    return kept
