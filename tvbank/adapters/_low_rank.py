"""LoRA: products of two thin matrices, and what an adapter keeps whole, by units of a layout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.adapters._dense import Change, changes_of
from tvbank.adapters._files import of_this_base
from tvbank.adapters._open import Adapter, read_parts
from tvbank.adapters._places import OpenBase, Places
from tvbank.coding.product import product_entries
from tvbank.dtypes import UNIT_DTYPES
from tvbank.errors import CheckpointError, NonFiniteError, UnitMismatchError
from tvbank.layout import Layout, UnitRecord, fingerprint
from tvbank.naming import Window

#: Element types of factors, from the narrowest that holds the numbers of all before it.
_FLOATS = UNIT_DTYPES


@final
@dataclass(frozen=True, eq=False)
class LowRank:
    """What an adapter adds to one unit: ``scale * (b @ a)``, or the transpose of it.

    Attributes:
        unit: of the layout.
        module: as the adapter calls it.
        b: [rows, rank], float32, float16 or bfloat16.
        a: [rank, columns], likewise.
        scale: that the product is multiplied by.
        transposed: whether the unit is the transpose.
        is_part: whether the module has further rows, which are other units.
    """

    unit: UnitRecord
    module: str
    b: NDArray[Any]
    a: NDArray[Any]
    scale: float
    transposed: bool
    is_part: bool

    def added(self, base: NDArray[Any]) -> NDArray[np.float32]:
        """The unit's weights with it, in float32."""
        left, right = (self.a.T, self.b.T) if self.transposed else (self.b, self.a)
        entries = product_entries(
            np.ascontiguousarray(left.astype(np.float32)),
            np.ascontiguousarray(right.astype(np.float32)),
            np.float32(self.scale), 0, base.size,
        )  # fmt: skip
        return base.astype(np.float32) + entries.reshape(base.shape)


@final
@dataclass(frozen=True)
class Bound:
    """An adapter beside the layout of its base.

    Attributes:
        adapter: whose tensors these are.
        layout: of the base.
        products: what it adds; ``None`` if some of it is no product.
        changes: how it changes each unit's weights, by name.
        whole: names of its tensors that it keeps whole, by the bank's names.
    """

    adapter: Adapter
    layout: Layout
    products: list[LowRank] | None
    changes: Mapping[str, Change]
    whole: Mapping[str, str]


def bind(adapter: Adapter, layout: Layout, base: OpenBase) -> Bound:
    """Find the units that an adapter changes, and compare their shapes.

    Args:
        adapter: of the base.
        layout: of the base.
        base: opens the base's checkpoint, if its names have to be asked for.

    Raises:
        UnitMismatchError: it is of another base: units are missing, or of another shape.
        CheckpointError: its tensors do not fit together, or are of a type that is not known.
        NonFiniteError: a number of it is NaN or infinite.
    """
    if adapter.gguf and not any(name.startswith("blk.") for name in layout.by_name):
        raise UnitMismatchError(
            f"{adapter.source} is an adapter in GGUF, with llama.cpp's names and order of rows "
            f"({adapter.gguf}), and the base has others: make a bank of the base in GGUF (f32, f16 "
            "or bf16), or give the adapter as PEFT saved it"
        )
    if adapter.style != "peft":
        adapter.rename(of_this_base(adapter.source, adapter.modules, layout))
    known = {*(record.name for record in layout.records), *layout.tied}
    kept = [name for name in _plain(adapter.whole) if name in known]
    names = dict.fromkeys([*_parameters(adapter), *kept])
    if not names and not adapter.whole:
        raise CheckpointError(f"{adapter.source} has no tensors of an adapter")
    places = Places(layout, list(names), adapter.source, adapter.said_base(), base)
    whole = _whole(adapter, places, layout)
    if is_low_rank(adapter):
        products = [
            each for module in adapter.modules for each in _products(adapter, places, module)
        ]
        _refuse_twice(adapter, products)
        added: dict[str, Change] = {each.unit.name: each.added for each in products}
        _refuse_both(adapter, added, whole)
        return Bound(adapter, layout, products, added, whole)
    changes: dict[str, Change] = {}
    for module in adapter.modules:
        for parameter, change in changes_of(adapter, module, places).items():
            name = places.unit(parameter).name
            changes[name] = _after(changes[name], change) if name in changes else change
    _refuse_both(adapter, changes, whole)
    return Bound(adapter, layout, None, changes, whole)


def _plain(names: Iterable[str]) -> list[str]:
    return [name.replace(".base_layer.", ".") for name in names]


def is_low_rank(adapter: Adapter) -> bool:
    """Whether all that an adapter changes are products, or kept whole."""
    parts = {part for module in adapter.modules.values() for part in module}
    return adapter.config.kind in ("LORA", "LN_TUNING") and parts <= {
        "lora_A", "lora_B", "lora_B.bias", "lora_embedding_A", "lora_embedding_B"
    }  # fmt: skip


def _after(first: Change, second: Change) -> Change:
    return lambda base: second(first(base))


def _parameters(adapter: Adapter) -> list[str]:
    """Names of the parameters that its modules change."""
    names = []
    for module, parts in adapter.modules.items():
        names.append(f"{module}.weight")
        if "lora_B.bias" in parts:
            names.append(f"{module}.bias")
    return names


