"""What a recipe may say: errors that name line, key and remedy; gradients, filters, precedence."""

from pathlib import Path

import numpy as np
import pytest

import tvbank
from tvbank.errors import UnitMismatchError, UsageError
from tvbank.merging import Recipe, merge_recipe
from tvbank.merging.registry import RECIPE_METHODS
from tvbank.storage import MemoryStorage

LAYERS = 3


def model(value):
    """Units of a small model, all of whose entries are one number."""
    names = ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]
    for layer in range(LAYERS):
        names += [f"model.layers.{layer}.mlp.up.weight", f"model.layers.{layer}.self_attn.q.weight"]
    return {name: np.full((2, 2), value, "f4") for name in names}


BASE = model(0)


@pytest.fixture(scope="module")
def bank():
    bank = tvbank.create(MemoryStorage(), base=BASE)
    for task, value in (("one", 1), ("ten", 10), ("hundred", 100)):
        bank.add(task, model(value), tvbank.Exact())
    return bank


def merged(bank, text, **named):
    """The one value of each unit; names without 'model.' and '.weight'."""
    found = merge_recipe(bank, Recipe.parse(text), base=BASE, **named)
    shorter = {n.removeprefix("model.").removesuffix(".weight"): w for n, w in found.items()}
    assert all((tensor == tensor.flatten()[0]).all() for tensor in shorter.values())
    return {name: float(tensor.flatten()[0]) for name, tensor in shorter.items()}


ARITHMETIC = "merge_method: task_arithmetic\nbase_model: base\n"


def test_gradients_run_over_the_layers_and_the_first_filter_that_fits_counts(bank):
    found = merged(bank, ARITHMETIC + """
models:
  - model: one
    parameters:
      weight:
        - filter: self_attn
          value: [0, 1]
        - {filter: "*", value: [1, 3, 2]}
        - value: 77
""")  # fmt: skip
    up = [found[f"layers.{layer}.mlp.up"] for layer in range(LAYERS)]
    attention = [found[f"layers.{layer}.self_attn.q"] for layer in range(LAYERS)]
    assert (up, attention) == ([1, 3, 2], [0, 0.5, 1])
    # what is no layer has the gradient's first value, before the layers and after them
    assert {found[name] for name in ("embed_tokens", "norm", "lm_head")} == {1}


def test_sources_come_before_slices_and_these_before_modules_and_the_recipe(bank):
    found = merged(bank, ARITHMETIC + """
modules:
  default:
    slices:
      - sources:
          - {model: base, layer_range: [0, 1]}
          - {model: one, layer_range: [0, 1], parameters: {weight: 5}}
          - {model: ten, layer_range: [1, 2]}
        parameters: {weight: {filter: mlp, value: 2}}
      - sources:
          - {model: base, layer_range: [1, 3]}
          - {model: ten, layer_range: [0, 2]}
    parameters: {weight: [{filter: self_attn, value: 4}]}
parameters: {weight: 3}
""")  # fmt: skip
    assert found["layers.0.mlp.up"] == 5 * 1 + 2 * 10
    assert found["layers.0.self_attn.q"] == 5 * 1 + 4 * 10
    assert found["layers.1.mlp.up"] == found["layers.2.mlp.up"] == 3 * 10
    assert found["layers.2.self_attn.q"] == 4 * 10
    # the first slice has what comes before the layers, the last what comes after
    assert found["embed_tokens"] == 5 * 1 + 3 * 10
    assert found["norm"] == found["lm_head"] == 3 * 10


def test_slices_may_make_more_layers_and_say_so(bank):
    notes = []
    text = """
merge_method: passthrough
slices:
  - sources: [{model: one, layer_range: [0, 2]}]
  - sources: [{model: ten, layer_range: [1, 3]}]
"""
    found = merged(bank, text, note=notes.append)
    assert [found[f"layers.{k}.mlp.up"] for k in range(4)] == [1, 1, 10, 10]
    assert (found["embed_tokens"], found["norm"]) == (1, 10)
    assert any("4 layers, and the base 3" in note and "num_hidden_layers" in note for note in notes)


def test_modules_are_parts_of_names(bank):
    found = merged(bank, """
merge_method: linear
modules:
  layers: {models: [{model: one, parameters: {weight: 1}}]}
  default: {models: [{model: ten, parameters: {weight: 1}}]}
""")  # fmt: skip
    assert {found[name] for name in ("embed_tokens", "norm", "lm_head")} == {10}
    assert found["layers.2.mlp.up"] == 1


