"""The model that learns: a clone that shares the user's tensors and is given other weights.

The user's module is never touched, not even if learning is interrupted: the clone has its own
modules around the same tensors, and other weights are given to each call.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, final

import torch
from numpy.typing import NDArray
from torch import nn

from tvbank.compress import Pairs
from tvbank.errors import BaseMismatchError, UnitMismatchError, UsageError, name_units
from tvbank.flexswitch._inputs import Inputs
from tvbank.flexswitch._lending import Lending
from tvbank.flexswitch._recompute import recompute_blocks
from tvbank.merging.tensor import to_torch
from tvbank.naming import Located, Part, assembled, locate, shape_of

#: Outputs of a model for some examples, each [examples, rows, classes].
Outputs = tuple[torch.Tensor, ...]

#: The output that is compared unless others are named.
LOGITS: Final = "logits"

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


@final
class _Called(nn.Module):
    """A model and the function that runs it, as one module."""

    def __init__(self, model: nn.Module, forward: Forward, outputs: Sequence[str]) -> None:
        super().__init__()
        self.model, self._forward, self._outputs = model, forward, tuple(outputs)

    def forward(self, batch: Any) -> tuple[torch.Tensor, ...]:
        returned = self._forward(self.model, batch)
        return tuple(self._output(returned, name) for name in self._outputs)

    def _output(self, returned: Any, name: str) -> torch.Tensor:
        if isinstance(returned, Mapping):
            output = returned.get(name)
        else:
            alone = returned if self._outputs == (LOGITS,) else None
            output = getattr(returned, name, alone)
        if isinstance(output, torch.Tensor) and output.ndim:
            return output
        if self._outputs != (LOGITS,):
            what = "tensors" if not isinstance(returned, Mapping) else ", ".join(returned)
            raise UsageError(
                f"the model returns no tensor called {name!r} (it returns a "
                f"{type(returned).__name__} of {what}): outputs= names what it returns"
            )
        raise UsageError(
            "forward must return logits, a tensor [batch, classes], not a "
            f"{type(returned).__name__}: give FlexSwitch forward=… (--model a callable that "
            "returns such a module), or outputs= the names of what the model returns"
        )


@final
class Student:
    """Runs the model with given weights of the base's units.

    Attributes:
        units: the model's own tensors, by the bank's name of the unit.
        buffers: the units that are buffers of the model, which need not allow a gradient.
    """

    def __init__(
        self,
        model: nn.Module,
        forward: Forward,
        pairs: Pairs,
        outputs: Sequence[str] = (LOGITS,),
        *,
        recompute: bool = False,
        lend: bool = False,
    ) -> None:
        """Find the units in a model, and clone it.

        Args:
            model: the base.
            forward: runs it.
            pairs: the base and the fine-tune.
            outputs: names of what it returns.
            recompute: whether activations within blocks are computed again for the gradient.
            lend: whether modules have their weights only while they run, see ``lends``.

        Raises:
            BaseMismatchError: the model lacks units of the base, or has other weights.
            UsageError: several prefixes fit; the model cannot be copied.
        """
        buffers = dict(model.named_buffers(remove_duplicate=False))
        tensors: dict[str, torch.Tensor] = {
            **dict(model.named_parameters(remove_duplicate=False)),
            **buffers,
        }
        units = [[unit.name, *pairs.aliases.get(unit.name, ())] for unit in pairs.units]
        self._tensors = tensors
        shapes = {unit.name: unit.shape for unit in pairs.units}
        located = (
            locate({names[0]: names for names in units}, model, tensors, shapes=shapes)
            if units
            else None
        )
        parts = {} if located is None else located.parts
        self._places = {
            names[0]: [parts[name] for name in names if name in parts] for names in units
        }
        if missing := [unit for unit, places in self._places.items() if not places]:
            raise BaseMismatchError(f"the model lacks {name_units(missing)} of the base", missing)
        self.units = {
            unit: assembled(
                [(part.of(tensors), part.at) for part in places[0]],
                shape_of(places[0], tensors, shapes[unit]),
            )
            for unit, places in self._places.items()
        }
        self.buffers = {
            unit
            for unit, places in self._places.items()
            if all(part.name in buffers for parts in places for part in parts)
        }
        _check(pairs, self.units)
        self._kept = _kept(pairs, tensors, located)
        clone = _clone(model)
        scripted = any(isinstance(each, torch.jit.ScriptModule) for each in clone.modules())
        self._lending = Lending(clone, tensors, self._places) if lend and not scripted else None
        if recompute:
            recompute_blocks(clone)
        self._called = _Called(clone, forward, outputs)
        self._device = next(iter(tensors.values())).device if tensors else torch.device("cpu")

    @property
    def lends(self) -> bool:
        """Whether weights are looked up when a module runs, and again for its gradient.

        Then they need not exist at the same time.
        """
        return self._lending is not None

    def lend_no_more(self) -> None:
        """Take all weights before a run from here on."""
        if self._lending is not None:
            self._lending.end()
            self._lending = None

    def run(
        self,
        weights: Mapping[str, torch.Tensor],
        inputs: Inputs,
        chosen: Any,
        again: Mapping[str, torch.Tensor] | None = None,
    ) -> Outputs:
        """Outputs of some examples with the given weights, each [examples, rows, classes].

        Rows are tokens, or whatever an example has several of.

        Args:
            weights: of every unit, by the bank's name.
            inputs: of all examples.
            chosen: their indices, or a slice.
            again: the same weights, of which gradients do not keep those that modules were lent.

        Raises:
            UsageError: an output is no whole number of rows an example.
        """
        given: dict[str, torch.Tensor] = {}
        lending = self._lending
        for unit, parts in () if lending else self._places.items():
            for part in (part for each in parts for part in each):
                key = f"model.{part.name}"
                whole = given.get(key, self._tensors[part.name])
                given[key] = part.replaced(whole, weights[unit])
        given |= {f"model.{place}": tensor for place, tensor in self._kept.items()}
        if isinstance(inputs, torch.Tensor):
            batch: Any = inputs[chosen].to(self._device)
            count = len(batch)
        else:
            batch = {name: tensor[chosen].to(self._device) for name, tensor in inputs.items()}
            count = len(next(iter(batch.values())))
        if lending is None:
            outputs = torch.func.functional_call(self._called, given, (batch,))
        else:
            lending.lend(weights, weights if again is None else again)
            with torch.autograd.graph.saved_tensors_hooks(lending.pack, lending.unpack):
                outputs = torch.func.functional_call(self._called, given, (batch,))
        return tuple(_by_example(output, count) for output in outputs)


def _by_example(output: torch.Tensor, count: int) -> torch.Tensor:
    """An output as [examples, rows, classes]; some models return the rows of all in a row."""
    flat = output.reshape(len(output), -1) if output.ndim < 2 else output.flatten(0, -2)
    if not count or len(flat) % count:
        raise UsageError(
            f"forward gives {len(flat)} rows of logits for {count} examples; it must give "
            "[batch, classes], or [batch, tokens, classes]"
        )
    return flat.view(count, -1, flat.shape[-1])


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
    configured = getattr(clone, "config", None)
    if getattr(configured, "use_cache", False):  # a cache serves generation only
        configured.use_cache = False  # type: ignore[union-attr]
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
        parts = (Part(name),) if located is None else located.find(name, tensors)
        if not parts or parts[0].window is not None or parts[0].name not in tensors:
            continue
        place = parts[0].name
        tuned = to_torch(pairs.read_whole(name))
        if tuned.shape != tensors[place].shape:
            raise UnitMismatchError(
                f"unit {name!r} has the shape {list(tuned.shape)} in the fine-tune and "
                f"{list(tensors[place].shape)} in the model: give a model with the fine-tune's head"
            )
        kept[place] = tuned.to(tensors[place].device, tensors[place].dtype)
    return kept
