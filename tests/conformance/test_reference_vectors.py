"""The reference reader decodes every valid vector and refuses every invalid one with its code."""

import ast
import hashlib
import shutil
import struct
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import ROOT, VECTORS, name_of, vectors

from spec.reference.__main__ import dense_bytes, main
from spec.reference.bank import open_bank
from spec.reference.frame import decode_frame
from spec.reference.invalid import Invalid
from spec.reference.verify import verify

FRAME_REASONS = {
    "frame-truncated", "frame-version", "element-type", "mask-encoding", "value-encoding", "count",
    "entries-mismatch", "mask-parameter", "value-parameter", "mask-section", "frame-trailing",
    "padding", "non-canonical", "position", "code", "table", "magnitude", "value", "zero-value",
}  # fmt: skip
BANK_REASONS = {
    "document-missing", "document-size", "document-digest", "document-syntax", "version", "feature",
    "limit", "name", "layout", "object-missing", "object-size", "object-digest", "index-checksum",
    "index-range", "frame-checksum", "address", "extra", "marker", "router", "chain",
    "product-checksum", "product",
}  # fmt: skip


@pytest.mark.parametrize("vector", vectors("frames/valid"), ids=name_of)
def test_valid_frame(vector):
    expected = vector.expected
    frame = decode_frame(vector.data, expected["entries"], vector.exponents)
    assert decode_frame(vector.data, None, vector.exponents) == frame
    assert frame.element == expected["element"]
    assert frame.entries == expected["entries"]
    assert len(frame.patterns) == expected["nonzeros"]
    if "positions" in expected:
        assert list(frame.positions) == expected["positions"]
        assert [f"{pattern:08x}" for pattern in frame.patterns] == expected["patterns"]
    else:
        dense = struct.pack(f"<{frame.entries}I", *frame.dense())
        assert hashlib.sha256(dense).hexdigest() == expected["dense_sha256"]


@pytest.mark.parametrize("vector", vectors("frames/invalid"), ids=name_of)
def test_invalid_frame(vector):
    with pytest.raises(Invalid) as raised:
        decode_frame(vector.data, vector.expected.get("expected_entries"), vector.exponents)
    assert raised.value.reason == vector.expected["reason"]


@pytest.mark.parametrize("vector", vectors("banks/valid"), ids=name_of)
def test_valid_bank(vector):
    bank = open_bank(vector.path)
    verify(bank)
    base = {name: bytes.fromhex(data) for name, data in vector.expected["base"].items()}
    assert list(bank.catalog.tasks) == list(vector.expected["tasks"])
    for name, task in vector.expected["tasks"].items():
        assert bank.catalog.tasks[name].element == task["element"]
        for unit, expected in task["units"].items():
            entries = bank.entries(name, unit, base.get(unit))
            assert len(entries.positions) == expected["nonzeros"]
            dense = dense_bytes(bank.layout.units[unit].size, *entries)
            assert hashlib.sha256(dense).hexdigest() == expected["dense_sha256"]
        extras = {extra.name: extra for extra in bank.revision(name).extras}
        assert list(extras) == list(task["extras"])
        for extra, expected in task["extras"].items():
            assert extras[extra].dtype == expected["dtype"]
            assert list(extras[extra].shape) == expected["shape"]
            assert hashlib.sha256(bank.extra(name, extra)).hexdigest() == expected["sha256"]
        for tensor, digest in task["weights_sha256"].items():
            start = base[bank.layout.tied.get(tensor, tensor)]
            weights = bank.weights(name, tensor, start)
            assert hashlib.sha256(weights).hexdigest() == digest, (name, tensor)
    routers = vector.expected.get("routers", {})
    assert list(bank.catalog.routers) == list(routers)
    for name, expected in routers.items():
        router, arrays = bank.router(name)
        assert (router.tasks, router.at) == (expected["tasks"], expected["at"])
        assert (router.width, router.neighbours) == (expected["width"], expected["neighbours"])
        assert router.spread == expected["spread"]
        thresholds = expected["rejection"] and tuple(expected["rejection"].values())
        assert router.rejection == thresholds
        found = {e.name: data.hex() for e, data in zip(router.extras, arrays, strict=True)}
        assert found == expected["arrays"]


@pytest.mark.parametrize("vector", vectors("banks/invalid"), ids=name_of)
def test_invalid_bank(vector, capsys):
    with pytest.raises(Invalid) as raised:
        verify(open_bank(vector.path))
    assert raised.value.reason == vector.expected["reason"]
    assert main([str(vector.path)]) == 1
    assert capsys.readouterr().err.startswith(f"invalid: {vector.expected['reason']}: ")


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy of a bank with one of everything, to be damaged."""
    folder = tmp_path_factory.mktemp("copied") / "bank"
    shutil.copytree(VECTORS / "banks" / "valid" / "mixed", folder)
    return folder


@given(st.data())
@settings(max_examples=60)
def test_any_damage_is_noticed(copied, data):
    files = sorted(path for path in copied.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files), label="file")
    intact = path.read_bytes()
    at = data.draw(st.integers(0, len(intact) - 1), label="byte")
    bit = data.draw(st.none() | st.integers(0, 7), label="bit")
    damaged = intact[:at]
    if bit is not None:
        damaged += bytes([intact[at] ^ 1 << bit]) + intact[at + 1 :]
    path.write_bytes(damaged)
    try:
        with pytest.raises(Invalid):
            verify(open_bank(copied))
    finally:
        path.write_bytes(intact)


def test_every_reason_has_a_vector():
    frames = Counter(vector.expected["reason"] for vector in vectors("frames/invalid"))
    banks = Counter(vector.expected["reason"] for vector in vectors("banks/invalid"))
    assert set(frames) == FRAME_REASONS
    assert set(banks) >= BANK_REASONS
    assert set(banks) <= BANK_REASONS | FRAME_REASONS


def test_every_reason_is_in_the_spec():
    frame, container = (
        (ROOT / "spec" / f"{page}.md").read_text() for page in ("frame", "container")
    )
    assert all(f"| `{reason}` |" in frame for reason in FRAME_REASONS)
    assert all(f"`{reason}`" in container for reason in BANK_REASONS)


@pytest.mark.parametrize("how", [["-m", "spec.reference"], ["spec/reference"]], ids=" ".join)
def test_command_line(how):
    mixed = str(VECTORS / "banks" / "valid" / "mixed")

    def run(*arguments):
        command = [sys.executable, *how, mixed, *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert run().stdout.endswith("\nvalid\n")
    assert run("nobody").returncode == 2
    lines = run("lossy", "scale").stdout.splitlines()
    expected = hashlib.sha256(struct.pack("<f", -0.125)).hexdigest()
    assert lines == [f"{expected}  1/1  scale"]


def test_reference_stands_alone():
    allowed = {*sys.stdlib_module_names, "bitarray", "numcodecs"}
    for path in (ROOT / "spec" / "reference").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            assert {name.partition(".")[0] for name in names} <= allowed, path
