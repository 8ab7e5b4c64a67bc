"""Features: from any named module, pooled, no further than needed, the model left as it was."""

import numpy as np
import pytest
import torch
from torch import nn

from tvbank.errors import UsageError
from tvbank.routing import Recipe, features


class Block(nn.Module):
    """Counts its calls; a tuple comes out, as of many encoders' layers."""

    def __init__(self, width):
        super().__init__()
        self.linear, self.calls = nn.Linear(width, width), 0

    def forward(self, states):
        self.calls += 1
        return (states + torch.tanh(self.linear(states)),)


class Encoder(nn.Module):
    """Token ids and a mask -> a classifier on the mean of the last states."""

    def __init__(self, width=6, depth=3, classes=4):
        super().__init__()
        self.embed = nn.Embedding(11, width, padding_idx=0)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.dropout = nn.Dropout(0.5)
        self.unused = nn.Linear(2, 2)
        self.classify = nn.Linear(width, classes) if classes else nn.Identity()

    def forward(self, input_ids, attention_mask):
        states = self.embed(input_ids)
        for block in self.blocks:
            (states,) = block(states)
        real = attention_mask[..., None].to(states.dtype)
        mean = (states * real).sum(1) / real.sum(1)
        return {"logits": self.classify(self.dropout(mean))}


def tokens(count=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 11, (count, 5), generator=generator)
    ids[::2, 3:] = 0
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Encoder()


def test_a_named_module_gives_the_mean_over_real_tokens(model):
    inputs = tokens()
    found = features(model, inputs, "embed", batch=3)
    states, mask = model.embed(inputs["input_ids"]), inputs["attention_mask"].bool()
    wanted = torch.stack([rows[real].mean(0) for rows, real in zip(states, mask, strict=True)])
    assert found.dtype == np.float32
    assert np.allclose(found, wanted.detach().numpy(), atol=1e-6)


def test_the_default_is_what_enters_the_classifier(model):
    inputs = tokens()
    entered = []
    hook = model.classify.register_forward_hook(lambda _m, given, _o: entered.append(given[0]))
    model.eval()(**inputs)
    hook.remove()
    assert np.array_equal(features(model, inputs), entered[0].detach().numpy())


def test_the_default_of_a_model_without_classifier_is_its_output():
    model = Encoder(classes=0)
    with torch.no_grad():
        output = model.eval()(**tokens())["logits"]
    assert np.array_equal(features(model, tokens()), output.numpy())


def test_a_shallow_module_stops_the_pass(model):
    features(model, tokens(4), "blocks.0", batch=2)
    assert [block.calls for block in model.blocks] == [2, 0, 0]


def test_several_modules_are_concatenated(model):
    inputs = tokens()
    both = features(model, inputs, ["blocks.1", "embed"])
    parts = [features(model, inputs, name) for name in ("blocks.1", "embed")]
    assert np.array_equal(both, np.concatenate(parts, axis=1))
    with_last = features(model, inputs, ["", "embed"])
    assert np.array_equal(with_last, np.concatenate([features(model, inputs), parts[1]], axis=1))


def test_batches_do_not_matter(model):
    whole = features(model, tokens(), "blocks.2", batch=100)
    assert np.allclose(whole, features(model, tokens(), "blocks.2", batch=1), atol=1e-6)


def test_the_model_is_left_as_it_was(model):
    model.train()
    model.blocks[1].eval()
    modes = [module.training for module in model.modules()]

    def broken(model, batch):
        model(**batch)
        raise ZeroDivisionError

    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    features(model, tokens())
    features(model, tokens(), "blocks.0")
    with pytest.raises(ZeroDivisionError):
        features(model, tokens(), "unused", forward=broken)
    with pytest.raises(ZeroDivisionError):
        features(model, tokens(), forward=broken)
    assert [module.training for module in model.modules()] == modes
    assert all(not module._forward_hooks for module in model.modules())
    assert torch.is_grad_enabled()
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_that_catches_exceptions_stops_too(model):
    def stubborn(model, batch):
        try:
            return model(**batch)
        except Exception as error:
            raise AssertionError from error

    assert features(model, tokens(), "embed", forward=stubborn).shape == (7, 6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_element_types(model, dtype):
    expected = features(model, tokens(), "blocks.0")
    found = features(model.to(dtype), tokens(), "blocks.0")
    assert found.dtype == np.float32
    assert np.allclose(found, expected, atol=0.05)


def test_maps_are_averaged_over_their_places():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 5, 3), nn.Flatten(), nn.Linear(5 * 16, 3))
    images = torch.randn(4, 2, 6, 6)
    found = features(model, images, "0")
    assert np.allclose(found, model[0](images).mean((2, 3)).detach().numpy(), atol=1e-6)
    assert features(model, images).shape == (4, 80)


