"""The bank vectors: valid banks with all they decode to, and the index of the invalid ones."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

from tools.vectors._dice import Dice
from tools.vectors.banks.chains import chains
from tools.vectors.banks.features import entropy_coded, exact_plan, given_base
from tools.vectors.banks.invalid import invalid_banks
from tools.vectors.banks.products import packed_products, product_chunk, products
from tools.vectors.banks.rounding import rounded
from tools.vectors.banks.routers import routed
from tools.vectors.banks.writer import (
    ITEM_BYTES,
    Chunk,
    Edits,
    Files,
    Json,
    Plan,
    TaskPlan,
    Tensor,
    dense_sha256,
    write_bank,
)
from tools.vectors.frames.encoder import encode, float32

Index = Callable[[str, list[dict[str, object]]], bytes]


def bank_vectors(index: Index) -> Files:
    files: Files = {}
    valid: list[dict[str, object]] = []
    for name, why, plan, edits in valid_banks():
        files |= _under(f"banks/valid/{name}", write_bank(plan, edits))
        valid.append({"name": name, "why": why} | _expected(plan))
    invalid: list[dict[str, object]] = []
    for name, reason, why, bank in invalid_banks():
        files |= _under(f"banks/invalid/{name}", bank)
        invalid.append({"name": name, "reason": reason, "why": why})
    made = "tools/vectors, by the slow writer in banks/writer.py"
    files["banks/valid/index.json"] = index(made, valid)
    made += ", tampered with in tools/vectors/banks/invalid.py"
    files["banks/invalid/index.json"] = index(made, invalid)
    return files


def _under(folder: str, files: Files) -> Files:
    return {f"{folder}/{key}": data for key, data in files.items()}


def valid_banks() -> Iterator[tuple[str, str, Plan, Edits]]:
    plan = _mixed()
    yield "mixed", "0-d, empty, 16-bit and tied units; lossy, exact, zero; extras", plan, Edits()
    no_tasks = Plan(plan.units, {}, plan.whole, plan.tied, generation=0)
    yield "no-tasks", "a bank just created", no_tasks, Edits()
    steps = Tensor("steps", "int64", (), struct.pack("<q", 7))
    changed = Tensor("steps", "int64", (), struct.pack("<q", 8))
    task = TaskPlan("int32", {}, (changed,), {"name": "exact"})
    no_units = Plan((), {"t": task}, (steps,))
    yield "no-units", "a base without any floats: a delta of length 0", no_units, Edits()
    encodings, edits = _encodings()
    yield (
        "encodings",
        "frames that no smallest choice would make, one of them empty",
        encodings,
        edits,
    )
    yield "routed", "two routers: with and without a metric, and rejection", routed(), Edits()
    empty = Tensor("nothing", "float32", (0, 2**29), b"")
    task = TaskPlan("float32", {}, (empty,))
    yield (
        "wide-and-empty",
        "an extra without elements, whose chunks would be too large if it had any",
        Plan(plan.units, {"t": task}, plan.whole, plan.tied),
        Edits(),
    )
    yield "chains", "exact tasks that start from others", chains(), Edits()
    yield (
        "products",
        "adapters: products of every type and form",
        products(),
        Edits(),
    )
    yield "packed-products", "adapters of few bits", packed_products(), Edits()
    yield "newer-minor", "format 1.9: unknown members, unknown objects", _small(), _newer_minor()
    exact = exact_plan()
    yield "frame-2", "format 1.1: steps entropy coded", exact, entropy_coded(exact)
    yield "given-base", "format 1.1: frames that are given the base", exact, given_base(exact)
    yield "proved", "exact tasks of a chain that record what they make", _proved(), Edits()
    yield "spaced", "documents with white space and escapes, within the rules", _small(), _spaced()


def _proved() -> Plan:
    """The chain, whose tasks but one record their states; a unit comes back to the base's bits."""
    plan = chains()
    back = {"w": {5: 2**32 - 1}}
    tasks = dict(plan.tasks) | {
        "back": replace(plan.tasks["anchor"], entries=back, parent="anchor")
    }
    plan = replace(plan, tasks=tasks)
    units = {unit.name: unit for unit in plan.units}
    for name in sorted({*tasks} - {"step-1"}):
        made = {unit: _state(plan, name, units[unit]) for unit in tasks[name].entries}
        state = {unit: hashlib.sha256(data).hexdigest() for unit, data in made.items()}
        tasks[name] = replace(tasks[name], state=state)
    return replace(plan, tasks=tasks)


