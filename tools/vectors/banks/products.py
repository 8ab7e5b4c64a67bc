"""Banks with products: a valid one, what its entries are by exact fractions, and faulty ones."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

from tools.vectors._dice import Dice
from tools.vectors.banks.levels import packed
from tools.vectors.banks.rounding import rounded
from tools.vectors.banks.tamper import BankFault, change, drop, flip, put, tampered
from tools.vectors.banks.writer import Chunk, Plan, ProductPlan, TaskPlan, Tensor
from tools.vectors.frames.encoder import float32

_WIDTHS = {"float32": 4, "float16": 2, "bfloat16": 2}


def products() -> Plan:
    """Every element type; a matrix, its transpose, a vector, a convolution, a 0-d unit."""
    dice = Dice(41)
    units = (
        _unit("linear.weight", "bfloat16", (5, 7), dice),
        _unit("linear.bias", "float16", (5,), dice),
        _unit("conv1d.weight", "float32", (4, 6), dice),
        _unit("conv.weight", "float32", (3, 2, 2, 2), dice),
        _unit("embed.weight", "bfloat16", (11, 8), dice),
        _unit("scale", "float32", (), dice),
    )
    made = (
        _product("linear.weight", "bfloat16", 5, 7, 2, 2.0, dice),
        ProductPlan("linear.bias", "float16", 1, 0.3, _numbers("float16", 5, dice),
                    struct.pack("<e", 1.0)),
        _product("conv1d.weight", "float32", 6, 4, 3, 1.4142135623730951, dice, transposed=True),
        _product("conv.weight", "float16", 3, 8, 5, -0.5, dice),
        _product("scale", "float32", 1, 1, 1, 0.1, dice),
    )  # fmt: skip
    zeros = replace(made[0], b=bytes(len(made[0].b)))
    adapter = {"kind": "peft", "config": {"peft_type": "LORA", "r": 2}}
    tasks = {
        "adapter": TaskPlan(
            "float32", {"embed.weight": {0: float32(0.5), 87: float32(-0.25)}},
            (Tensor("head", "bfloat16", (2,), bytes(4)),), {"name": "adapter"},
            products=made, adapter=adapter,
        ),
        "begun": TaskPlan("float32", {}, compressor={"name": "adapter"}, products=(zeros,)),
        "plain": TaskPlan("float32", {"embed.weight": {3: float32(1.0)}}),
    }  # fmt: skip
    return Plan(units, tasks, tied={"head.weight": "embed.weight"}, generation=3)


def packed_products() -> Plan:
    """Packed factors of every form beside plain ones: of many levels, of few, of none."""
    dice = Dice(43)
    units = (
        _unit("linear.weight", "bfloat16", (12, 9), dice),
        _unit("linear.bias", "float16", (5,), dice),
        _unit("conv1d.weight", "float32", (4, 6), dice),
        _unit("conv.weight", "float32", (3, 2, 2, 2), dice),
        _unit("gone.weight", "float32", (2, 3), dice),
        _unit("plain.weight", "float32", (2, 2), dice),
        _unit("scale", "float32", (), dice),
    )
    made = (
        _packed("linear.weight", 12, 9, (1, 2, 40), (0x3A12, 0x3A80, 0xB97F), 2.0, dice, rank=8),
        _packed("linear.bias", 5, 1, (5,), (0x3C03,), 0.3, dice),
        _packed("conv1d.weight", 6, 4, (3000, 1), (0x3801, 0x0001), -1.4142135623730951, dice,
                transposed=True, rank=4),
        _packed("conv.weight", 3, 8, (32767, 300, 2), (0x3401, 0x3501, 0x3B00), 0.5, dice),
        _packed("gone.weight", 2, 3, (), (), 1.0, dice, rank=65535),
        _product("plain.weight", "float16", 2, 2, 1, 1.0, dice),
        _packed("scale", 1, 1, (7,), (0x3DCD,), 0.1, dice),
    )  # fmt: skip
    task = TaskPlan(
        "float32", {}, compressor={"name": "budget", "budget": "30 % of the adapter"},
        products=made, adapter={"kind": "peft", "config": {"peft_type": "LORA", "r": 8}},
    )  # fmt: skip
    return Plan(units, {"adapter": task}, generation=1)


def packed_faults() -> Iterator[BankFault]:
    """Faults of a bank with a packed product."""
    dice = Dice(47)
    unit = Tensor("w", "float32", (3, 2), bytes(24))
    made = _packed("w", 3, 2, (4, 1), (0x3A00, 0x3B00), 1.0, dice)
    task = TaskPlan("float32", {}, products=(made,))
    plan = Plan((unit,), {"t": task})
    edits: list[tuple[str, str, Callable[[Any], Any]]] = [
        ("document-syntax", "5 bytes of packed factors", put("products", 0, "bytes", value=5)),
        ("document-syntax", "bytes as text", put("products", 0, "bytes", value="9")),
        ("layout", "packed factors without their bytes", drop("products", 0, "bytes")),
        ("layout", "bytes of factors that are not packed",
         put("products", 0, "dtype", value="float32")),
        ("layout", "packed factors of a rank of 65536", put("products", 0, "rank", value=65536)),
        ("layout", "packed factors of other bytes", put("products", 0, "bytes", value=99)),
        ("layout", "packed factors without the feature", put("features", value=["products"])),
    ]  # fmt: skip
    for reason, why, edit in edits:
        entry = {"entry": edit} if why.endswith("feature") else {}
        yield reason, why, tampered(plan, revision=edit, **entry)

    def with_body(body: bytes, rank: int = 2) -> BankFault:
        changed = replace(made, b=body, rank=rank, numbers=None)
        return tampered(replace(plan, tasks={"t": replace(task, products=(changed,))}))

    body = made.b
    yield "product", "more components than the rank", with_body(body, rank=1)
    yield "product", "more components than sides", with_body(
        packed([[1, 0, 1, 1, 1]] * 3, [0x3A00] * 3, 3), rank=8
    )  # fmt: skip
    yield "product", "packed factors that end within the steps", with_body(body[:5])
    yield "product", "a byte behind the last level", with_body(body + b"\1" * 4)
    yield "product", "a zero behind the last level", with_body(body + bytes(4))
    for pattern, what in ((0x7F80, "infinity"), (0xFFC0, "NaN")):
        yield "product", f"{what} as a step", with_body(
            packed([[0, 0, 0, 0, 0]], [pattern], 3)
        )  # fmt: skip
    yield "product", "a number beyond binary32", with_body(packed([[1, 1, 1, 2, 1]], [0x7F7F], 3))
    yield "product-checksum", "another checksum of packed factors", tampered(
        plan, product_bytes=flip(-1)
    )  # fmt: skip


def product_chunk(unit: Tensor, product: ProductPlan) -> Chunk:
    """The non-zeros of a product: each step an exact fraction, then rounded to binary32."""
    rows = unit.shape[0] if unit.shape else 1
    columns = unit.size // rows
    rank = product.rank
    if product.numbers is not None:
        listed, steps = product.numbers
        rank = len(listed)
        high = columns if product.transposed else rows
        b = [Fraction(each[i]) for i in range(high) for each in listed]
        a = [
            Fraction(_single(level * Fraction(step)))
            for each, step in zip(listed, steps, strict=True)
            for level in each[high:]
        ]
    else:
        b, a = _read(product.dtype, product.b), _read(product.dtype, product.a)
    height, width = (columns, rows) if product.transposed else (rows, columns)
    scale = Fraction(_single(Fraction(product.scale)))
    chunk: Chunk = {}
    for i in range(height):
        for j in range(width):
            total = Fraction(0)
            for k in range(rank):
                step = Fraction(_single(b[i * rank + k] * a[k * width + j]))
                total = Fraction(_single(total + step))
            entry = _single(total * scale)
            if entry:
                at = j * columns + i if product.transposed else i * columns + j
                chunk[at] = float32(entry)
    return dict(sorted(chunk.items()))


def product_faults() -> Iterator[BankFault]:
    """Faults of a bank with two products and a unit without one."""
    plan = _small()
    edits: list[tuple[str, str, Callable[[Any], Any]]] = [
        ("document-syntax", "products as an object", put("products", value={})),
        ("document-syntax", "a rank of 0", put("products", 0, "rank", value=0)),
        ("document-syntax", "a rank of 2^31", put("products", 0, "rank", value=2**31)),
        ("document-syntax", "a scale as text", put("products", 0, "scale", value="2")),
        ("document-syntax", "no scale", drop("products", 0, "scale")),
        ("document-syntax", "factors of float64", put("products", 0, "dtype", value="float64")),
        ("document-syntax", "transposed as a number", put("products", 0, "transposed", value=1)),
        ("document-syntax", "an adapter as text", put("adapter", value="peft")),
        ("layout", "a product of a unit that is not there", put("products", 0, "unit", value="x")),
        ("layout", "two products of one unit", put("products", 1, "unit", value="w")),
        ("layout", "a vector transposed", put("products", 1, "transposed", value=True)),
        ("layout", "a scale beyond binary32", put("products", 0, "scale", value=1e39)),
        ("layout", "factors of more bytes than there are", put("products", 0, "rank", value=3)),
        ("layout", "products without the feature", drop("features")),
        ("layout", "objects of products, and no product", put("products", value=[])),
        ("layout", "products whose object is not listed", drop("objects", "products/c/0")),
        ("layout", "products whose document is not listed", drop("objects", "products/zarr.json")),
    ]
    for reason, why, edit in edits:
        yield reason, why, tampered(plan, revision=edit)
    swapped = replace(plan.tasks["t"], products=plan.tasks["t"].products[::-1])
    yield "layout", "products out of the layout's order", tampered(
        replace(plan, tasks={"t": swapped})
    )  # fmt: skip
    empty = Plan((Tensor("w", "float32", (0, 3), b""),), {"t": TaskPlan("float32", {}, products=(
        ProductPlan("w", "float32", 1, 1.0, b"", bytes(12)),))})  # fmt: skip
    yield "layout", "a product of a unit without entries", tampered(empty)
    kept = replace(plan.tasks["t"], extras=(Tensor("w", "float32", (2, 2), bytes(16)),))
    yield "layout", "a product of a unit that is kept whole", tampered(
        replace(plan, tasks={"t": kept})
    )  # fmt: skip
    steps = replace(plan.tasks["t"], element="int32", entries={})
    yield "layout", "products of an exact task", tampered(replace(plan, tasks={"t": steps}))
    both = replace(plan.tasks["t"], entries={"w": {0: float32(1.0)}})
    yield "address", "a product of a unit that has entries", tampered(
        replace(plan, tasks={"t": both})
    )  # fmt: skip
    yield "layout", "more non-zeros stated than the products have", tampered(
        plan, revision=put("nonzeros", value=99), entry=put("nonzeros", value=99)
    )  # fmt: skip
    yield "object-digest", "a bit of a factor flipped", tampered(
        plan, files=change("products/c/0", flip(0))
    )  # fmt: skip
    yield "object-size", "the products cut short", tampered(
        plan, files=change("products/c/0", lambda data: data[:-1])
    )  # fmt: skip
    yield "object-missing", "no object of products", tampered(
        plan, files=lambda files: {k: v for k, v in files.items() if "products/c/0" not in k}
    )  # fmt: skip
    yield "product-checksum", "a checksum that is another", tampered(
        plan, product_bytes=flip(-1)
    )  # fmt: skip
    for pattern, what in ((0x7F800000, "infinity"), (0x7FC00000, "NaN")):
        product = replace(plan.tasks["t"].products[0], a=struct.pack("<4I", *[pattern] * 4))
        yield "product", f"{what} in a factor", tampered(
            replace(plan, tasks={"t": replace(plan.tasks["t"], products=(product,))})
        )  # fmt: skip
    yield "document-syntax", "a document of products with white space", tampered(
        plan, products_document=lambda data: data.replace(b",", b", ", 1)
    )  # fmt: skip


def _small() -> Plan:
    ones = struct.pack("<4f", 1.0, 2.0, -1.0, 0.5)
    units = (
        Tensor("w", "float32", (2, 2), bytes(16)),
        Tensor("b", "float32", (2,), bytes(8)),
        Tensor("e", "float32", (3,), bytes(12)),
    )
    made = (
        ProductPlan("w", "float32", 2, 1.0, ones, ones),
        ProductPlan("b", "float32", 1, 1.0, ones[:8], ones[:4]),
    )
    task = TaskPlan("float32", {"e": {1: float32(0.5)}}, products=made)
    return Plan(units, {"t": task})


def _product(
    unit: str, dtype: str, rows: int, columns: int, rank: int, scale: float, dice: Dice,
    *, transposed: bool = False,
) -> ProductPlan:  # fmt: skip
    b, a = _numbers(dtype, rows * rank, dice), _numbers(dtype, rank * columns, dice)
    return ProductPlan(unit, dtype, rank, scale, b, a, transposed)


def _packed(
    unit: str, rows: int, columns: int, sizes: tuple[int, ...], steps: tuple[int, ...],
    scale: float, dice: Dice, *, transposed: bool = False, rank: int | None = None,
) -> ProductPlan:  # fmt: skip
    """Packed factors whose levels reach, component by component, up to some size."""
    levels = []
    for size in sizes:
        drawn = [round(size * dice.bell() / 3) for _ in range(rows + columns)]
        levels.append([max(-size, min(size, level)) for level in drawn])
        levels[-1][0], levels[-1][-1] = -size, size
    numbers = [struct.unpack("<f", struct.pack("<I", step << 16))[0] for step in steps]
    return ProductPlan(
        unit, "packed", rank or max(1, len(sizes)), scale, packed(levels, steps, rows), b"",
        transposed, (levels, numbers),
    )  # fmt: skip


def _unit(name: str, dtype: str, shape: tuple[int, ...], dice: Dice) -> Tensor:
    size = 1
    for side in shape:
        size *= side
    return Tensor(name, dtype, shape, _numbers(dtype, size, dice))


def _numbers(dtype: str, count: int, dice: Dice) -> bytes:
    """Numbers of all mantissas, some of them zeros of either sign and subnormal."""
    patterns = []
    for _ in range(count):
        number = dice.bell() * 2.0 ** -dice.bits(3)
        pattern = float32(number) | dice.bits(12)
        pattern = dice.choice((0, 0x80000000, 7, pattern)) if dice.bits(3) == 0 else pattern
        patterns.append(pattern)
    if dtype == "bfloat16":
        return struct.pack(f"<{count}H", *(pattern >> 16 for pattern in patterns))
    if dtype == "float32":
        return struct.pack(f"<{count}I", *patterns)
    numbers = struct.unpack(f"<{count}f", struct.pack(f"<{count}I", *patterns))
    return struct.pack(f"<{count}e", *numbers)


def _read(dtype: str, data: bytes) -> list[Fraction]:
    count = len(data) // _WIDTHS[dtype]
    if dtype == "bfloat16":
        data = b"".join(b"\0\0" + data[2 * n : 2 * n + 2] for n in range(count))
    code = "e" if dtype == "float16" else "f"
    return [Fraction(number) for number in struct.unpack(f"<{count}{code}", data)]


def _single(value: Fraction) -> float:
    return rounded(value, 23, -149, 2**128)
