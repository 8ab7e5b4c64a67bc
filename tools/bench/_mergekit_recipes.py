"""Recipes out of a bank against mergekit's, entry by entry, on a small Llama."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

import torch
from safetensors.torch import load_file, save_file

import tvbank
from tvbank.merging.recipes import export_recipe

_TASKS = ("cats", "dogs", "birds")
_TYPES = ("float32", "bfloat16", "float16")
_SEED = 3

#: What the names of a recipe's models stand in the place of, so that it is one for both.
_MODELS = "models:\n" + "".join(
    f"  - model: ${task}\n    parameters: {{weight: {weight}, density: {density}}}\n"
    for task, weight, density in zip(_TASKS, (0.5, 0.3, 0.4), (0.6, 0.4, 0.7), strict=True)
)
_ONLY_WEIGHTS = "models:\n" + "".join(
    f"  - model: ${task}\n    parameters: {{weight: {weight}}}\n"
    for task, weight in zip(_TASKS, (0.5, 0.3, 0.4), strict=True)
)

RECIPES = {
    "linear": f"merge_method: linear\n{_ONLY_WEIGHTS}",
    "linear, with the base": (
        f"merge_method: linear\nbase_model: $base\n{_ONLY_WEIGHTS}"
        "parameters: {normalize: false, weight: 0.1}\n"
    ),
    "task_arithmetic": f"merge_method: task_arithmetic\nbase_model: $base\n{_ONLY_WEIGHTS}",
    "task_arithmetic, normalized": (
        f"merge_method: task_arithmetic\nbase_model: $base\n{_ONLY_WEIGHTS}"
        "parameters: {normalize: true, lambda: 0.7}\n"
    ),
    "ties": f"merge_method: ties\nbase_model: $base\n{_MODELS}parameters: {{int8_mask: true}}\n",
    "ties, rescaled": (
        f"merge_method: ties\nbase_model: $base\n{_MODELS}"
        "parameters: {normalize: false, rescale: true, lambda: 1.2}\n"
    ),
    "dare_linear": f"merge_method: dare_linear\nbase_model: $base\n{_MODELS}",
    "dare_ties": (
        f"merge_method: dare_ties\nbase_model: $base\n{_MODELS}"
        "parameters: {normalize: true, rescale: false}\n"
    ),
    "breadcrumbs": (
        f"merge_method: breadcrumbs\nbase_model: $base\n{_MODELS}parameters: {{gamma: 0.05}}\n"
    ),
    "breadcrumbs_ties": f"merge_method: breadcrumbs_ties\nbase_model: $base\n{_MODELS}",
    "ram": (
        "merge_method: ram\nbase_model: $base\nmodels: [{model: $cats}, {model: $dogs}, "
        "{model: $birds}]\nparameters: {epsilon: 1e-2}\n"
    ),
    "ramplus_tl": (
        "merge_method: ramplus_tl\nbase_model: $base\nmodels: [{model: $cats}, "
        "{model: $dogs}]\nparameters: {r: 0.3, alpha: 0.5, epsilon: 0.005}\n"
    ),
    "slerp, gradients and filters": """
merge_method: slerp
base_model: $cats
slices:
  - sources:
      - {model: $cats, layer_range: [0, 4]}
      - {model: $dogs, layer_range: [0, 4]}
parameters:
  t:
    - {filter: self_attn, value: [0, 0.5, 0.3, 0.7, 1]}
    - {filter: mlp, value: [1, 0.5, 0.7, 0.3, 0]}
    - value: 0.5
""",
    "gradients and filters": """
merge_method: ties
base_model: $base
models:
  - model: $cats
    parameters:
      density: [1, 0.7, 0.1]
      weight: 1.0
  - model: $dogs
    parameters:
      density: 0.5
      weight: [0, 0.3, 0.7, 1]
  - model: $birds
    parameters:
      density: 0.33
      weight:
        - {filter: mlp, value: [0.5, 1e-1]}
        - value: 0
parameters: {normalize: true}
""",
    "slices, precedence": """
merge_method: task_arithmetic
base_model: $base
slices:
  - sources:
      - {model: $base, layer_range: [0, 2]}
      - model: $cats
        layer_range: [0, 2]
        parameters: {weight: {filter: q_proj, value: 2.0}}
      - {model: $dogs, layer_range: [1, 3]}
    parameters: {weight: [0.1, 0.4]}
  - sources:
      - {model: $base, layer_range: [2, 4]}
      - {model: $birds, layer_range: [0, 2]}
parameters: {weight: 0.7}
""",
    "passthrough, more layers": """
merge_method: passthrough
slices:
  - sources: [{model: $cats, layer_range: [0, 3]}]
  - sources:
      - model: $dogs
        layer_range: [1, 4]
        parameters: {scale: [{filter: o_proj, value: 0.0}, {filter: down_proj, value: 0.5}]}
