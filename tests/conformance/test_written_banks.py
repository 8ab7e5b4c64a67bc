"""What tvbank writes is valid, and the reference reader gets the same weights out of it."""

import json

import ml_dtypes
import numpy as np
import pytest
from test_schemas import documents, schema_of, validator

import tvbank
from spec.reference.bank import open_bank
from spec.reference.routers import likelihoods, route
from spec.reference.verify import verify


def base_model():
    rng = np.random.default_rng(5)
    tied = rng.standard_normal((12, 9)).astype(np.float32)
    return {
        "embed": tied,
        "half": rng.standard_normal(70).astype(np.float16),
        "brain": rng.standard_normal((3, 40)).astype(ml_dtypes.bfloat16),
        "scale": np.array(0.5, np.float32),
        "none": np.zeros((3, 0), np.float32),
        "steps": np.array([1, 2]),
        "head": tied,
    }


def tuned_model():
    rng = np.random.default_rng(6)
    tuned = {
        name: np.asarray(array + 0.01 * rng.standard_normal(array.shape)).astype(array.dtype)
        for name, array in base_model().items()
        if array.dtype.kind != "i"
    }
    tuned["head"] = tuned["embed"]
    return tuned | {
        "steps": np.array([5, 6]),
        "classifier": np.arange(6, dtype=ml_dtypes.bfloat16).reshape(2, 3),
        "zeros": np.zeros((4, 4), np.float16),
        "nothing": np.zeros((0, 2), np.float32),
        "flags": np.array([True, False]),
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A bank on disk with a lossy, an exact, an unchanged and a resized task."""
    folder = tmp_path_factory.mktemp("written") / "bank"
    base = base_model()
    bank = tvbank.create(folder, base, chunk_length=16)
    metadata = {"b": [1, {"d": 2, "c": 3}], "a": 0}
    bank.add("Lossy.1", tuned_model(), tvbank.TSwitch(drop=0.8), metadata)
    odd = tuned_model()
    bits = odd["embed"].view(np.uint32).reshape(-1)
    bits[:6] = [0x7FC01234, 0xFF800001, 0x80000000, 0, 0x7F800000, 0xFFFFFFFF]
    odd["half"].view(np.uint16)[:3] = [0x8000, 0x7C01, 0xFFFF]
    bank.add("exact", odd, tvbank.Exact())
    bank.add("same", base, tvbank.Exact())
    resized = tuned_model() | {"brain": np.ones((5, 40), ml_dtypes.bfloat16)}
    bank.add("resized", resized, tvbank.TSwitch(drop=0.5), replace_mismatched=True)
    bank.add("gone", base, tvbank.Exact())
    bank.remove("gone")
    return folder, odd


def test_reference_reader_finds_no_fault(written):
    folder, _ = written
    bank = open_bank(folder)
    verify(bank)
    assert list(bank.catalog.tasks) == ["Lossy.1", "exact", "resized", "same"]
    assert bank.catalog.generation == 6


def test_reference_reader_opens_a_bank_without_tasks(tmp_path):
    bank = tvbank.create(tmp_path / "bank", base_model())
    verify(open_bank(tmp_path / "bank"))
    bank.add("gone", tuned_model(), tvbank.Exact())
    bank.remove("gone")
    bank.gc(grace=0)
    verify(open_bank(tmp_path / "bank"))


def test_both_readers_route_alike(written, tmp_path):
    folder = tmp_path / "bank"
    tvbank.copy(written[0], folder)
    bank = tvbank.open(folder)
    rng = np.random.default_rng(4)
    middles = 2 * rng.standard_normal((3, 1, 6))
    rows = (middles + rng.standard_normal((3, 20, 6))).astype(np.float32)
    features = dict(zip(["exact", "same", "Lossy.1"], rows[:, ::2], strict=True))
    queries = np.concatenate([*rows[:, 1::2], rows[0] + 40])
    bank.add_router("r", tvbank.Router.fit(features, neighbours=4, at="encoder.layer.1"))
    bank.add_router("plain", tvbank.Router.fit(features, neighbours=7, metric="euclidean"))
    slow = open_bank(folder)
    verify(slow)
    for name in bank.routers:
        expected = [route(*slow.router(name), query.tolist()) for query in queries]
        assert np.allclose(bank.router(name).weights(queries), expected, atol=1e-12)
        expected = [likelihoods(*slow.router(name), query.tolist()) for query in queries]
        assert np.allclose(bank.router(name).posterior(queries), expected, atol=1e-5)
    for key, document in documents(folder).items():
        if not key.startswith("base/location/"):
            validator(schema_of(key)).validate(document)


def test_schemas_accept_all_documents(written):
    folder, _ = written
    found = documents(folder)
    named = {key for key in found if not key.startswith(("tasks/gone/", "base/location/"))}
    assert len(named) > 20
    for key in named:
        validator(schema_of(key)).validate(found[key])


def test_documents_are_compact(written):
    folder, _ = written
    for path in folder.rglob("zarr.json"):
        compact = json.dumps(
            json.loads(path.read_bytes()), separators=(",", ":"), ensure_ascii=False
        )
        assert path.read_bytes() == compact.encode()


def test_exact_task_by_the_reference_reader(written):
    folder, odd = written
    bank, base = open_bank(folder), base_model()
    for name, array in odd.items():
        start = base[name].tobytes() if name in base else b""
        assert bank.weights("exact", name, start) == array.tobytes(), name
    for name, array in base.items():
        assert bank.weights("same", name, array.tobytes()) == array.tobytes()


@pytest.mark.parametrize("task", ["Lossy.1", "resized"])
def test_lossy_task_by_both_readers(written, task, tmp_path):
    folder, _ = written
    bank, base = open_bank(folder), base_model()
    out = tmp_path / "out.safetensors"
    tvbank.export(tvbank.open(folder), task, base=base, out=out)
    exported = safetensors(out.read_bytes())
    assert set(base) <= set(exported)
    for name, data in exported.items():
        start = base[name].tobytes() if name in base else b""
        assert bank.weights(task, name, start) == data, name


def safetensors(data: bytes) -> dict[str, bytes]:
    """Raw bytes of the tensors of a file."""
    size = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    header.pop("__metadata__", None)
    return {name: body[slice(*each["data_offsets"])] for name, each in header.items()}