def test_ways_of_pooling(model):
    inputs = tokens()
    states = model.embed(inputs["input_ids"]).detach()
    assert np.array_equal(features(model, inputs, "embed", pooling="first"), states[:, 0].numpy())
    plain = features(model, inputs, "embed", mask=False)
    assert np.allclose(plain, states.mean(1).numpy(), atol=1e-6)
    half = torch.tensor([[1, 0, 0, 0, 0]]).expand(7, 5)
    assert np.array_equal(features(model, inputs, "embed", mask=half), states[:, 0].numpy())


@pytest.mark.parametrize("real", [None, [1, 1, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 1]])
def test_a_summary_is_mean_ends_and_extremes_of_real_tokens(model, real):
    inputs = tokens()
    mask = False if real is None else torch.tensor([real]).expand(7, 5)
    states = model.embed(inputs["input_ids"]).detach()
    chosen = states if real is None else states[:, torch.tensor(real) > 0]
    wanted = [chosen.mean(1), chosen[:, 0], chosen[:, -1], chosen.amin(1), chosen.amax(1)]
    found = features(model, inputs, "embed", mask=mask, pooling="summary")
    assert np.allclose(found, torch.cat(wanted, 1).numpy(), atol=1e-6)


def test_summaries_without_tokens_and_of_other_shapes(model):
    none = features(model, tokens(), "embed", mask=torch.zeros(7, 5), pooling="summary")
    assert not none.any()
    torch.manual_seed(0)
    convolution, images = nn.Conv2d(2, 3, 3), torch.randn(4, 2, 6, 6)
    maps = nn.Sequential(convolution, nn.Flatten(), nn.Linear(3 * 16, 2))
    places = convolution(images).detach().flatten(2)
    wanted = [places.mean(2), places[..., 0], places[..., -1], places.amin(2), places.amax(2)]
    found = features(maps, images, "0", pooling="summary")
    assert np.allclose(found, torch.cat(wanted, 1).numpy(), atol=1e-6)
    flat = features(maps, images, "2", pooling="summary")
    assert np.array_equal(flat, features(maps, images, "2"))


def test_a_recipe_says_it_all(model):
    recipe = Recipe(("blocks.0",), "first", 6)
    assert Recipe.from_json(recipe.to_json()) == recipe
    wanted = features(model, tokens(), "blocks.0", pooling="first")
    assert np.array_equal(features(model, tokens(), recipe), wanted)
    with pytest.raises(UsageError, match=r"6 features at .*the recipe says 5"):
        features(model, tokens(), Recipe(("blocks.0",), "first", 5))


def test_arrays_and_positional_tensors():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    rows = np.ones((5, 3), np.float32)
    assert np.array_equal(features(model, rows), features(model, torch.from_numpy(rows)))
    assert features(model, rows).shape == (5, 4)


@pytest.mark.parametrize(
    ("what", "arguments"),
    [
        ("no module 'nowhere'", {"at": "nowhere"}),
        ("does not call 'unused'", {"at": "unused"}),
        ("different names", {"at": ["embed", "embed"]}),
        ("different names", {"at": []}),
        ("pooling= is one of", {"at": "embed", "pooling": "median"}),
        ("batch= is 1 or more", {"batch": 0}),
        ("no inputs", {"inputs": tokens(0)}),
        ("empty dict", {"inputs": {}}),
        ("differ in their number", {"inputs": tokens() | {"attention_mask": torch.ones(2, 5)}}),
        ("dimension 0, got list", {"inputs": [1, 2]}),
        ("5 tokens an example, the mask has shape", {"at": "embed", "mask": torch.ones(7, 4)}),
        ("mask has 3 rows for 7", {"at": "embed", "mask": torch.ones(3, 5)}),
    ],
)
def test_bad_arguments(model, what, arguments):
    with pytest.raises(UsageError, match=what):
        features(model, **{"inputs": tokens()} | arguments)


def test_outputs_that_are_no_features(model):
    with pytest.raises(UsageError, match="returns 1 rows for 7 examples"):
        features(model, tokens(), forward=lambda model, batch: torch.zeros(1, 4))
    with pytest.raises(UsageError, match="no tensor"):
        features(model, tokens(), forward=lambda model, batch: None)
