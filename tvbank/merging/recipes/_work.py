"""What is to be done for a recipe, tensor by tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank._imports import needed_by
from tvbank.checkpoint import TensorSpec
from tvbank.dtypes import ELEMENT_TYPES
from tvbank.errors import NonFiniteError, PluginError, UnitMismatchError, UsageError
from tvbank.folders import Origin
from tvbank.merging._assemble import Finish
from tvbank.merging.recipes._layers import find_layers, layer_of
from tvbank.merging.recipes._models import Models
from tvbank.merging.recipes._plan import PlannedTensor
from tvbank.merging.recipes.method import Group, Input
from tvbank.merging.recipes.recipe import DTYPES, Recipe

if TYPE_CHECKING:
    import torch


@final
class Work:
    """The tensors of a result, and how each is made.

    Attributes:
        specs: of the result.
        layers: for each layer of the result the base's layer that it comes from; empty if there are
            as many.
        layers_before: how many layers the base has.
        resized: names of tensors that are not of the base's shape.
    """

    def __init__(
        self,
        recipe: Recipe,
        planned: Sequence[PlannedTensor],
        models: Models,
        units: Sequence[str],
        seed: int,
    ) -> None:
        """Compare shapes and element types of all inputs.

        Args:
            recipe: what is merged.
            planned: how each tensor is made.
            models: where the weights come from.
            units: names of the base's tensors.
            seed: of methods that draw.

        Raises:
            UnitMismatchError: see ``Models.check``.
            UsageError: a type in which nothing can be calculated.
        """
        self._recipe, self._models, self._seed = recipe, models, seed
        #: How a tensor is made, and the element type to calculate in; None for what is copied.
        self._planned: dict[str, tuple[PlannedTensor, str | None]] = {}
        self.specs: list[TensorSpec] = []
        for tensor in planned:
            given = models.check(tensor)
            dtype = self._calculated([spec.dtype for spec in given], tensor.name)
            written = (recipe.out_dtype or dtype) if dtype else given[0].dtype
            self.specs.append(TensorSpec(tensor.name, written, given[0].shape))
            self._planned[tensor.name] = tensor, dtype
        self._specs = {spec.name: spec for spec in self.specs}
        self.layers_before, self.layers = _layers(units, planned)
        self.resized = {t.name for t, s in zip(planned, self.specs, strict=True)
                        if s.shape != models.base_shape(t.inputs[0].unit)}  # fmt: skip

    def _calculated(self, dtypes: Sequence[str], name: str) -> str | None:
        if not all(ELEMENT_TYPES[dtype].is_float for dtype in dtypes):
            return None
        dtype = self._recipe.dtype or promoted(dtypes)
        if dtype not in DTYPES:
            raise UsageError(
                f"unit {name!r} is {dtype}, in which nothing can be calculated: give the recipe a "
                "dtype, for instance 'dtype: bfloat16'"
            )
        return dtype

    def origin(self) -> Origin:
        """What the files of a folder say of where the result comes from."""
        recipe = self._recipe
        facts = [("method", recipe.method_name)]
        facts += [("merged", name) for name in self._models.tasks]
        written = {spec.dtype for spec in self.specs if ELEMENT_TYPES[spec.dtype].is_float}
        dtype = written.pop() if len(written) == 1 and (recipe.dtype or recipe.out_dtype) else ""
        title = " + ".join(self._models.tasks) or "base"
        return Origin(
            title, "merge", {}, facts, self.layers, self.layers_before, dtype, recipe.text
        )

    def size(self, spec: TensorSpec) -> int:
        """Bytes that one tensor of the result takes while it is made."""
        return spec.nbytes * (1 + len(self._planned[spec.name][0].inputs))

    def start(self, name: str) -> Finish:
        """Begin the work on one tensor of the result."""
        planned, dtype = self._planned[name]
        read = self._models.start(planned)
        if dtype is None:
            return lambda: _agreed(planned, read())
        return lambda: self._merged(planned, dtype, self._specs[name], read())

    def _merged(
        self, planned: PlannedTensor, dtype: str, spec: TensorSpec, arrays: list[NDArray[Any]]
    ) -> NDArray[Any]:
        import torch

        from tvbank.merging.tensor import from_torch, to_torch

        inputs = tuple(
            Input(each.model, each.unit, to_torch(array).to(getattr(torch, dtype)), each.settings)
            for each, array in zip(planned.inputs, arrays, strict=True)
        )
        base = None if planned.base is None else inputs[planned.base]
        merged = self._recipe.method.merge(Group(inputs, base, planned.settings, self._seed))
        if tuple(merged.shape) != spec.shape:
            raise PluginError(
                f"method {self._recipe.method_name} made {list(merged.shape)} of unit "
                f"{spec.name!r}, which is {list(spec.shape)}: its package must be corrected"
            )
        written = merged.to(getattr(torch, spec.dtype))
        _refuse_not_finite(spec.name, written, inputs)
        if any(written is each.weights for each in inputs):
            written = written.clone()  # the caller's base stays the caller's
        return from_torch(written.contiguous())


def _layers(units: Sequence[str], planned: Sequence[PlannedTensor]) -> tuple[int, tuple[int, ...]]:
    """How many layers the base has; and of each of the result's the base's, if not as many."""
    there = {stack.prefix: stack.count for stack in find_layers(units)[0]}
    sources = {tensor.name: tensor.inputs[0].unit for tensor in planned}
    for stack in find_layers(sources)[0]:
        before = there[stack.prefix]
        if stack.count == before:
            continue
        firsts = [next(iter(stack.layers[layer].values())) for layer in sorted(stack.layers)]
        return before, tuple(layer_of(sources[name]) for name in firsts)
    return 0, ()


def promoted(names: Sequence[str]) -> str:
    """The element type that several have in common, as torch says."""
    with needed_by("merging by a recipe"):
        import torch

    found: torch.dtype = getattr(torch, names[0])
    for name in names[1:]:
        found = torch.promote_types(found, getattr(torch, name))
    return str(found).removeprefix("torch.")


def _agreed(planned: PlannedTensor, arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """What holds no floats must be the same in all models; of a counter, the greatest is taken."""
    first = arrays[0]
    counters = all(array.size == 1 and array.dtype == first.dtype for array in arrays)
    if counters and first.dtype.kind in "iu":
        return np.asarray(np.maximum.reduce(arrays))
    for each, array in zip(planned.inputs, arrays, strict=True):
        if array.dtype != first.dtype or array.tobytes() != first.tobytes():
            raise UnitMismatchError(
                f"unit {each.unit!r} holds {array.dtype.name}, and in {each.model!r} others than "
                f"in {planned.inputs[0].model!r}: a recipe cannot merge it, nor does mergekit; "
                "tvbank merge BANK TASK=WEIGHT … chooses one"
            )
    return first.copy()


def _refuse_not_finite(name: str, merged: torch.Tensor, inputs: Sequence[Input]) -> None:
    bad = ~merged.isfinite()
    for each in inputs:
        if not bad.any():
            return
        bad &= each.weights.isfinite()
    if bad.any():
        raise NonFiniteError(
            f"unit {name!r}: a weight would become NaN or too large for "
            f"{str(merged.dtype).removeprefix('torch.')}; use other weights, or a dtype of a "
            "wider range"
        )
