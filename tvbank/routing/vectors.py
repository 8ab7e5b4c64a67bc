"""``VectorRouter``: which task an input belongs to, by the task vectors themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tvbank.errors import NonFiniteError, UsageError
from tvbank.routing._features import Mask, mask_of
from tvbank.routing._forward import (
    Forward,
    Inputs,
    batches,
    checked_inputs,
    count,
    run_model,
    undisturbed,
)

#: Passes of subspace iteration for the largest singular values.
_PASSES: Final = 2
#: Below this share of an input's energy nothing is told apart.
_FLOOR: Final = 1e-12


@final
@dataclass(frozen=True, eq=False)
class VectorRouter:
    """Chooses the task whose vector responds most to an input; no examples are needed.

    A fine-tune changes a linear layer most in the directions of its own inputs. With h the tokens
    that enter layer m of the base, and U·S·Vᵀ the largest singular values of what task k changes
    there, the response is e(k, m) = ‖S·Vᵀ·h‖² / (‖S‖²·‖h‖²), the sums over an example's tokens; and
    p(k) is proportional to the product of e(k, m) over the layers, to the power of M over the
    number of those that k changes, M that of all. SpectR has the like for adapters, token by token.

    Made by ``tvbank.vector_router``; to be given to ``AutoSwitch``. It rejects nothing: an input of
    no known task goes to some task. Where unlabelled examples of each task are at hand,
    ``routing.fit`` is more often right.

    Attributes:
        tasks: names, in the order of the columns of ``weights``.
        directions: layer, as ``model.named_modules()`` has it -> float32 [K, r, in], S·Vᵀ / ‖S‖ of
            each task; zeros of a task that does not change the layer.
    """

    tasks: tuple[str, ...]
    directions: Mapping[str, torch.Tensor]

    @classmethod
    def of(
        cls, tasks: Sequence[str], changes: Sequence[Mapping[str, torch.Tensor]]
    ) -> VectorRouter:
        """Make a router of what tasks change.

        Args:
            tasks: names.
            changes: for each task what ``directions`` made of each layer's change, all layers.

        Raises:
            UsageError: fewer than two tasks, or one that changes no linear layer; names it.
        """
        if len(tasks) < 2:
            raise UsageError(f"a router chooses between two tasks or more, got {list(tasks)}")
        for task, parts in zip(tasks, changes, strict=True):
            if not any(bool(part.any()) for part in parts.values()):
                raise UsageError(
                    f"task {task!r} changes no linear layer of the model, so its vector cannot "
                    "tell its inputs: fit a router to examples, tvbank.routing.fit"
                )
        layers = {name: torch.stack([parts[name] for parts in changes]) for name in changes[0]}
        return cls(tuple(tasks), {name: part for name, part in layers.items() if part.any()})

    @property
    def at(self) -> tuple[str, ...]:
        """The layers of which the inputs are looked at; it takes a whole pass."""
        return tuple(self.directions)

    def features(
        self,
        model: nn.Module,
        inputs: Inputs,
        *,
        forward: Forward | None = None,
        mask: Mask = None,
        batch: int = 64,
    ) -> NDArray[np.float32]:
        """Log of the responses, the mean over the layers that a task changes, float32 [n, K].

        Args:
            model: with the base's weights.
            inputs: as ``routing.features`` takes them, and so the rest.
            forward: see there.
            mask: see there.
            batch: examples a pass.

        Raises:
            UsageError: a layer that the model lacks or does not call, or that is called with
                something else than rows of examples.
        """
        checked = checked_inputs(inputs)
        if not count(checked):
            raise UsageError("there are no inputs to route")
        tokens = mask_of(checked, mask)
        first = next(model.parameters(), None)
        device = None if first is None else first.device
        rows = []
        with undisturbed(model):
            for place, part in batches(checked, batch, device):
                real = None if tokens is None else tokens[place]
                rows.append(self._responses(model, part, forward or run_model, real))
        return np.concatenate(rows)

    def posterior(self, features: Any) -> NDArray[np.float64]:
        """How likely each task is, float64 [n, K]; rows sum to 1.

        Args:
            features: [n, K], of ``features``.

        Raises:
            UsageError: another width. NonFiniteError: NaN or infinity.
        """
        rows = np.asarray(features, np.float64)
        if rows.ndim != 2 or rows.shape[1] != len(self.tasks):
            raise UsageError(
                f"a router of {len(self.tasks)} tasks takes features [n, {len(self.tasks)}] of its "
                f"own features(), got {list(rows.shape)}"
            )
        if not np.isfinite(rows).all():
            raise NonFiniteError("routing: the base makes NaN or infinity of some input")
        grown = np.exp(len(self.directions) * (rows - rows.max(1, keepdims=True)))
        return np.asarray(grown / grown.sum(1, keepdims=True), np.float64)

    def weights(self, features: Any) -> NDArray[np.float64]:
        """As ``posterior``: the share of each task."""
        return self.posterior(features)

    def top(self, features: Any) -> NDArray[np.int64]:
        """The number of each input's task, int64 [n]. Arguments and errors as of ``posterior``."""
        top: NDArray[np.int64] = self.posterior(features).argmax(1)
        return top

    def _responses(
        self, model: nn.Module, part: Any, forward: Forward, real: torch.Tensor | None
    ) -> NDArray[np.float32]:
        size, modules = count(part), dict(model.named_modules())
        seen: dict[str, torch.Tensor] = {}

        def look(layer: str, given: Any) -> None:
            seen.setdefault(
                layer, _response(self.directions[layer], _tokens(layer, given, size), real)
            )

        with ExitStack() as hooks:
            for layer in self.directions:
                if layer not in modules:
                    raise UsageError(f"the model has no module {layer!r}: it is another model")
                hook = modules[layer].register_forward_pre_hook(
                    lambda _, given, layer=layer: look(layer, given[0] if given else None)
                )
                hooks.callback(hook.remove)
            forward(model, part)
        if missing := [layer for layer in self.directions if layer not in seen]:
            raise UsageError(
                f"the forward pass does not call {missing[0]!r}: give another forward="
            )
        changed = [each.flatten(1).any(1).cpu() for each in self.directions.values()]
        total = torch.stack([seen[layer].cpu() for layer in self.directions]).sum(0)
        rows: NDArray[np.float32] = (total / torch.stack(changed).sum(0)).numpy()
        return rows

    def __repr__(self) -> str:
        return f"VectorRouter({len(self.tasks)} tasks, {len(self.directions)} layers)"


