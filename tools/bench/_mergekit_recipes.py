"""Recipes out of a bank against mergekit's, entry by entry, on a small Llama."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sysconfig
import venv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import torch
from safetensors.torch import load_file, save_file

import tvbank
from tvbank.merging.recipes import export_recipe

#: What recipes are held against.
VERSION = "0.1.5"

_TASKS = ("cats", "dogs", "birds")
_DENSITIES = (0.6, 0.4, 0.7)
_MODEL_TYPES = ("float32", "bfloat16", "float16", "bfloat16, tied")
SEED = 3

#: What the names of a recipe's models stand in the place of, so that it is one for both.
_MODELS = "models:\n" + "".join(
    f"  - model: ${task}\n    parameters: {{weight: {weight}, density: {density}}}\n"
    for task, weight, density in zip(_TASKS, (0.5, 0.3, 0.4), _DENSITIES, strict=True)
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


def keeps(count: int, seed: int, task: str, unit: str, drop: float) -> torch.Tensor:
    """Which entries ``Dare`` keeps, by its specification."""
    digest = hashlib.sha256(f"{seed}\0{task}\0{unit}".encode()).digest()
    state, whole = int.from_bytes(digest[:8], "little"), 2**64 - 1
    kept = []
    for position in range(count):
        mixed = state + (position + 1) * 0x9E3779B97F4A7C15 & whole
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & whole
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & whole
        kept.append(((mixed ^ mixed >> 31) >> 11) * 2.0**-53 >= drop)
    return torch.tensor(kept)


def make_environment(folder: Path) -> str:
    """An environment with mergekit, and for the rest the packages of this one; its interpreter."""
    place = folder / "mergekit-environment"
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    (Path(packages) / "shared.pth").write_text(sysconfig.get_path("purelib"))
    wanted = [f"mergekit=={VERSION}", "immutables", "sentencepiece"]
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", *wanted]
    subprocess.run(install, check=True)
    return str(python)


@dataclass(frozen=True)
class Case:
    """A recipe for models of an element type.

    Attributes:
        label: in ``RECIPES``.
        models: element type of the models, and whether their embeddings are tied.
        types: what the recipe calculates in and writes, YAML.
    """

    label: str
    models: str
    types: str

    @property
    def text(self) -> str:
        """The recipe, with ``$cats`` and the like in the place of models."""
        return RECIPES[self.label] + self.types


CASES = [
    Case(label, models, types)
    for models in _MODEL_TYPES
    for label in RECIPES
    for types in (_DTYPES if models == "bfloat16" else _DTYPES[:1])
]


def small_llamas(folder: Path, models: str, hidden: int = 16) -> dict[str, Path]:
    """A base and three fine-tunes, most of whose entries differ from it."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    name, _, tied = models.partition(", ")
    config = LlamaConfig(
        vocab_size=3 * hidden, hidden_size=hidden, intermediate_size=hidden * 3 // 2,
        num_hidden_layers=4, num_attention_heads=2, num_key_value_heads=1,
        tie_word_embeddings=bool(tied), pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    dtype = getattr(torch, name)
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


def run_mergekit(
    folder: Path, python: str, cases: Sequence[Case], hidden: int = 16, *, stable: bool = False
) -> Iterator[tuple[Case, dict[str, Path], dict[str, torch.Tensor]]]:
    """What mergekit makes of each case: the case, the folders of its models, the weights.

    Args:
        folder: to work in.
        python: the interpreter of the environment that has mergekit.
        cases: what to merge.
        hidden: width of the models.
        stable: whether mergekit is made to sort so that equal magnitudes stay in their order.
    """
    models: dict[str, dict[str, Path]] = {}
    orders = []
    for number, case in enumerate(cases):
        if case.models not in models:
            place = folder / f"models-{len(models)}"
            place.mkdir()
            models[case.models] = small_llamas(place, case.models, hidden)
        paths = models[case.models]
        recipe = folder / f"recipe-{number}.yaml"
        recipe.write_text(Template(case.text).substitute(paths))
        orders.append({
            "recipe": str(recipe), "out": str(folder / f"theirs-{number}"), "stable": stable,
            "models": {name: str(path) for name, path in paths.items()}, "masks": None,
        })  # fmt: skip
        if case.label.startswith("dare"):
            orders[-1]["masks"] = str(folder / f"masks-{number}.safetensors")
            base = load_file(paths["base"] / "model.safetensors")
            drawn = {
                f"{task}/{unit}": keeps(w.numel(), SEED, task, unit, 1 - share).reshape(w.shape)
                for task, share in zip(_TASKS, _DENSITIES, strict=True)
                for unit, w in base.items()
            }
            save_file(drawn, orders[-1]["masks"])
    (folder / "orders.json").write_text(json.dumps(orders))
    child = Path(__file__).with_name("_mergekit_child.py")
    subprocess.run([python, "-P", str(child), str(folder / "orders.json")], check=True)
    for case, order in zip(cases, orders, strict=True):
        yield case, models[case.models], load_file(Path(order["out"]) / "model.safetensors")


def compare_recipes(folder: Path, python: str) -> Iterator[dict[str, Any]]:
    """One row a case; mergekit as it is, and with a stable sort.

    Args:
        folder: to work in.
        python: the interpreter of the environment that has mergekit.
    """
    banks: dict[str, tvbank.Bank] = {}
    runs = []
    for stable in (False, True):
        place = folder / ("stable" if stable else "plain")
        place.mkdir()
        runs.append(run_mergekit(place, python, CASES, stable=stable))
    for (case, paths, theirs), (_, _, sorted_stably) in zip(*runs, strict=True):
        if case.models not in banks:
            bank = tvbank.create(folder / f"bank-{len(banks)}", base=paths["base"])
            for task in _TASKS:
                bank.add(task, paths[task], tvbank.Exact())
            banks[case.models] = bank
        recipe = folder / "recipe.yaml"
        recipe.write_text(Template(case.text).substitute(paths))
        out = export_recipe(banks[case.models], recipe, seed=SEED, out=folder / "ours.safetensors")
        ours = load_file(out)
        yield {
            "recipe": case.label,
            "models": case.models,
            "types": case.types.replace("\n", " ").strip(),
            **_difference(ours, theirs),
            "with a stable sort": _difference(ours, sorted_stably)["with other bits"],
        }


def freeze_recipes(out: Path, folder: Path, python: str) -> None:
    """Write models and what mergekit makes of them to one file, which the tests compare with.

    Args:
        out: the file.
        folder: to work in.
        python: the interpreter of the environment that has mergekit.
    """
    cases = [c for c in CASES if c.models == "float32"]
    calm = ("linear", "task_arithmetic, normalized", "dare_linear", "slerp, gradients and filters")
    cases += [c for c in CASES if c.models == "bfloat16" and not c.types and c.label in calm]
    tensors, results, shapes = {}, [], {}
    for number, (case, paths, weights) in enumerate(run_mergekit(folder, python, cases, 4)):
        if case.models not in shapes:
            shapes[case.models] = {}
            for model, path in paths.items():
                state = load_file(path / "model.safetensors")
                shapes[case.models] = {name: list(w.shape) for name, w in state.items()}
                tensors[f"{case.models}/{model}"] = joined(state)
        named = {name: name for name in paths}
        tensors[f"result/{number}"] = joined(weights)
        results.append({
            "label": case.label, "models": case.models, "seed": SEED,
            "recipe": Template(case.text).substitute(named),
            "shapes": {name: list(w.shape) for name, w in weights.items()},
        })  # fmt: skip
    command = "python -m tools.bench mergekit --freeze FILE"
    metadata = {"made by": f"mergekit {VERSION}, {command}", "models": json.dumps(shapes),
                "results": json.dumps(results)}  # fmt: skip
    save_file(tensors, out, metadata)


def joined(state: dict[str, torch.Tensor]) -> torch.Tensor:
    """All entries of a state dict, by its names in order."""
    return torch.cat([state[name].flatten() for name in sorted(state)])


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