def _mixed() -> Plan:
    dice = Dice(11)
    embed = _tensor("embed.weight", "float32", (10, 13), dice)
    units = (
        embed,
        _tensor("scale", "float32", (), dice),
        Tensor("none", "float32", (0, 4), b""),
        _tensor("block.weight", "bfloat16", (7, 10), dice),
        _tensor("block.bias", "float16", (64,), dice),
    )
    whole = (Tensor("steps", "int64", (), struct.pack("<q", 1000)),)
    sparse = {position: float32(dice.choice((-0.0625, 0.0625))) for position in range(3, 130, 9)}
    lossy = TaskPlan(
        "float32",
        {
            "embed.weight": sparse,
            "scale": {0: float32(-0.125)},
            "block.weight": {i: float32(0.01 if i % 2 else -0.01) for i in range(0, 70, 5)},
            "block.bias": {0: float32(65504.0), 31: float32(1e-4), 63: float32(-1e-4)},
        },
        (
            _tensor("classifier.weight", "float32", (3, 10), dice),
            _tensor("classifier.bias", "bfloat16", (3,), dice),
            Tensor("steps", "int64", (), struct.pack("<q", 1500)),
            Tensor("mask", "bool", (5,), bytes([1, 0, 1, 1, 0])),
            Tensor("zeros", "float32", (8, 8), bytes(256)),
            Tensor("nothing", "float32", (0, 3), b""),
            Tensor("codes", "float8_e4m3fn", (4,), bytes([0x7F, 0x38, 0xB8, 0])),
            Tensor("phase", "complex64", (2,), struct.pack("<4f", 1, 0, 0, -1)),
            _tensor("table", "float64", (2, 3), dice),
        ),
        metadata={"language": "vätskor", "nested": {"numbers": [1, 2.5, None]}},
    )
    exact = TaskPlan(
        "int32",
        {unit.name: _steps(unit, _tuned(unit, dice)) for unit in units if unit.size},
        compressor={"name": "exact"},
    )
    resized = TaskPlan(
        "float32",
        {"scale": {0: float32(0.5)}},
        (_tensor("embed.weight", "bfloat16", (12, 13), dice),),
    )
    untied = TaskPlan("float32", {"embed.weight": {0: float32(1.0)}}, (
        _tensor("head.weight", "float32", (10, 13), dice),
    ))  # fmt: skip
    tasks = {
        "lossy": lossy,
        "exact": exact,
        "zero": TaskPlan("float32", {}),
        "Resized_1.0-rc": resized,
        "untied": untied,
    }
    return Plan(units, tasks, whole, {"head.weight": "embed.weight"}, generation=5)


def _small() -> Plan:
    names = ("a/b/../c", "\u00e9\u4e2d\U0001f600", "x" * 1024)
    units = tuple(Tensor(name, "float32", (70,), bytes(280)) for name in names)
    entries = {name: {0: float32(0.5), 69: float32(-0.5)} for name in names}
    return Plan(units, {"t": TaskPlan("float32", entries)})


