"""Weights that a model has only while a module runs, made unit by unit, and again for gradients.

Between runs a module's tensors have shapes and no numbers: code that reads them past the module's
own call raises an error, instead of seeing the base's weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import nn

from tvbank.naming import Part, Parts

#: The weights of every unit, by the bank's name; each look-up makes them.
Source = Mapping[str, torch.Tensor]


class _Held(NamedTuple):
    """A tensor of a module that units make up."""

    table: dict[str, Any]
    name: str
    own: torch.Tensor
    empty: torch.Tensor


class _Saved(NamedTuple):
    """What autograd keeps instead of a weight: how to make it again."""

    source: Source
    unit: str
    size: torch.Size
    stride: tuple[Any, ...]
    offset: Any


@final
class Lending:
    """Lends a clone its weights, module by module."""

    def __init__(
        self, model: nn.Module, tensors: Mapping[str, torch.Tensor],
        places: Mapping[str, Sequence[Parts]],
    ) -> None:  # fmt: skip
        """Take the units' tensors out of a model.

        Args:
            model: a clone around the same tensors, of the caller's.
            tensors: all of them, by name.
            places: where each unit is.
        """
        self._source: Source | None = None
        self._again: Source | None = None
        self._parts: dict[int, dict[tuple[Any, ...], Part]] = {}
        for unit, some in places.items():
            for part in (part for parts in some for part in parts):
                named = self._parts.setdefault(id(tensors[part.name]), {})
                named.setdefault((unit, part.window, part.at), part)
        self._alive: dict[int, str] = {}
        self._held: list[_Held] = []
        self._handles: list[Any] = []
        for module in model.modules():
            held = [
                _Held(table, name, own, _empty(own))
                for table in (module._parameters, module._buffers)
                for name, own in table.items()
                if own is not None and id(own) in self._parts
            ]
            if held:
                self._held += held
                self._handles += [
                    module.register_forward_pre_hook(lambda *_, held=held: self._lend(held)),
                    module.register_forward_hook(
                        lambda *_, held=held: self._take_back(held), always_call=True
                    ),
                ]
        for each in self._held:
            each.table[each.name] = each.empty

    def lend(self, source: Source, again: Source) -> None:
        """Make weights from here on as a source says, until another one is lent.

        Args:
            source: for the modules; gradients flow to it.
            again: the same numbers, for what autograd needs of them.
        """
        self._source, self._again = source, again

    def end(self) -> None:
        """Give the model its tensors back for good."""
        for handle in self._handles:
            handle.remove()
        for each in self._held:
            each.table[each.name] = each.own

    def pack(self, tensor: torch.Tensor) -> Any:
        """What autograd shall keep of a tensor; see ``torch.autograd.graph``."""
        unit = self._alive.get(tensor.untyped_storage().data_ptr())
        if unit is None or self._again is None:
            return tensor
        return _Saved(self._again, unit, tensor.size(), tensor.stride(), tensor.storage_offset())

    @staticmethod
    def unpack(kept: Any) -> torch.Tensor:
        """The tensor of which autograd kept something."""
        if isinstance(kept, _Saved):
            return kept.source[kept.unit].as_strided(kept.size, kept.stride, kept.offset)
        tensor: torch.Tensor = kept
        return tensor

    def _lend(self, held: Sequence[_Held]) -> None:
        assert self._source is not None
        for each in held:
            parts = self._parts[id(each.own)]
            whole = each.own
            for (unit, window, _), part in parts.items():
                made = self._source[unit]
                whole = part.replaced(whole, made)
                if window is None:
                    self._alive[made.untyped_storage().data_ptr()] = unit
            each.table[each.name] = whole

    def _take_back(self, held: Sequence[_Held]) -> None:
        for each in held:
            lent = each.table[each.name]
            self._alive.pop(lent.untyped_storage().data_ptr() if lent is not each.empty else 0, "")
            each.table[each.name] = each.empty


class _Absent(torch.Tensor):
    """A tensor of which only attributes can be read: anything else raises ``RuntimeError``."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") not in _READ:
            raise RuntimeError("a module's weights were read past its call")
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


#: Attributes are read by ``__get__``.
_READ = frozenset({"__get__", "size", "dim", "numel", "is_floating_point", "is_complex"})


def _empty(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of the same shape, type and device, without memory of its own."""
    one = torch.empty((), dtype=tensor.dtype, device=tensor.device)
    empty: torch.Tensor = one.expand(tensor.shape).as_subclass(_Absent)
    return empty
