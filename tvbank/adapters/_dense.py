"""Kinds that are no product: how each changes the weights of a module, one formula a kind.

W is the weight as the module uses it, [out, in, …]; a unit of GPT-2's Conv1D, and an embedding, is
its transpose. Everything is computed in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.adapters._open import Adapter, read_parts
from tvbank.adapters._places import Places
from tvbank.adapters._vera import projections
from tvbank.errors import CheckpointError, UnitMismatchError
from tvbank.layout import UnitRecord

_Floats = NDArray[np.float32]
_Parts = Mapping[str, _Floats]

#: Makes the changed weights of a unit, float32, from those of the base.
Change = Callable[[NDArray[Any]], _Floats]


def changes_of(adapter: Adapter, module: str, places: Places) -> dict[str, Change]:
    """How a module's parameters change, by name.

    Raises:
        CheckpointError: its tensors do not fit together, or an option is not known.
        UnitMismatchError: they do not fit the base.
    """
    raw = read_parts(adapter, module)
    parts = {part: np.asarray(array).astype(np.float32) for part, array in raw.items()
             if part != "trainable_tokens_index"}  # fmt: skip
    parameter = f"{module}.weight"
    unit = places.unit(parameter)
    if adapter.config.kind == "VERA":
        if adapter.projections is None:
            adapter.projections = projections(adapter, places)
        parts |= dict(zip(("vera_A", "vera_B"), adapter.projections, strict=True))
    make = _FORMULAS[adapter.config.kind]

    def change(base: NDArray[Any]) -> _Floats:
        weights = base.astype(np.float32)
        try:
            changed = make(adapter, module, parts, weights)
        except (ValueError, KeyError, IndexError) as error:
            raise _misfit(adapter, module, unit, error) from error
        if changed.shape != weights.shape:
            raise _misfit(adapter, module, unit, f"it makes {list(changed.shape)}")
        return changed

    changes: dict[str, Change] = {parameter: change}
    feeds = adapter.config.names("feedforward_modules", module)
    if adapter.config.kind == "IA3" and f"{module}.bias" in places and not feeds:
        factors = parts["ia3_l"].reshape(-1)
        changes[f"{module}.bias"] = lambda base: base.astype(np.float32) * factors
    if "lora_B.bias" in parts:
        added = adapter.scale(module, parts["lora_A"].shape[0]) * parts["lora_B.bias"]
        changes[f"{module}.bias"] = lambda base: base.astype(np.float32) + added
    return changes


def _misfit(adapter: Adapter, module: str, unit: UnitRecord, why: object) -> UnitMismatchError:
    return UnitMismatchError(
        f"{adapter.source} does not fit the base: its tensors of {module!r} change no "
        f"{list(unit.shape)} ({why}){adapter.said_base()}"
    )


def _turned(adapter: Adapter, weights: _Floats, straight: tuple[int, int]) -> bool:
    """Whether the unit is the transpose of a [out, in] that is made of an adapter's tensors."""
    if weights.ndim != 2 or weights.shape[::-1] != straight:
        return False
    return weights.shape != straight or adapter.config.flag("fan_in_fan_out")


def _lora(adapter: Adapter, module: str, parts: _Parts, weights: _Floats) -> _Floats:
    """W + s·B@A; with a magnitude m (DoRA) its rows scaled to norm m; rows replaced (tokens)."""
    if "trainable_tokens_delta" in parts:
        return _tokens(adapter, module, parts["trainable_tokens_delta"], weights)
    embedding = "lora_embedding_A" in parts
    b, a = (parts[f"lora_{'embedding_' if embedding else ''}{side}"] for side in "BA")
    b, a = b.reshape(b.shape[0], -1), a.reshape(a.shape[0], -1)
    product = (b @ a) * np.float32(adapter.scale(module, a.shape[0]))
    turned = embedding or _turned(adapter, weights, (b.shape[0], a.shape[1]))
    total: _Floats = (weights.T if turned else weights) + product.reshape(
        weights.shape[::-1] if turned else weights.shape
    )
    if (magnitude := parts.get("lora_magnitude_vector")) is not None:
        rows = total.reshape(len(total), -1)
        factor = magnitude.reshape(-1) / np.linalg.norm(rows, axis=1)
        total = (factor[:, None] * rows).reshape(total.shape)
    return total.T if turned else total


