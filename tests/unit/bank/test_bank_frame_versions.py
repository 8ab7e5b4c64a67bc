"""Exact tasks take the frames of version 2 where they are smaller; nothing else does."""

import json

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import tvbank
from tvbank.checkpoint import open_checkpoint
from tvbank.storage import MemoryStorage

DTYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def pair(dtype: str, size: int = 6000) -> tuple[dict, dict]:
    """A base and the same after an update; with odd floats, and weights of zero."""
    rng = np.random.default_rng(3)
    weights = (0.02 * rng.standard_normal((size // 40, 40))).astype(np.float32)
    weights[:, ::7] = 0
    base = weights.astype(DTYPES[dtype])
    move = 1e-4 * rng.standard_normal(weights.shape)
    tuned = (weights + move * (rng.random(weights.shape) < 0.7)).astype(np.float32)
    tuned[0, :3] = np.nan, np.inf, -0.0
    return {"w": base}, {"w": tuned.astype(DTYPES[dtype])}


def stated(bank: tvbank.Bank) -> tuple[str, list[str]]:
    body = json.loads(bank.storage.get("zarr.json"))["attributes"]["tvbank"]
    return body["format"], body["required_features"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_exact_task_is_entropy_coded_and_comes_back_bit_for_bit(dtype, tmp_path):
    base, tuned = pair(dtype)
    bank = tvbank.create(MemoryStorage(), base)
    task = bank.add("t", tuned, tvbank.Exact(standalone=True))
    headers = [task.header(frame) for frame in task.frames("w")]
    assert [header.values for header in headers] == ["magnitudes"]
    assert stated(bank) == ("1.1", ["frame-2"])
    assert bank.verify() == []
    out = tmp_path / "out.safetensors"
    tvbank.export(bank, "t", base=base, out=out)
    with open_checkpoint(out) as checkpoint:
        assert checkpoint.read("w").tobytes() == tuned["w"].tobytes()


def test_banks_of_other_compressors_stay_as_they_were():
    base, tuned = pair("float32")
    tuned["w"][0, :3] = 0
    bank = tvbank.create(MemoryStorage(), base)
    bank.add("t", tuned, tvbank.TSwitch(drop=0.5))
    assert stated(bank) == ("1.0", [])


def test_a_copy_of_an_exact_task_takes_the_feature_along(tmp_path):
    base, tuned = pair("bfloat16")
    save_file(base, tmp_path / "base.safetensors")
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base.safetensors")
    bank.add("t", tuned, tvbank.Exact(standalone=True))
    copy = MemoryStorage()
    tvbank.copy(bank, copy)
    assert stated(tvbank.open(copy)) == ("1.1", ["frame-2"])
