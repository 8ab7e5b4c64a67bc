"""A synthetic pair of bf16 checkpoints with the shapes of a Llama model, written unit by unit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ml_dtypes
import numpy as np

from tvbank.checkpoint import TensorSpec, open_checkpoint, write_safetensors

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

VOCABULARY = 128_256
HIDDEN = 3072
#: Standard deviation of the base's weights, and of the fine-tune's steps.
WEIGHTS, STEPS = 0.02, 1e-4

#: Entries that one core draws at once.
_BLOCK = 2**22


def shapes(parameters: int) -> dict[str, tuple[int, ...]]:
    """Units of about so many parameters: one embedding and as many layers as it takes."""
    hidden = HIDDEN
    while hidden > 64 and 2 * VOCABULARY * hidden > parameters:
        hidden //= 2
    layer = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (hidden // 3, hidden),
        "self_attn.v_proj": (hidden // 3, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (8 * hidden // 3, hidden),
        "mlp.up_proj": (8 * hidden // 3, hidden),
        "mlp.down_proj": (hidden, 8 * hidden // 3),
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
    }
    size = sum(int(np.prod(shape)) for shape in layer.values())
    units: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, hidden)}
    for number in range(max(1, round((parameters - VOCABULARY * hidden) / size))):
        units |= {f"model.layers.{number}.{name}.weight": side for name, side in layer.items()}
    return units | {"model.norm.weight": (hidden,)}


def make_pair(parameters: int, base: Path, tuned: Path) -> list[TensorSpec]:
    """Write both files; every weight of the fine-tune is a small Gaussian step away."""
    specs = [TensorSpec(name, "bfloat16", shape) for name, shape in shapes(parameters).items()]

    def drawn() -> Iterator[np.ndarray]:
        for number, spec in enumerate(specs):
            yield _filled(spec, lambda _part, noise: noise * np.float32(WEIGHTS), number)

    write_safetensors(base, specs, drawn())
    with open_checkpoint(base) as weights:

        def stepped() -> Iterator[np.ndarray]:
            for number, spec in enumerate(specs):
                old = weights.read(spec.name).reshape(-1)

                def step(part: slice, noise: np.ndarray, old: np.ndarray = old) -> np.ndarray:
                    return old[part].astype(np.float32) + noise * np.float32(STEPS)

                yield _filled(spec, step, len(specs) + number)

        write_safetensors(tuned, specs, stepped())
    return specs


def _filled(
    spec: TensorSpec, weights: Callable[[slice, np.ndarray], np.ndarray], seed: int
) -> np.ndarray:
    """An array of a spec, made on all cores from blocks of standard normal numbers."""
    array = np.empty(spec.size, BFLOAT16)

    def fill(start: int) -> None:
        part = slice(start, min(start + _BLOCK, spec.size))
        random = np.random.default_rng([seed, start])
        noise = random.standard_normal(part.stop - part.start, dtype=np.float32)
        array[part] = weights(part, noise).astype(BFLOAT16)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(fill, range(0, spec.size, _BLOCK)))
    return array.reshape(spec.shape)