""",
    "modules": f"""
merge_method: linear
modules:
  default:
    {_ONLY_WEIGHTS.replace(chr(10), chr(10) + "    ").strip()}
    parameters: {{normalize: false}}
""",
}

#: Element types that recipes calculate in and write, beside those of the models.
_DTYPES = ("", "dtype: float32\nout_dtype: bfloat16\n", "dtype: bfloat16\n")


def small_llamas(folder: Path, dtype: torch.dtype, *, tied: bool = False) -> dict[str, Path]:
    """A base and three fine-tunes, most of whose entries differ from it."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=48, hidden_size=16, intermediate_size=24, num_hidden_layers=4,
        num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=tied,
    )  # fmt: skip
    model = LlamaForCausalLM(config).to(dtype)
    paths = {"base": folder / "base"}
    model.save_pretrained(paths["base"])
    for task in _TASKS:
        tuned = LlamaForCausalLM(config).to(dtype)
        tuned.load_state_dict(model.state_dict())
        with torch.no_grad():
            for weights in tuned.parameters():
                step = 0.02 * torch.randn(weights.shape) * (torch.rand(weights.shape) < 0.8)
                weights += step.to(dtype)
        paths[task] = folder / task
        tuned.save_pretrained(paths[task])
    return paths


def compare_recipes(folder: Path, python: str) -> Iterator[dict[str, Any]]:
    """One row a recipe and element type.

    Args:
        folder: to work in.
        python: the interpreter of the environment that has mergekit.
    """
    from tools.bench.mergekit import keeps

    cases, orders = [], []
    kinds = [(name, False) for name in _TYPES] + [("bfloat16", True)]
    for dtype, tied in kinds:
        place = folder / (f"{dtype}-tied" if tied else dtype)
        place.mkdir()
        paths = small_llamas(place, getattr(torch, dtype), tied=tied)
        bank = tvbank.create(place / "bank", base=paths["base"])
        for task in _TASKS:
            bank.add(task, paths[task], tvbank.Exact())
        base = load_file(paths["base"] / "model.safetensors")
        for number, (label, text) in enumerate(RECIPES.items()):
            for turn, types in enumerate(_DTYPES if dtype == "bfloat16" and not tied else [""]):
                recipe = place / f"recipe-{number}-{turn}.yaml"
                recipe.write_text(Template(text).substitute(paths) + types)
                order = {"recipe": str(recipe), "out": str(place / f"theirs-{number}-{turn}")}
                masks = None
                if label.startswith("dare"):
                    masks = place / f"masks-{number}-{turn}.safetensors"
                    densities = dict(zip(_TASKS, (0.6, 0.4, 0.7), strict=True))
                    drawn = {
                        f"{task}/{unit}": keeps(w.numel(), _SEED, task, unit, 1 - density)
                        .reshape(w.shape)
                        for task, density in densities.items()
                        for unit, w in base.items()
                    }  # fmt: skip
                    save_file(drawn, masks)
                models = {name: str(path) for name, path in paths.items()}
                orders.append({**order, "masks": masks and str(masks), "models": models})
                cases.append((label, dtype, tied, types, bank, recipe, Path(order["out"])))
    (folder / "orders.json").write_text(json.dumps(orders))
    child = Path(__file__).with_name("_mergekit_child.py")
    subprocess.run(
        [python or sys.executable, "-P", str(child), str(folder / "orders.json")], check=True
    )
    for label, dtype, tied, types, bank, recipe, out in cases:
        ours = export_recipe(bank, recipe, seed=_SEED, out=recipe.with_suffix(".safetensors"))
        mine, theirs = load_file(ours), load_file(out / "model.safetensors")
        yield {
            "recipe": label,
            "models": f"{dtype}{', tied' if tied else ''}",
            "types": types.replace("\n", " ").strip(),
            **_difference(mine, theirs),
        }


def _difference(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> dict[str, Any]:
    """How far apart two models are; where mergekit writes a wider type, its weights are rounded."""
    assert ours.keys() == theirs.keys(), ours.keys() ^ theirs.keys()
    entries = differing = 0
    largest, wider = 0.0, set()
    for name, weights in ours.items():
        other = theirs[name]
        assert weights.shape == other.shape, name
        if other.dtype != weights.dtype:
            wider.add(str(other.dtype).removeprefix("torch."))
        other = other.to(weights.dtype)
        bits = {2: torch.int16, 4: torch.int32}[weights.element_size()]
        entries += weights.numel()
        differing += int((weights.view(bits) != other.view(bits)).sum())
        largest = max(largest, float((weights.double() - other.double()).abs().max()))
    return {
        "entries": entries,
        "with other bits": differing,
        "largest difference": largest,
        "theirs is": ", ".join(sorted(wider)),
    }