def directions(change: torch.Tensor, rank: int) -> torch.Tensor:
    """S·Vᵀ / ‖S‖ of the largest singular values of a matrix [out, in]: float32 [rank, in].

    Found by subspace iteration from a fixed start: equal matrices, equal bits on one machine. Fewer
    rows than ``rank`` are filled up with zeros, and so is a matrix of zeros.
    """
    matrix = change.detach().float()
    found = matrix.new_zeros(rank, matrix.shape[1])
    width = min(rank, *matrix.shape)
    if not matrix.any():
        return found
    start = np.random.default_rng(0).standard_normal((matrix.shape[1], width))
    basis = torch.from_numpy(start).to(matrix)
    for _ in range(_PASSES):
        basis = torch.linalg.qr(matrix.T @ (matrix @ basis)).Q
    left = torch.linalg.qr(matrix @ basis).Q
    found[:width] = left.T @ matrix
    whole: torch.Tensor = found / found.norm()
    return whole


def _response(parts: torch.Tensor, tokens: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
    """Log of e(k, m) of each example, [n, K]; zero of tasks that do not change the layer."""
    if real is not None and real.shape == tokens.shape[:2]:
        tokens = tokens * (real != 0).to(tokens)[..., None]
    parts = parts.to(tokens)
    tasks, rank, width = parts.shape
    squares = (tokens @ parts.reshape(tasks * rank, width).T).square().sum(1)
    energy = squares.reshape(-1, tasks, rank).sum(2)
    share = energy / tokens.square().sum((1, 2)).clamp(min=_FLOOR)[:, None]
    changed = parts.flatten(1).any(1)
    return torch.where(changed, share.clamp(min=_FLOOR).log(), torch.zeros_like(share))


def _tokens(layer: str, given: Any, size: int) -> torch.Tensor:
    """What a layer is called with as [n, t, in], float32."""
    if not isinstance(given, torch.Tensor) or given.ndim < 2 or given.numel() == 0:
        raise UsageError(f"module {layer!r} is not called with rows of numbers")
    if len(given) % size and len(given) != size:
        raise UsageError(
            f"module {layer!r} is called with {len(given)} rows for {size} examples: no telling "
            "which row is of which example; fit a router to examples, tvbank.routing.fit"
        )
    return given.detach().float().reshape(size, -1, given.shape[-1])
