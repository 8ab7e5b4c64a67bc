"""Where entries go: windows that give them back, or nothing where entries do not only move."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tvbank.naming import assembled
from tvbank.naming._traced import traced

SIDES = st.sampled_from([1, 2, 3, 4, 6])


@given(
    shape=st.lists(SIDES, min_size=1, max_size=4),
    order=st.randoms(use_true_random=False),
    parts=st.integers(1, 3),
    turned=st.booleans(),
)
def test_what_is_moved_is_found_again(shape, order, parts, turned):
    """Sides in another order, cut along the first one; the model's memory of other strides, too."""
    axes = list(range(len(shape)))
    order.shuffle(axes)

    def convert(tensors):
        whole = tensors[0].permute(axes)
        pieces = [p.contiguous() for p in torch.tensor_split(whole, parts) if p.numel()]
        return {str(n): piece for n, piece in enumerate(pieces)}

    tensor = torch.arange(torch.Size(shape).numel()).reshape(shape)
    model = convert([tensor])
    if turned:
        model = {n: t.mT.contiguous().mT if t.ndim > 1 else t for n, t in model.items()}
    (found,) = traced(convert, [tuple(shape)], model)
    views = [(part.of(model), part.at) for part in found]
    assert torch.equal(assembled(views, shape), tensor)
    for part in found:
        assert torch.equal(part.taken(tensor), part.of(model))
        if part.at is not None:
            chosen, inside = part.at.positions_of(tensor.reshape(-1).numpy())
            assert (part.of(model).reshape(-1).numpy()[inside] == chosen).all()
    assert sum(part.of(model).numel() for part in found) == tensor.numel()


WRONG = {
    "twice": lambda t: torch.cat([t[:1], t[:-1]]),
    "lost": lambda t: t[:-1],
    "changed": lambda t: t * 2,
    "another type": lambda t: t.long(),
    "mirrored": lambda t: t.flip(0),
    "at random": lambda t: t[torch.tensor([0, 3, 1, 5, 2, 4])],
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_not_only_moved_has_no_place(kind):
    model = {"a": torch.empty(WRONG[kind](torch.zeros(6, 2, dtype=torch.int32)).shape)}
    assert traced(lambda tensors: {"a": WRONG[kind](tensors[0])}, [(6, 2)], model) == []
    assert traced(lambda tensors: {"a": tensors[0]}, [(6, 2)], {"a": torch.empty(6, 2)})
    assert traced(lambda tensors: {"a": tensors[0]}, [(0, 2)], {"a": torch.empty(0, 2)}) == []
