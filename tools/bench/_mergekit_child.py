"""Runs mergekit on recipes; a program for mergekit's own environment, which need not have tvbank.

    PYTHON _mergekit_child.py ORDERS

ORDERS is a JSON file: a list of ``{"recipe": path, "out": folder, "masks": path or null, "models":
folders by task and as base, "stable": bool}``. Masks are a safetensors file of the draws that DARE
is to be given, by ``task/unit``; ``stable`` makes torch sort equal numbers in their order.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)

import torch  # noqa: E402
import yaml  # noqa: E402
from mergekit.config import MergeConfiguration  # noqa: E402
from mergekit.merge import run_merge  # noqa: E402
from mergekit.options import MergeOptions  # noqa: E402
from safetensors.torch import load_file  # noqa: E402


@contextmanager
def drawing(masks: str, models: dict[str, str], dtype: str | None) -> Any:
    """Give mergekit's DARE these draws: which is meant, it tells by the numbers of a difference."""
    import mergekit.sparsify

    def load(folder: str) -> dict[str, torch.Tensor]:
        weights = load_file(Path(folder) / "model.safetensors")
        return {n: w.to(getattr(torch, dtype)) if dtype else w for n, w in weights.items()}

    base, found = load(models["base"]), {}
    for key, mask in load_file(masks).items():
        task, _, unit = key.partition("/")
        vector = load(models[task])[unit] - base[unit]
        found[bytes(vector.contiguous().untyped_storage())] = mask
    original = mergekit.sparsify.bernoulli

    def bernoulli(tensor: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        mask = found[bytes(tensor.contiguous().untyped_storage())]
        with patch("torch.bernoulli", lambda chances: mask.to(chances.dtype)):
            return original(tensor, *rest, **named)

    with patch("mergekit.sparsify.bernoulli", bernoulli):
        yield


@contextmanager
def sorting_stably() -> Any:
    argsort, sort = torch.argsort, torch.sort
    with (
        patch("torch.argsort", lambda *a, **k: argsort(*a, **k, stable=True)),
        patch("torch.sort", lambda *a, **k: sort(*a, **k, stable=True)),
    ):
        yield


def main() -> None:
    for order in json.loads(Path(sys.argv[1]).read_text()):
        text = Path(order["recipe"]).read_text()
        config = MergeConfiguration.model_validate(yaml.safe_load(text))
        draws = nullcontext()
        if order["masks"]:
            draws = drawing(order["masks"], order["models"], config.dtype)
        options = MergeOptions(copy_tokenizer=False, write_model_card=False, quiet=True)
        with draws, sorting_stably() if order["stable"] else nullcontext():
            run_merge(config, order["out"], options, config_source=text)


if __name__ == "__main__":
    main()