def _encodings() -> tuple[Plan, Edits]:
    chunks: list[tuple[Chunk, tuple[str, int], tuple[str, int]]] = [
        ({5: 1, 9: 2}, ("bitmap", 0), ("raw", 0)),
        ({0: 1, 1: 1}, ("full", 0), ("table", 1)),
        ({5: 1, 63: 0x80000000}, ("index", 6), ("table", 2)),
        ({}, ("empty", 0), ("none", 0)),
        (dict.fromkeys(range(60), 0x3F000000), ("holes", 4), ("float16", 0)),
        ({5: 0x3F800000, 6: 0xBF810000}, ("runs", 2), ("bfloat16", 0)),
        ({50: float32(1.5), 51: float32(-0.5)}, ("gaps", 24), ("affine", 3)),
        ({50: 9, 51: 0x80000009}, ("grouped", 16), ("sign", 0)),
    ]
    unit = Tensor("w", "float32", (512,), bytes(2048))
    entries = {
        64 * number + position: pattern
        for number, (chunk, _, _) in enumerate(chunks)
        for position, pattern in chunk.items()
    }

    def forced(_: bytes, number: int) -> bytes:
        chunk, mask, value = chunks[number]
        return encode("float32", 64, chunk, mask, value, (-0.5, 0.5))

    task = TaskPlan("float32", {"w": entries}, stored_zeros=frozenset({3}))
    return Plan((unit,), {"t": task}, chunks_per_shard=8), Edits(frame=forced)


def _newer_minor() -> Edits:
    def more(document: Json) -> Json:
        return document | {"future": {"digest": "0" * 64, "list": [None, True, 1e300]}}

    def root(document: Json) -> Json:
        return more(document | {"format": "1.9", "generation": 2**53})

    def files(found: Files) -> Files:
        strange = ("routers/x/zarr.json", ".lock", "zarr.json.tmp-1", "tasks/other/note.txt")
        return found | dict.fromkeys(strange, b"?")

    return Edits(layout=more, revision=more, entry=more, root=root, files=files)


def _spaced() -> Edits:
    def spaced(document: bytes) -> bytes:
        return json.dumps(json.loads(document), indent=1, ensure_ascii=True).encode() + b"\r\n\t "

    def root(document: bytes) -> bytes:
        tight = document[: document.index(b",") + 1]
        loose = spaced(document)
        return tight + loose[loose.index(b",") + 1 :]

    return Edits(layout_bytes=spaced, revision_bytes=spaced, root_bytes=root)


def _tensor(name: str, dtype: str, shape: tuple[int, ...], dice: Dice) -> Tensor:
    """Small numbers of any float type."""
    size = 1
    for length in shape:
        size *= length
    numbers = [float(round(dice.bell() * 64)) / 128 for _ in range(size)]
    if dtype == "bfloat16":
        return Tensor(name, dtype, shape, b"".join(struct.pack("<f", x)[2:] for x in numbers))
    code = {"float16": "e", "float32": "f", "float64": "d"}[dtype]
    return Tensor(name, dtype, shape, struct.pack(f"<{size}{code}", *numbers))


def _patterns(unit: Tensor) -> list[int]:
    code = "I" if ITEM_BYTES[unit.dtype] == 4 else "H"
    return list(struct.unpack(f"<{unit.size}{code}", unit.data))


def _tuned(unit: Tensor, dice: Dice) -> list[int]:
    """Patterns some steps away, and at the start every kind of float there is."""
    sign = 1 << (8 * ITEM_BYTES[unit.dtype] - 1)
    infinity = {"float32": 0x7F800000, "float16": 0x7C00, "bfloat16": 0x7F80}[unit.dtype]
    special = [
        0,
        sign,
        infinity,
        sign | infinity,
        infinity + 1,
        2 * sign - 1,
        sign - 1,
        1,
        sign + 1,
    ]
    patterns = [
        (pattern + dice.bits(3)) % (2 * sign) if dice.bits(1) else pattern
        for pattern in _patterns(unit)
    ]
    return (special + patterns[len(special) :])[: unit.size]


def _steps(unit: Tensor, tuned: list[int]) -> Chunk:
    """Entries of an exact task."""
    sign = 1 << (8 * ITEM_BYTES[unit.dtype] - 1)

    def rank(pattern: int) -> int:
        return pattern if pattern < sign else -1 - (pattern - sign)

    differences = {
        position: (rank(new) - rank(old) + sign) % (2 * sign) - sign
        for position, (old, new) in enumerate(zip(_patterns(unit), tuned, strict=True))
    }
    return {position: steps % 2**32 for position, steps in differences.items() if steps}