def test_types_are_those_that_the_recipe_names(bank):
    text = ARITHMETIC + "models: [{model: one, parameters: {weight: 0.3}}]\n"
    for types, name in (("", "float32"), ("dtype: float16\n", "float16"),
                        ("dtype: bfloat16\nout_dtype: torch.float64\n", "float64")):  # fmt: skip
        found = merge_recipe(bank, Recipe.parse(text + types), base=BASE)
        assert {str(tensor.dtype) for tensor in found.values()} == {f"torch.{name}"}
    assert found["lm_head.weight"][0, 0] == 0.30078125  # 0.3 in bfloat16


def test_models_are_found_by_their_names(bank, tmp_path):
    text = """
merge_method: linear
models:
  - {model: someone/ten, parameters: {weight: 1}}
  - model: {model: {path: ./models/one/}}
    parameters: {weight: 1e0}
  - {model: org/else@main, parameters: {weight: "2"}}
"""
    given = {"org/else@main": "hundred"}
    assert merged(bank, text, models=given)["norm"] == (10 + 1 + 200) / 4
    with pytest.raises(UsageError, match=r"org/else@main.*--model org/else@main=TASK"):
        merged(bank, text)
    folder = tmp_path / "Small-1B"
    folder.mkdir()
    from safetensors.numpy import save_file

    save_file(BASE, folder / "model.safetensors")
    recipe = {"merge_method": "linear", "models": [{"model": "org/Small-1B"}],
              "parameters": {"weight": 1}}  # fmt: skip
    found = merge_recipe(bank, recipe, base=folder / "model.safetensors")
    assert (found["lm_head.weight"] == 0).all()


def test_what_has_no_effect_is_said(bank):
    notes = []
    text = (
        ARITHMETIC
        + """
models: [{model: one, parameters: {weight: 1}}]
parameters: {int8_mask: true}
tokenizer: {source: union}
chat_template: auto
"""
    )
    assert merged(bank, text, note=notes.append)["norm"] == 1
    assert [note.partition(":")[0] for note in notes] == [
        "recipe, line 5", "recipe, line 6", "recipe, line 7"
    ]  # fmt: skip


MODELS = "models:\n  - model: one\n    parameters: {weight: 1}\n"
SLICES = "merge_method: passthrough\nslices:\n  - sources:\n"