def _tokens(adapter: Adapter, module: str, rows: _Floats, weights: _Floats) -> _Floats:
    """Some rows of an embedding, replaced."""
    chosen = adapter.config.body.get("trainable_token_indices")
    if isinstance(chosen, dict):
        named = [value for key, value in chosen.items() if (module + ".").endswith(f"{key}.")]
        chosen = named[0] if len(named) == 1 else None
    indices = chosen if isinstance(chosen, list) else []
    if len(indices) != len(rows) or not all(
        type(i) is int and 0 <= i < len(weights) for i in indices
    ):
        raise CheckpointError(
            f"{adapter.source}: trainable_token_indices of {module!r} do not name the rows that it "
            f"holds, {len(rows)} of {len(weights)}"
        )
    changed = weights.copy()
    changed[indices] = rows
    return changed


def _ia3(adapter: Adapter, module: str, parts: _Parts, weights: _Floats) -> _Floats:
    """W·l, along the outputs or, where it feeds forward, along the inputs."""
    factors = parts["ia3_l"].reshape(-1)
    feeds = adapter.config.names("feedforward_modules", module)
    turned = weights.ndim == 2 and adapter.config.flag("fan_in_fan_out")
    along = [1] * weights.ndim
    along[int(feeds != turned)] = len(factors)
    changed: _Floats = weights * factors.reshape(along)
    return changed


def _vera(adapter: Adapter, module: str, parts: _Parts, weights: _Floats) -> _Floats:
    """W + (b·B)@(d·A), of shared random B and A, as many of their rows and columns as fit."""
    shared_a, shared_b = parts["vera_A"], parts["vera_B"]
    out = len(parts["vera_lambda_b"])
    turned = weights.ndim == 2 and weights.shape[0] != out
    if weights.ndim == 2 and weights.shape == (out, out):
        turned = adapter.config.flag("fan_in_fan_out")
    inputs = weights.shape[0] if turned else weights.shape[1]
    left = parts["vera_lambda_b"][:, None] * shared_b[:out]
    right = parts["vera_lambda_d"][:, None] * shared_a[:, :inputs]
    product = left @ right
    return weights + (product.T if turned else product)


def _oft(adapter: Adapter, module: str, parts: _Parts, weights: _Floats) -> _Floats:
    """(R@Wᵀ)ᵀ, R orthogonal: block by block Cayley's transform of a skew matrix, or a series."""
    body = adapter.config.body
    upper = parts["oft_R"]
    size = round((1 + math.sqrt(1 + 8 * upper.shape[1])) / 2)
    skew = np.zeros((len(upper), size, size), np.float32)
    rows, columns = np.triu_indices(size, 1)
    skew[:, rows, columns] = upper
    skew -= skew.transpose(0, 2, 1)
    if adapter.config.flag("coft"):
        skew = _constrained(skew, body.get("eps", 6e-5))
    one = np.eye(size, dtype=np.float32)
    if body.get("use_cayley_neumann", True):
        rotations = _series(skew, one, body.get("num_cayley_neumann_terms", 5))
    else:
        rotations = np.linalg.solve(
            (one + skew).transpose(0, 2, 1), (one - skew).transpose(0, 2, 1)
        )
        rotations = rotations.transpose(0, 2, 1)
    flat = weights.reshape(len(weights), -1)
    blocks = flat.shape[1] // size
    if len(rotations) == 1:
        rotations = np.repeat(rotations, blocks, axis=0)
    turned = flat.T.reshape(blocks, size, -1)
    changed: _Floats = (rotations @ turned).reshape(flat.shape[1], -1).T
    return np.ascontiguousarray(changed).reshape(weights.shape)