def _products(adapter: Adapter, places: Places, module: str) -> list[LowRank]:
    """Those of a module: of its weight and, with ``lora_bias``, of its bias."""
    parts = read_parts(adapter, module)
    embedding = "lora_embedding_A" in parts
    b, a = (parts.get(f"lora_{'embedding_' if embedding else ''}{side}") for side in "BA")
    if a is None or b is None or a.ndim < 2 or b.ndim < 2:
        raise CheckpointError(
            f"{adapter.source} has not both factors of {module!r}, or no matrices"
        )
    made = places.units(f"{module}.weight")
    b, a = b.reshape(b.shape[0], -1), a.reshape(a.shape[0], -1)
    scale = adapter.scale(module, a.shape[0])
    b, a = _alike(adapter, module, b, a)
    products = []
    for unit, window in made:
        rows = b if window is None else b[_rows_of(places, module, window, a.shape[1])]
        transposed = _orientation(adapter, unit, rows, a, embedding=embedding)
        products.append(LowRank(unit, module, rows, a, scale, transposed, window is not None))
    if (bias := parts.get("lora_B.bias")) is not None:
        of_bias = places.unit(f"{module}.bias")
        if of_bias.shape != bias.shape:
            raise _misfit(adapter, of_bias, bias.shape)
        column, one = _alike(adapter, module, bias.reshape(-1, 1), np.ones((1, 1), bias.dtype))
        products.append(LowRank(of_bias, module, column, one, scale, False, False))
    return products


def _rows_of(places: Places, module: str, window: Window, columns: int) -> slice:
    """Which rows of a module's weight a unit is.

    Raises:
        UnitMismatchError: it is something else.
    """
    if len(window.shape) != 2 or window.shape[1] != columns or window.strides != (columns, 1):
        raise places.fused(f"{module}.weight")
    first = window.offset // columns
    return slice(first, first + window.shape[0])


def _orientation(
    adapter: Adapter, unit: UnitRecord, b: NDArray[Any], a: NDArray[Any], *, embedding: bool
) -> bool:
    """Whether a unit is the transpose of the product.

    Raises:
        UnitMismatchError: the product has not the unit's shape.
    """
    made = (b.shape[0], a.shape[1])
    rows = unit.shape[0] if unit.shape else 1
    columns = unit.size // rows if rows else 0
    matrix = len(unit.shape) == 2
    straight, turned = made == (rows, columns), matrix and made == (columns, rows)
    if b.shape[1] != a.shape[0] or not unit.size or not (turned or (straight and not embedding)):
        raise _misfit(adapter, unit, made)
    return turned and (embedding or not straight or adapter.config.flag("fan_in_fan_out"))


def _misfit(adapter: Adapter, unit: UnitRecord, made: tuple[int, ...]) -> UnitMismatchError:
    return UnitMismatchError(
        f"{adapter.source} does not fit the base: it adds {list(made)} to {unit.name!r}, which is "
        f"{list(unit.shape)}{adapter.said_base()}: give an adapter of this base"
    )


def _alike(
    adapter: Adapter, module: str, b: NDArray[Any], a: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both factors in one element type that a bank holds.

    Raises:
        CheckpointError: a type that none of these holds.
        NonFiniteError: NaN or infinity.
    """
    for factor in (b, a):
        if factor.dtype.name not in _FLOATS:
            raise CheckpointError(
                f"{adapter.source}: the factors of {module!r} are {factor.dtype.name}: convert "
                f"them to one of {', '.join(_FLOATS)}"
            )
        if not np.isfinite(factor).all():
            raise NonFiniteError(
                f"{adapter.source}: a factor of {module!r} has numbers that are NaN or infinite: "
                "its training failed; take an earlier state of it"
            )
    if b.dtype != a.dtype:
        return b.astype(np.float32), a.astype(np.float32)
    return b, a


def _whole(adapter: Adapter, places: Places, layout: Layout) -> dict[str, str]:
    """What is kept whole, by the bank's names; a copy of the base's own weights is left out.

    PEFT saves the embedding of the base, too, beside an adapter of it.
    """
    records = {record.name: record for record in layout.records}
    whole = {}
    for name, tensor in adapter.whole.items():
        known = places.name(name.replace(".base_layer.", "."))
        record, spec = records.get(layout.tied.get(known, known)), adapter.spec(tensor)
        same = record is not None and (record.dtype, record.shape) == (spec.dtype, spec.shape)
        if record and same and fingerprint(adapter.read(tensor)) == record.sha256:
            continue
        whole[known] = tensor
    return whole


def _refuse_both(adapter: Adapter, changes: Mapping[str, Change], whole: Mapping[str, str]) -> None:
    both = sorted(changes.keys() & whole)
    if both:
        raise UnitMismatchError(
            f"{adapter.source} adds to {both[0]!r}, and brings other weights than the base's for "
            "it: it was trained on another base, or a resized one: merge it with PEFT, and add the "
            "result"
        )


def _refuse_twice(adapter: Adapter, products: list[LowRank]) -> None:
    """Refuse two products of one unit: modules that the base ties."""
    seen: dict[str, str] = {}
    for product in products:
        name = product.unit.name
        if name in seen:
            raise UnitMismatchError(
                f"{adapter.source} adds to {seen[name]!r} and {product.module!r}, which the base "
                f"ties ({name!r}): merge it with PEFT, and add the result"
            )
        seen[name] = product.module
