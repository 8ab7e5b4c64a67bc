"""A metric learned from which task each example is of ([F] Eq. 18-19).

``refined`` starts from another metric and keeps the best epoch; ``from_the_paper`` is [F] as it
stands.
"""

from __future__ import annotations

import numpy as np

from tvbank._imports import needed_by
from tvbank.routing._examples import Examples, Floats

with needed_by("a router whose metric is learned"):
    import torch

EPOCHS = 100

#: Step of Adam, in units of the root mean square entry of L.
_STEP = 0.01

#: Step of Adam, and rows of L, in [F].
_PAPER_STEP, PAPER_RANK = 0.5, 32

#: One of this many examples is held out, to see which epoch was best.
_HELD_OUT = 5

#: Examples that an epoch sees, and that are held out, at most.
_SAMPLE = 4096

_NEAREST_ALLOWED = 1e-6


def refined(
    matrix: Floats, examples: Examples, centres: Examples, neighbours: int, seed: int
) -> Floats:
    """L by gradient descent on [F] Eq. 19.

    The loss of an example x of task k is -log of the share that k's centres have in the sum of
    1/d_L(x, z) over N(x). N(x) is found anew in every epoch: the C nearest centres under the
    present L, and the nearest centre of k, so that the share is never zero. The loss does not
    depend on the scale of L. The L returned is that of the epoch with the least loss on a fifth of
    the examples, which the descent does not see.

    Args:
        matrix: L to start from, float32 [r, d].
        examples: of all tasks, centred.
        centres: the same tasks' centres, centred likewise.
        neighbours: C.
        seed: of the examples that are held out, and of those an epoch sees.
    """
    scale = float(np.sqrt(np.mean(matrix**2))) or 1.0
    rows, keys = torch.from_numpy(examples.points), torch.from_numpy(centres.points)
    owners, key_owners = (torch.from_numpy(e.owners).long() for e in (examples, centres))
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(rows), generator=generator)
    held, seen = order[::_HELD_OUT][:_SAMPLE], order[torch.arange(len(order)) % _HELD_OUT > 0]

    def loss(chosen: torch.Tensor) -> torch.Tensor:
        return _loss(rows[chosen], owners[chosen], keys, key_owners, transform, neighbours)

    transform = torch.tensor(matrix / scale, requires_grad=True)
    optimiser = torch.optim.Adam([transform], lr=_STEP)
    best, least = transform.detach().clone(), torch.inf
    for _ in range(EPOCHS if len(seen) else 0):
        with torch.no_grad():
            left = float(loss(held))
        if left < least:
            best, least = transform.detach().clone(), left
        with torch.enable_grad():
            picked = seen[torch.randperm(len(seen), generator=generator)[:_SAMPLE]]
            (transform.grad,) = torch.autograd.grad(loss(picked), transform)
        optimiser.step()
    result: Floats = (best * scale).numpy()
    return result


def from_the_paper(
    rank: int, examples: Examples, centres: Examples, neighbours: int, seed: int
) -> Floats:
    """L by [F] Eq. 19 to the letter: 100 epochs of Adam at .5, over all examples at once.

    What [F] leaves open: L starts from the standard normal distribution; N(x) is found anew in
    every epoch, and the nearest centre of x's task is added to it where it has none, as in
    ``refined``. Nothing is held out, and the L of the last epoch is returned.

    Args:
        rank: r, rows of L.
        examples: of all tasks, centred.
        centres: the same tasks' centres, centred likewise.
        neighbours: C.
        seed: of the start.
    """
    rows, keys = torch.from_numpy(examples.points), torch.from_numpy(centres.points)
    owners, key_owners = (torch.from_numpy(e.owners).long() for e in (examples, centres))
    generator = torch.Generator().manual_seed(seed)
    transform = torch.randn(rank, rows.shape[1], generator=generator).requires_grad_()
    optimiser = torch.optim.Adam([transform], lr=_PAPER_STEP)
    for _ in range(EPOCHS):
        with torch.enable_grad():
            loss = _loss(rows, owners, keys, key_owners, transform, neighbours)
            (transform.grad,) = torch.autograd.grad(loss, transform)
        optimiser.step()
    result: Floats = transform.detach().numpy()
    return result


def _loss(
    rows: torch.Tensor,
    owners: torch.Tensor,
    keys: torch.Tensor,
    key_owners: torch.Tensor,
    transform: torch.Tensor,
    neighbours: int,
) -> torch.Tensor:
    queries, centres = rows @ transform.T, keys @ transform.T
    with torch.no_grad():
        distances = torch.cdist(queries, centres)
        own = distances.masked_fill(owners[:, None] != key_owners, torch.inf).argmin(1)
        near = distances.topk(min(neighbours, len(keys)), largest=False).indices
        extra = (near != own[:, None]).all(1)  # the right task has no centre among the nearest
    chosen = torch.cat([near, own[:, None]], 1)
    counted = torch.cat([torch.ones_like(near, dtype=torch.bool), extra[:, None]], 1)
    difference = queries[:, None] - centres[chosen]
    squared = difference.square().sum(2)
    closeness = squared.clamp(min=_NEAREST_ALLOWED).rsqrt() * counted
    right = closeness * (key_owners[chosen] == owners[:, None])
    return -(right.sum(1) / closeness.sum(1)).log().mean()