def _expected(plan: Plan) -> dict[str, Any]:
    """All that a reader must find in a bank."""
    base = {tensor.name: tensor for tensor in (*plan.units, *plan.whole)}
    tasks = {}
    for name, task in plan.tasks.items():
        extras = {extra.name: extra for extra in task.extras}
        entries = _all_entries(plan, task)
        weights = {}
        for tensor_name in (*base, *plan.tied):
            owner = plan.tied.get(tensor_name, tensor_name)
            kept = extras.get(tensor_name) or extras.get(owner)
            data = kept.data if kept else _state(plan, name, base[owner])
            weights[tensor_name] = hashlib.sha256(data).hexdigest()
        tasks[name] = {
            "element": task.element,
            "units": {
                unit.name: {
                    "nonzeros": len(entries.get(unit.name, {})),
                    "dense_sha256": dense_sha256(unit.size, entries.get(unit.name, {})),
                }
                for unit in plan.units
            },
            "extras": {
                extra.name: {
                    "dtype": extra.dtype,
                    "shape": extra.shape,
                    "sha256": hashlib.sha256(extra.data).hexdigest(),
                }
                for extra in task.extras
            },
            "weights_sha256": weights,
        }
    expected: dict[str, Any] = {
        "base": {name: tensor.data.hex() for name, tensor in base.items()},
        "tasks": tasks,
    }
    if plan.routers:
        expected["routers"] = {
            name: {
                "tasks": router.tasks,
                "at": router.at,
                "width": router.width,
                "neighbours": router.neighbours,
                "spread": router.spread,
                "rejection": router.rejection,
                "arrays": {each.name: each.data.hex() for each in router.arrays},
            }
            for name, router in plan.routers.items()
        }
    return expected


def _all_entries(plan: Plan, task: TaskPlan) -> dict[str, Chunk]:
    """Those of the delta and of the products."""
    units = {unit.name: unit for unit in plan.units}
    made = {each.unit: product_chunk(units[each.unit], each) for each in task.products}
    return dict(task.entries) | made


def _state(plan: Plan, name: str, unit: Tensor) -> bytes:
    """A unit after a task, and after all that it starts from."""
    task = plan.tasks[name]
    if task.parent is not None:
        unit = replace(unit, data=_state(plan, task.parent, unit))
    return _weights(unit, task, _all_entries(plan, task))


def _weights(unit: Tensor, task: TaskPlan, all_entries: dict[str, Chunk]) -> bytes:
    """The tuned unit, by exact fractions."""
    entries = all_entries.get(unit.name, {})
    if not entries:
        return unit.data
    patterns = _patterns(unit)
    bits = 8 * ITEM_BYTES[unit.dtype]
    for position, pattern in entries.items():
        if task.element == "int32":
            patterns[position] = _after(patterns[position], pattern, bits)
        else:
            patterns[position] = _sum(unit.dtype, patterns[position], pattern)
    return struct.pack(f"<{unit.size}{'I' if bits == 32 else 'H'}", *patterns)


def _after(pattern: int, steps: int, bits: int) -> int:
    sign = 1 << (bits - 1)
    rank = pattern if pattern < sign else -1 - (pattern - sign)
    rank = (rank + steps + sign) % (2 * sign) - sign
    return rank if rank >= 0 else sign + (-1 - rank)


def _sum(dtype: str, old: int, entry: int) -> int:
    """base + entry, rounded to float32 and then to the unit's type; finite numbers only."""
    pattern = old << 16 if dtype == "bfloat16" else old
    code, raw = ("<e", "<H") if dtype == "float16" else ("<f", "<I")
    base = Fraction(struct.unpack(code, struct.pack(raw, pattern))[0])
    total = base + Fraction(struct.unpack("<f", struct.pack("<I", entry))[0])
    single = rounded(total, 23, -149, 2**128)
    if dtype == "float16":
        half = rounded(Fraction(single), 10, -24, 2**16)
        return int(struct.unpack("<H", struct.pack("<e", half))[0])
    if dtype == "bfloat16":
        return float32(rounded(Fraction(single), 7, -133, 2**128)) >> 16
    return float32(single)
