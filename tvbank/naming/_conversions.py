"""What transformers' own conversion tables say: which tensor of a file is which part of a model.

``from_pretrained`` renames, fuses, stacks, splits and permutes what a file holds;
``save_pretrained`` undoes it. Both follow tables of patterns and operations
(``transformers.conversion_mapping``). Here the names of files go through the first, as if they were
loaded. What was fused or stacked goes back through the second, on stand-ins for the model's tensors
and without copies, so that what comes out are views. Where that leads to no views, or to others
than the file has, numbers of the file's entries go through the first; see ``traced``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, final

import torch

from tvbank.naming._traced import traced
from tvbank.naming._window import Part, Parts, Window

__all__ = ["Conversions", "Shapes", "conversions_in"]

#: Names of one checkpoint's tensors, and their shapes if they are known.
Shapes = Mapping[str, tuple[int, ...] | None]


@final
class Conversions:
    """The conversion tables of one transformers model, which may be on the meta device.

    Attributes:
        path: the model's name within the whole one, with its dot; ``""`` for the whole.
        copied: names of files that ``parts`` was asked for, and which have no place in the model:
            their entries were changed, or their shapes not known; and by which operations.
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
        self._known: dict[object, list[Parts]] = {}
        self._tensors = {
            name.removeprefix(path): tensor
            for name, tensor in tensors.items()
            if name.startswith(path)
        }

    def of(self, tensors: Mapping[str, torch.Tensor], path: str) -> Conversions:
        """The same model's tables for tensors under other names, and the model's path in them."""
        return Conversions(self._model, tensors, path)

    def parts(self, names: Shapes) -> dict[str, Parts]:
        """Where each of some names is in the model; those that it would not load are left out.

        Args:
            names: of the tensors of one checkpoint, all that are known: of a stack, a tensor's
                place is its place among those of its kind. What is split or permuted is found only
                if its shape is known.
        """
        from transformers.core_model_loading import dot_natural_key, rename_source_key

        transforms = self._transforms()
        renamings = [each for each in transforms if not hasattr(each, "operations")]
        converters = [each for each in transforms if hasattr(each, "operations")]
        of_pattern = {pattern: each for each in converters for pattern in each.source_patterns}
        prefix: str = getattr(self._model, "base_model_prefix", "")
        found: dict[str, Parts] = {}
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
                found[name] = (Part(self.path + target),)
            else:
                collected.setdefault(target, {}).setdefault(pattern, []).append(name)
        for target, by_pattern in collected.items():
            converter = of_pattern[next(iter(by_pattern))]
            found.update(self._converted(target, by_pattern, converter, names))
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

    def _converted(
        self,
        target: str,
        collected: Mapping[str, Sequence[str]],
        converter: Any,
        shapes: Shapes,
    ) -> dict[str, Parts]:
        """The places of tensors of a file that make up one tensor of the model, or several."""
        first = converter.target_patterns[0]
        before, _, after = target.partition(first)
        targets = {
            pattern: target if pattern == first else before + pattern + after
            for pattern in converter.target_patterns
        }
        if not all(name in self._tensors for name in targets.values()):
            return {}
        found = self._windows(target, targets, collected, converter)
        names = [name for each in collected.values() for name in each]
        wrong = any(
            name not in found or shapes.get(name) not in (None, found[name][0].window.shape)
            for name in names
        )
        return self._traced(target, targets, collected, converter, shapes) if wrong else found

    def _windows(
        self,
        target: str,
        targets: Mapping[str, str],
        collected: Mapping[str, Collection[str]],
        converter: Any,
    ) -> dict[str, Any]:
        """By name of a file, a view of one tensor of the model; what is none is left out."""
        wholes = [
            torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
            for tensor in (self._tensors[targets[p]] for p in converter.target_patterns)
        ]
        try:
            back = converter.reverse_transform()
            pieces: Any = {p: [w] for p, w in zip(back.source_patterns, wholes, strict=True)}
            with _Uncopied():
                for operation in back.operations:
                    pieces = operation.convert(pieces, **self._told(back, target))
        except Exception:  # an operation that has no way back, or not from this shape
            return {}
        owners = {
            whole.untyped_storage()._cdata: targets[pattern]
            for pattern, whole in zip(converter.target_patterns, wholes, strict=True)
        }
        found: dict[str, Parts] = {}
        for pattern, names in collected.items():
            key = back.target_patterns[converter.source_patterns.index(pattern)]
            for number, name in enumerate(names):
                piece = pieces.get(key.replace("*", str(number)))
                if isinstance(piece, list):
                    piece = piece[0]
                owner = None if piece is None else owners.get(piece.untyped_storage()._cdata)
                if owner is not None:
                    window = Window(piece.storage_offset(), tuple(piece.shape), piece.stride())
                    found[name] = (Part(self.path + owner, window),)
        return found

    def _traced(
        self,
        target: str,
        targets: Mapping[str, str],
        collected: Mapping[str, Sequence[str]],
        converter: Any,
        shapes: Shapes,
    ) -> dict[str, Parts]:
        """The places of tensors of a file by the way of their entries through the operations."""
        names = [name for each in collected.values() for name in each]
        known = [shape for name in names if (shape := shapes.get(name)) is not None]
        if len(known) != len(names):
            return {}
        forms = [
            (tuple(t.shape), t.stride())
            for t in map(self._tensors.get, targets.values())
            if t is not None
        ]
        kinds = tuple((pattern, len(each)) for pattern, each in collected.items())
        key = (kinds, tuple(known), tuple(forms), converter.scope_prefix)
        if key not in self._known:  # equal for all layers of a model
            try:
                self._known[key] = traced(
                    lambda numbers: self._forth(target, collected, converter, numbers),
                    known,
                    {p: self._tensors[name] for p, name in targets.items()},
                )
            except Exception:  # an operation that cannot take these shapes
                self._known[key] = []
        return {
            name: tuple(replace(part, name=self.path + targets[part.name]) for part in parts)
            for name, parts in zip(names, self._known[key], strict=bool(self._known[key]))
        }

    def _forth(
        self,
        target: str,
        collected: Mapping[str, Sequence[str]],
        converter: Any,
        tensors: Sequence[torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """What a converter makes of tensors, in the order of their names; by target pattern."""
        left = iter(tensors)
        pieces: Any = {p: [next(left) for _ in names] for p, names in collected.items()}
        for operation in converter.operations:
            pieces = operation.convert(pieces, **self._told(converter, target))
        return {p: t[0] if isinstance(t, list) else t for p, t in pieces.items()}

    def _told(self, converter: Any, target: str) -> dict[str, Any]:
        """What an operation is told beside the tensors."""
        return {
            "source_patterns": converter.source_patterns,
            "target_patterns": converter.target_patterns,
            "full_layer_name": target,
            "model": self._model,
            "config": getattr(self._model, "config", None),
        }


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


class _Uncopied(torch.overrides.TorchFunctionMode):
    """Operations that would put a part into memory of its own leave it a view, or fail."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.contiguous:
            return args[0]
        if func in (torch.cat, torch.stack):
            raise NotImplementedError
        return func(*args, **(kwargs or {}))