WRONG = {
    "": "empty",
    "- a": "must be a mapping",
    "merge_method: [": "line 1: not valid YAML",
    "merge_method: tis\n" + MODELS: r"line 1: merge_method: .* must be one of linear, .*'tis'",
    MODELS: "needs a merge_method",
    "merge_method: linear": "one of models, slices and modules, not none",
    "merge_method: linear\nslices: []\n" + MODELS: "not models and slices",
    "merge_method: linear\nmodels: []\n": "line 2: models: the list is empty",
    "merge_method: linear\nmodel: []\n" + MODELS: "line 2: model: unknown key 'model'; there are",
    "merge_method: linear\nmodels:\n  - modle: one\n": r"line 3: models\[0\].modle: unknown key",
    "merge_method: linear\nmodels:\n  - parameters: {weight: 1}\n": "line 3.*needs a model",
    "merge_method: linear\n" + MODELS + MODELS: "key 'models' stands twice, first in line 2",
    "merge_method: linear\n1: 2\n": "line 2: keys are texts",
    "merge_method: linear\n" + MODELS + "parameters: {density: 1}": (
        "line 5: parameters.density: linear has no parameter 'density'; it has weight, normalize"
    ),
    "merge_method: linear\nmodels:\n  - model: one\n    parameters: {normalize: true}": (
        "line 4.*one for all models"
    ),
    "merge_method: linear\n" + MODELS + "parameters: {normalize: maybe}": "must be true or false",
    "merge_method: linear\n" + MODELS + "parameters: {weight: heavy}": "must be a finite number",
    "merge_method: linear\n" + MODELS + "parameters: {weight: [1, .inf]}": "a finite number",
    "merge_method: linear\n" + MODELS + "parameters: {weight: [{filter: mlp}]}": "needs a value",
    "merge_method: linear\n" + MODELS + "parameters: {weight: []}": "the list is empty",
    "merge_method: linear\nmodels: [{model: one}]": r"needs a weight, .*of 'one'; give it",
    "merge_method: linear\n" + MODELS + "dtype: int4": "line 5: dtype: must be one of bfloat16",
    "merge_method: linear\n" + MODELS + "random_seed: x": "must be an integer",
    "merge_method: linear\n" + MODELS + "tokenizer: {tokens: {a: 1}}": "are not changed for",
    "merge_method: linear\nmodels: [{model: two, parameters: {weight: 1}}]": (
        r"models\[0\]: model 'two' is neither a task of the bank \('hundred'"
    ),
    "merge_method: linear\nmodels: [{model: one+lora, parameters: {weight: 1}}]": "adapter",
    "merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: one}, {model: x/one}]": (
        "'one' takes part twice"
    ),
    "merge_method: ties\n" + MODELS: "ties needs a base_model",
    "merge_method: slerp\nbase_model: base\nparameters: {t: 1}\nmodels: [{model: base}]": (
        "slerp takes 2 models, the base_model counted, and here are 1"
    ),
    "merge_method: passthrough\nmodels: [{model: one}, {model: ten}]": "takes 1 models",
    SLICES + "      - {model: one}": "line 4.*needs a layer_range",
    SLICES + "      - {model: one, layer_range: [2, 1]}": r"line 4.*such as \[0, 16\]",
    SLICES + "      - {model: one, layer_range: [1, 4]}": (
        r"line 4: slices\[0\].sources\[0\]: layer_range ends at 4, and the model has 3 layers"
    ),
    "merge_method: linear\nparameters: {weight: 1}\nslices:\n  - sources:\n"
    "      - {model: one, layer_range: [0, 2]}\n      - {model: ten, layer_range: [0, 1]}": (
        "line 4.*the same number of layers, not 1 and 2"
    ),
    ARITHMETIC + "parameters: {weight: 1}\nslices:\n  - sources:\n"
    "      - {model: one, layer_range: [0, 1]}": "base_model 'base' must be one of its sources",
    "merge_method: linear\nmodules: {vision: {models: [{model: one}]}}": "no module of",
    "merge_method: linear\nmodules: {layers: {}}": "either models or slices",
    "merge_method: linear\nmodels: &a [{model: one}, *a]": "too deep",
    "merge_method: linear\nx: &x {<<: {a: 1}}\n" + MODELS: "'<<' is not supported",
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_said_with_its_line(bank, text):
    with pytest.raises(UsageError, match=WRONG[text]):
        merge_recipe(bank, Recipe.parse(text), base=BASE)


def test_the_page_names_every_method():
    page = (Path(__file__).parents[3] / "docs" / "recipes.md").read_text()
    assert all(f"`{name}`" in page for name in RECIPE_METHODS.rows)


def test_aliases_cannot_make_a_recipe_endless():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for k in range(1, 12):
        lines.append(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]")
    with pytest.raises(UsageError, match="too many values"):
        Recipe.parse("\n".join(lines))
    with pytest.raises(UsageError, match=r"not a recipe|too deep"):
        Recipe.parse("[" * 5000)


def test_a_model_of_several_stacks_needs_modules():
    base = {f"{part}.layers.{k}.w": np.zeros(2, "f4") for part in ("encoder", "decoder")
            for k in range(2)}  # fmt: skip
    bank = tvbank.create(MemoryStorage(), base=base)
    slices = [{"sources": [{"model": "base", "layer_range": [1, 2]}]}]
    with pytest.raises(UsageError, match=r"encoder.layers \(2\), decoder.layers \(2\).*modules"):
        merge_recipe(bank, {"merge_method": "passthrough", "slices": slices}, base=base)
    recipe = {"merge_method": "passthrough", "modules": {
        "encoder": {"slices": slices}, "decoder": {"models": [{"model": "base"}]}
    }}  # fmt: skip
    assert set(merge_recipe(bank, recipe, base=base)) == {
        "encoder.layers.0.w", "decoder.layers.0.w", "decoder.layers.1.w"
    }  # fmt: skip


def test_resized_units_and_integers_that_differ_are_refused():
    base = {"embed": np.zeros((4, 2), "f4"), "steps": np.array(3), "table": np.arange(4)}
    bank = tvbank.create(MemoryStorage(), base=base)

    def add(name, rows=4, steps=3, last=3):
        table = np.array([0, 1, 2, last])
        model = {"embed": np.ones((rows, 2), "f4"), "steps": np.array(steps), "table": table}
        bank.add(name, model, tvbank.Exact(), replace_mismatched=True)

    add("larger", rows=5)
    add("later", steps=7)
    add("odd", last=9)

    def merge(*tasks):
        models = [{"model": task, "parameters": {"weight": 1}} for task in tasks]
        return merge_recipe(bank, {"merge_method": "linear", "models": models}, base=base)

    assert merge("larger")["embed"].shape == (5, 2)
    assert merge("base", "later")["steps"] == 7
    assert merge("odd")["table"].tolist() == [0, 1, 2, 9]
    with pytest.raises(UnitMismatchError, match=r"'embed' has shape \[4, 2\] in 'later'.*resized"):
        merge("larger", "later")
    with pytest.raises(UnitMismatchError, match="'table' holds int64, and in 'odd' others"):
        merge("base", "odd")


def test_a_recipe_is_a_file_or_a_mapping(bank, tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        merge_recipe(bank, tmp_path / "none.yaml", base=BASE)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not text in UTF-8"):
        merge_recipe(bank, tmp_path / "bytes.yaml", base=BASE)
    with pytest.raises(UsageError, match=r"a recipe is a Recipe, .* not int"):
        merge_recipe(bank, 3, base=BASE)
