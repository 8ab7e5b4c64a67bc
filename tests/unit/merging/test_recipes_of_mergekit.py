"""Recipes against what mergekit 0.1.5 wrote of the same models: a file that it made.

``python -m tools.bench mergekit --freeze FILE`` writes the file; ``--recipes`` compares anew, with
larger models and bit by bit. DARE was given the draws of ``tvbank.Dare`` there.
"""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import tvbank
from tvbank.merging import Recipe, merge_recipe
from tvbank.storage import MemoryStorage

FROZEN = Path(__file__).with_name("mergekit-0.1.5.safetensors")

with safe_open(FROZEN, "pt") as file:
    METADATA = file.metadata()
    TENSORS = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
RESULTS = json.loads(METADATA["results"])


def parted(vector, shapes):
    """A state dict of one vector."""
    sizes = [math.prod(shapes[name]) for name in sorted(shapes)]
    parts = zip(sorted(shapes), vector.split(sizes), strict=True)
    return {name: part.reshape(shapes[name]) for name, part in parts}


@pytest.fixture(scope="module")
def banks():
    made = {}
    for kind, shapes in json.loads(METADATA["models"]).items():
        models = {
            name.partition("/")[2]: parted(vector, shapes)
            for name, vector in TENSORS.items()
            if name.startswith(f"{kind}/")
        }
        base = models.pop("base")
        bank = made[kind] = tvbank.create(MemoryStorage(), base=base), base
        for task, model in models.items():
            bank[0].add(task, model, tvbank.Exact())
    return made


@pytest.mark.parametrize("number", range(len(RESULTS)))
def test_a_recipe_makes_what_mergekit_made(banks, number):
    result = RESULTS[number]
    bank, base = banks[result["models"]]
    recipe = Recipe.parse(result["recipe"], result["label"])
    found = merge_recipe(bank, recipe, base=base, seed=result["seed"])
    expected = parted(TENSORS[f"result/{number}"], result["shapes"])
    assert found.keys() == expected.keys()
    # other processors may round sums and square roots otherwise: the last bit is not asked for
    tolerance = 1e-6 if result["models"] == "float32" else 2**-7
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=tolerance, atol=tolerance / 10)


def test_the_file_has_every_method_that_can_be_held_to_it():
    from tvbank.merging.registry import RECIPE_METHODS

    methods = {Recipe.parse(result["recipe"]).method_name for result in RESULTS}
    assert methods == set(RECIPE_METHODS.rows)