def _constrained(skew: _Floats, most: object) -> _Floats:
    """Blocks whose norm is too large, scaled down to what a constrained OFT (coft) allows."""
    if isinstance(most, bool) or not isinstance(most, int | float) or not most > 0:
        raise ValueError(f"a constraint of {most!r}")
    allowed = np.float32(most / math.sqrt(len(skew)))
    norms = np.linalg.norm(skew, axis=(1, 2), keepdims=True)
    scaled: _Floats = np.where(norms <= allowed, skew, allowed * (skew / np.maximum(norms, 1e-30)))
    return scaled.astype(np.float32)


def _series(skew: _Floats, one: _Floats, terms: object) -> _Floats:
    """1 + 2S + 2S² + … + Sᵗ⁻¹: Cayley's transform by Neumann's series of so many terms."""
    if type(terms) is not int or not 1 <= terms <= 64:
        raise ValueError(f"a series of {terms!r} terms")
    total = np.repeat(one[None], len(skew), axis=0)
    power = total
    for number in range(1, terms):
        power = power @ skew
        twice = number < terms - 1 or terms == 2
        total = total + (2 * power if twice else power)
    return total


def _loha(adapter: Adapter, module: str, parts: _Parts, weights: _Floats) -> _Floats:
    """W + s·(w1a@w1b)∘(w2a@w2b)."""
    if "hada_t1" in parts:
        sides = [
            _tucker(parts[f"hada_t{n}"], parts[f"hada_w{n}_a"], parts[f"hada_w{n}_b"]) for n in "12"
        ]
    else:
        sides = [parts[f"hada_w{n}_a"] @ parts[f"hada_w{n}_b"] for n in "12"]
    scale = np.float32(adapter.scale(module, adapter.config.rank(module)))
    return weights + (sides[0] * sides[1] * scale).reshape(weights.shape)


def _lokr(adapter: Adapter, module: str, parts: _Parts, weights: _Floats) -> _Floats:
    """W + s·kron(w1, w2), each whole or itself a product."""
    first = parts.get("lokr_w1")
    first = parts["lokr_w1_a"] @ parts["lokr_w1_b"] if first is None else first
    if "lokr_w2" in parts:
        second = parts["lokr_w2"]
    elif "lokr_t2" in parts:
        second = _tucker(parts["lokr_t2"], parts["lokr_w2_a"], parts["lokr_w2_b"])
    else:
        second = parts["lokr_w2_a"] @ parts["lokr_w2_b"]
    while first.ndim < second.ndim:
        first = first[..., None]
    scale = np.float32(adapter.scale(module, adapter.config.rank(module)))
    return weights + (np.kron(first, second) * scale).reshape(weights.shape)


def _shira(adapter: Adapter, module: str, parts: _Parts, weights: _Floats) -> _Floats:
    """W, and values added at places [2, n]: rows and columns."""
    values, places = parts["shira_weight"], parts["shira_indices"]
    if places.shape != (2, len(values)) or weights.ndim != 2:
        raise ValueError(f"places {list(places.shape)} of {len(values)} values")
    at = places.astype(np.int64)
    if at.size and (at.min() < 0 or (at.max(axis=1) >= weights.shape).any()):
        raise IndexError("places outside of it")
    changed = weights.copy()
    np.add.at(changed, (at[0], at[1]), values)
    return changed


def _tucker(core: _Floats, a: _Floats, b: _Floats) -> _Floats:
    """A convolution's kernel from its core [r, r, …], and factors [r, out] and [r, in]."""
    made: _Floats = np.einsum("ij...,jr,ip->pr...", core, b, a)
    return made


def _norms(adapter: Adapter, module: str, parts: _Parts, weights: _Floats) -> _Floats:
    raise CheckpointError(f"{adapter.source}: {module!r} has parts that are of another kind")


_FORMULAS: dict[str, Callable[[Adapter, str, _Parts, _Floats], _Floats]] = {
    "LORA": _lora,
    "IA3": _ia3,
    "VERA": _vera,
    "OFT": _oft,
    "LOHA": _loha,
    "LOKR": _lokr,
    "LN_TUNING": _norms,
    "SHIRA": _shira,
}
