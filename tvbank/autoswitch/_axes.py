"""Which outputs of a model have examples along dimension 0: shown, never guessed from a size.

A dimension can be as long as there are examples by chance: the layers of an LSTM's state, the other
side of a matrix of similarities. What has its examples along dimension 0 is longer there, and
nowhere else, when there are more of them. Groups of several sizes show that by themselves; else the
last group is run once more with its first example twice. What was shown is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, final

import torch

from tvbank.autoswitch._batch import Part, form, leaves_of, remedy, with_one_more
from tvbank.errors import UsageError

#: Inputs whose values can decide what a model returns, such as ``output_hidden_states``.
_PLAIN = (bool, int, float, str, type(None))


@final
class Axes:
    """What has been shown of the outputs of one model."""

    def __init__(self) -> None:
        self._shown: set[Hashable] = set()

    def show(self, parts: Sequence[Part], inputs: Any, run: Callable[[Any], Any]) -> None:
        """Make sure that all outputs have examples along dimension 0, and along no other.

        Args:
            parts: every group's examples and its output.
            inputs: those of the last group.
            run: the model as it was for the last group.

        Raises:
            UsageError: some have not; says which, and what to do.
        """
        sizes = [len(rows) for rows, _ in parts]
        groups = [leaves_of(output) for _, output in parts]
        for path in {path: None for group in groups for path in group}:
            if not all(path in group for group in groups):
                raise _differs(path)
        kind = _kind(inputs)
        unknown = {path: (kind, path, leaf.ndim) for path, leaf in groups[-1].items()}
        unknown = {path: key for path, key in unknown.items() if key not in self._shown}
        apart = {
            path
            for path in unknown
            if _is_shown([(size, group[path]) for size, group in zip(sizes, groups, strict=True)])
        }
        if len(apart) < len(unknown):
            here, there = groups[-1], leaves_of(run(with_one_more(inputs)))
            for path in unknown:
                _compare(path, sizes[-1], here[path], there.get(path))
        self._shown.update(unknown.values())


def _kind(inputs: Any) -> Hashable:
    """What may decide which outputs a model returns, and what they are."""
    named = inputs if isinstance(inputs, dict) else {"": inputs}
    kinds: list[Hashable] = []
    for name, value in named.items():
        if isinstance(value, torch.Tensor):
            kinds.append((name, value.dtype, value.ndim))
        else:
            kinds.append((name, repr(value) if isinstance(value, _PLAIN) else type(value)))
    return tuple(kinds)


def _is_shown(found: Sequence[tuple[int, torch.Tensor]]) -> bool:
    """Whether groups of two sizes differ in dimension 0 alone, as they do in size."""
    sizes: dict[torch.Size, set[int]] = {}
    for size, leaf in found:
        if leaf.ndim and len(leaf) == size:
            sizes.setdefault(leaf.shape[1:], set()).add(size)
    return any(len(several) > 1 for several in sizes.values())


def _compare(path: str, size: int, here: torch.Tensor, there: torch.Tensor | None) -> None:
    if not here.ndim or len(here) != size:
        raise UsageError(
            f"the model's output{path} is {form(here)} for {size} examples: {remedy(path)}"
        )
    if there is None:
        raise _differs(path)
    if there.shape != (size + 1, *here.shape[1:]):
        raise UsageError(
            f"the model's output{path} is {form(here)} for {size} examples and {form(there)} for "
            f"{size + 1}: its dimension 0 alone should be the examples; {remedy(path)}"
        )


def _differs(path: str) -> UsageError:
    return UsageError(
        f"the model's output{path} differs between groups of examples: {remedy(path)}"
    )
