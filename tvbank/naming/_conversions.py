"""What transformers' own conversion tables say: which tensor of a file is which part of a model.

``from_pretrained`` renames, fuses and stacks what a file holds; ``save_pretrained`` undoes it. Both
follow tables of patterns and operations (``transformers.conversion_mapping``). Here the names of
files go through the first, as if they were loaded; what was fused or stacked goes back through the
second, on the model's own tensors and without copies, so that what comes out are views.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, final

import torch

from tvbank.naming._window import Part, Window

__all__ = ["Conversions", "conversions_in"]


@final
class Conversions:
    """The conversion tables of one transformers model, which may be on the meta device.

    Attributes:
        path: the model's name within the whole one, with its dot; ``""`` for the whole.
        copied: names of files that ``parts`` was asked for, and which are no views of the model:
            what they were made into has been split or permuted; and by which operations.
    """

    def __init__(self, model: Any, tensors: Mapping[str, torch.Tensor], path: str = "") -> None:
        """Take a model.

        Args:
            model: a ``PreTrainedModel``.
            tensors: parameters and buffers of the whole model by name.
            path: of the model in it.
        """
        self.path, self._model = path, model
        self.copied: dict[str, str] = {}
        self._tensors = {
            name.removeprefix(path): tensor
            for name, tensor in tensors.items()
            if name.startswith(path)
        }

    def of(self, tensors: Mapping[str, torch.Tensor], path: str) -> Conversions:
        """The same model's tables for tensors under other names, and the model's path in them."""
        return Conversions(self._model, tensors, path)

    def parts(self, names: Iterable[str]) -> dict[str, Part]:
        """Where each of some names is in the model; those that it would not load are left out.

        Args:
            names: of the tensors of one checkpoint, all that are known: of a stack, a tensor's
                place is its place among those of its kind.
        """
        from transformers.core_model_loading import dot_natural_key, rename_source_key

        transforms = self._transforms()
        renamings = [each for each in transforms if not hasattr(each, "operations")]
        converters = [each for each in transforms if hasattr(each, "operations")]
        of_pattern = {pattern: each for each in converters for pattern in each.source_patterns}
        prefix: str = getattr(self._model, "base_model_prefix", "")
        found: dict[str, Part] = {}
        collected: dict[str, dict[str, list[str]]] = {}
        known: Any = self._tensors
        plain = filter(str.isascii, names)  # the key below cannot sort the digits of all scripts
        for name in sorted(plain, key=dot_natural_key):
            target, pattern = rename_source_key(name, renamings, converters, prefix, known)
            if target not in known and name in known:
                target, pattern = rename_source_key(name, [], [], prefix, known)
            if target not in known:
                continue
            if pattern is None:
                found[name] = Part(self.path + target)
            else:
                collected.setdefault(target, {}).setdefault(pattern, []).append(name)
        for target, by_pattern in collected.items():
            converter = of_pattern[next(iter(by_pattern))]
            found.update(self._windows(target, by_pattern, converter))
            made = ", ".join(type(each).__name__ for each in converter.operations)
            names_ = (name for each in by_pattern.values() for name in each)
            self.copied.update((name, made) for name in names_ if name not in found)
        return found

    def is_ignored(self, name: str) -> bool:
        """Whether the model would leave a tensor of a file unread, since it needs it no more."""
        patterns = getattr(self._model, "_keys_to_ignore_on_load_unexpected", None) or ()
        return any(re.search(pattern, name) for pattern in patterns)

    def is_unsaved(self, name: str) -> bool:
        """Whether ``save_pretrained`` leaves a tensor of the model out: it is computed anew."""
        unsaved = getattr(self._model, "_keys_to_ignore_on_save", None) or ()
        return name.removeprefix(self.path) in unsaved

    def _transforms(self) -> Sequence[Any]:
        """The tables that ``from_pretrained`` would use, fresh: some count what they have seen."""
        from transformers.conversion_mapping import get_model_conversion_mapping

        own = getattr(self._model, "_weight_conversions", None) or ()
        transforms = list(get_model_conversion_mapping(self._model))
        known = {_patterns(each) for each in transforms}
        return [*(deepcopy(each) for each in own if _patterns(each) not in known), *transforms]

    def _windows(
        self, target: str, collected: Mapping[str, Collection[str]], converter: Any
    ) -> dict[str, Part]:
        """The parts of one tensor of the model that several of a file were made into."""
        whole = self._tensors[target].detach()
        back = converter.reverse_transform()
        pieces: Any = {back.source_patterns[0]: [whole]}
        try:
            with _Uncopied():
                for operation in back.operations:
                    pieces = operation.convert(
                        pieces,
                        source_patterns=back.source_patterns,
                        target_patterns=back.target_patterns,
                        full_layer_name=target,
                        model=self._model,
                        config=getattr(self._model, "config", None),
                    )
        except Exception:  # an operation that has no way back, or not from this shape
            return {}
        found = {}
        for pattern, names in collected.items():
            key = back.target_patterns[converter.source_patterns.index(pattern)]
            for number, name in enumerate(names):
                piece = pieces.get(key.replace("*", str(number)))
                if isinstance(piece, list):
                    piece = piece[0]
                if piece is not None and _same_storage(piece, whole):
                    offset = int(piece.storage_offset() - whole.storage_offset())
                    window = Window(offset, tuple(piece.shape), piece.stride())
                    found[name] = Part(self.path + target, window)
        return found


def conversions_in(
    model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]
) -> list[Conversions]:
    """The tables of every transformers model within a model, outer ones first.

    Args:
        model: any module.
        tensors: its parameters and buffers by name.
    """
    transformers = sys.modules.get("transformers")
    if transformers is None or not hasattr(transformers, "PreTrainedModel"):
        return []
    try:
        import transformers.conversion_mapping
        import transformers.core_model_loading
    except ImportError:  # before version 5 files and models had the same names
        return []
    return [
        Conversions(module, tensors, f"{path}." if path else "")
        for path, module in model.named_modules()
        if isinstance(module, transformers.PreTrainedModel)
    ]


def _patterns(transform: Any) -> tuple[tuple[str, ...], tuple[str, ...], str | None]:
    sources, targets = tuple(transform.source_patterns), tuple(transform.target_patterns)
    return sources, targets, transform.scope_prefix


def _same_storage(piece: torch.Tensor, whole: torch.Tensor) -> bool:
    return bool(piece.untyped_storage()._cdata == whole.untyped_storage()._cdata)


class _Uncopied(torch.overrides.TorchFunctionMode):
    """Operations that would put a part into memory of its own leave it a view."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.contiguous:
            return args[0]
        return func(*args, **(kwargs or {}))
