"""Compressed deltas, as the libraries that write them wrote them or as an independent writer does.

Each is added to a bank with ``Exact``, exported, and compared bit for bit with the same sum taken
here, in torch and without tvbank.
"""

import contextlib
import io
import json
import warnings

import deltatensors
import numpy as np
import pytest
import torch
from artefacts import base_model, bits_of, restored
from safetensors.torch import save_file

import tvbank
from tvbank.errors import (
    BaseMismatchError,
    CheckpointError,
    TvbankError,
    UnitMismatchError,
    UsageError,
)

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def packed(mask):
    """Bits [in, out] as BitDelta packs them: 32 inputs a word, the first in the lowest bit."""
    inputs, outputs = mask.shape
    words = np.zeros((inputs // 32, outputs), np.uint32)
    for row in range(inputs):
        words[row // 32] |= mask[row].numpy().astype(np.uint32) << np.uint32(row % 32)
    return torch.from_numpy(words.view(np.int32))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bitdelta(tmp_path, dtype):
    base = base_model(dtype)
    tuned = {k: v + (0.01 * torch.randn(v.shape)).to(dtype) for k, v in base.items()}
    diff, expected = {}, dict(base)
    for name in ("a", "b"):
        delta = tuned[f"{name}.weight"] - base[f"{name}.weight"]
        mask = (delta >= 0).T
        coeff = delta.float().abs().mean()
        diff |= {f"{name}.mask": packed(mask), f"{name}.coeff": coeff}
        signs = (mask.int() * 2 - 1).float() * coeff
        expected[f"{name}.weight"] = base[f"{name}.weight"] + signs.T.to(dtype)
    diff["norm.weight"] = expected["norm.weight"] = tuned["norm.weight"]
    torch.save(diff, tmp_path / "diff.pt")
    assert bits_of(restored(base, tmp_path / "diff.pt")) == bits_of(expected)
    found = tvbank.inspect(tmp_path / "diff.pt")
    assert found.kind == "bitdelta"
    assert {t.name: t.role for t in found.tensors} == {
        "a.weight": "delta", "b.weight": "delta", "norm.weight": "replacement",
    }  # fmt: skip
    assert found.how == [f"tvbank add BANK NAME {tmp_path / 'diff.pt'}"]


def test_bitdelta_with_factors_and_a_scale_a_row_or_column(tmp_path):
    base = base_model(torch.bfloat16)
    a, b = torch.randn(64, 3), torch.randn(3, 32)
    row, column = torch.rand(64).bfloat16(), torch.rand(96).bfloat16()
    left, right = torch.randn(64, 32) >= 0, torch.randn(32, 96) >= 0
    diff = {
        "a.mask_row": packed(left), "a.coeff_row": row, "a.A": a, "a.B": b,
        "b.mask_col": packed(right), "b.coeff_col": column,
    }  # fmt: skip
    expected = dict(base)
    product = torch.from_numpy(a.numpy() @ b.numpy())
    signs = left.float() * 2 - 1
    expected["a.weight"] = base["a.weight"] + (signs * row.float()[:, None]).T.bfloat16()
    expected["a.weight"] = expected["a.weight"] + product.T.bfloat16()
    signs = right.float() * 2 - 1
    expected["b.weight"] = base["b.weight"] + (signs * column.float()[None, :]).T.bfloat16()
    torch.save(diff, tmp_path / "delta.pt")
    assert bits_of(restored(base, tmp_path / "delta.pt")) == bits_of(expected)


def test_bitdelta_that_does_not_fit(tmp_path):
    base = base_model()
    mask = torch.zeros(2, 32, dtype=torch.int32)
    cases = [
        ({"c.mask": mask, "c.coeff": torch.tensor(1.0)}, UnitMismatchError, "c.weight"),
        ({"b.mask": mask, "b.coeff": torch.tensor(1.0)}, CheckpointError, "b.weight"),
        ({"a.mask": mask, "a.coeff": torch.ones(3)}, CheckpointError, "number of scales"),
        ({"a.mask": mask.long(), "a.coeff": torch.tensor(1.0)}, CheckpointError, "int32"),
    ]
    for diff, error, message in cases:
        torch.save(diff, tmp_path / "diff.pt")
        with pytest.raises(error, match=message):
            restored(base, tmp_path / "diff.pt")


def written_by_deltatensors(path, tuned, base, **options):
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        deltatensors.save_delta(path, tuned, base, use_gpu=False, **options)
        return deltatensors.load_delta(path, base)


@pytest.mark.parametrize(
    "options",
    [{"strategy": "sparse", "sparsity": 0.7}, {"strategy": "quantized"},
     {"strategy": "int4", "outlier_fraction": 0.05}],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_deltatensors(tmp_path, options, dtype):
    rng = np.random.default_rng(1)
    shapes = {"a": (33, 17), "b": (7,), "c": (2, 3, 5)}
    base = {n: rng.standard_normal(s).astype(dtype) for n, s in shapes.items()}
    tuned = {n: (w + 0.01 * rng.standard_normal(w.shape)).astype(dtype) for n, w in base.items()}
    path = tmp_path / "model.wdelta"
    theirs = written_by_deltatensors(path, tuned, base, **options)
    expected = {name: weights.astype(dtype) for name, weights in theirs.items()}
    assert bits_of(restored(base, path)) == bits_of(expected)
    found = tvbank.inspect(path)
    assert found.kind == "deltatensors"
    assert len(found.facts["base_sha256"]) == 64


def test_a_wdelta_of_another_base_is_refused(tmp_path):
    base = {"a": np.ones((4, 4), np.float32)}
    written_by_deltatensors(tmp_path / "d.wdelta", {"a": base["a"] * 2}, base, strategy="quantized")
    other = {"a": base["a"] * 3}
    with pytest.raises(BaseMismatchError, match="other weights"):
        restored(other, tmp_path / "d.wdelta")


def test_a_wdelta_after_a_wdelta(tmp_path):
    rng = np.random.default_rng(2)
    base = {"a": rng.standard_normal((8, 8), dtype=np.float32)}
    one = {"a": base["a"] + rng.standard_normal((8, 8), dtype=np.float32)}
    two = {"a": one["a"] + rng.standard_normal((8, 8), dtype=np.float32)}
    first, second = tmp_path / "1.wdelta", tmp_path / "2.wdelta"
    got = written_by_deltatensors(first, one, base, strategy="int4")
    got = written_by_deltatensors(second, two, got, strategy="int4")
    with pytest.raises(BaseMismatchError, match="before"):
        restored(base, second)
    assert bits_of(restored(base, second, before=first)) == bits_of(got)


def test_damaged_wdeltas(tmp_path):
    rng = np.random.default_rng(3)
    base = {"a": rng.standard_normal((8, 8), dtype=np.float32)}
    path = tmp_path / "d.wdelta"
    written_by_deltatensors(path, {"a": base["a"] + 1}, base, strategy="sparse")
    sound = path.read_bytes()
    for damaged in (
        sound[:10],
        sound[:60],
        sound[:-1],
        sound + b"x",
        sound[:80] + b"\xff" + sound[81:],
    ):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged"):
            restored(base, path)


def grouped_bits(entries, group):
    """T-Switch's bits of a flat array of +1, -1 and 0, most significant first."""
    group = min(group, len(entries))
    marks, rest = [], []
    for start in range(0, len(entries), group):
        part = entries[start : start + group]
        marks.append(int(any(part)))
        if any(part):
            rest += [int(e != 0) for e in part] + [int(e > 0) for e in part if e]
    return np.packbits(np.array(marks + rest, np.uint8)).tobytes()


def tswitch_folder(tmp_path, base, drop=0.8, group=4):
    folder = tmp_path / f"output/vit_drop_{drop}_group_{group}/cats"
    folder.mkdir(parents=True)
    kept = {}
    for name, weights in base.items():
        entries = torch.where(
            torch.rand(weights.shape) < drop, 0, torch.randn(weights.shape).sign()
        )
        kept[name] = entries.int()
        data = grouped_bits(kept[name].reshape(-1).tolist(), group)
        (folder / f"cats_{name}_compressed.bin").write_bytes(data)
    return folder, kept


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("group", [1, 4, 64])
def test_tswitch_files(tmp_path, dtype, group):
    base = base_model(dtype)
    folder, kept = tswitch_folder(tmp_path, base, group=group)
    expected = {
        n: torch.where(kept[n] != 0, (w.float() + kept[n] * np.float32(0.02)).to(dtype), w)
        for n, w in base.items()
    }
    assert bits_of(restored(base, folder, scale="0.02")) == bits_of(expected)
    scales = {name: torch.tensor(0.01 * (1 + k)) for k, name in enumerate(base)}
    torch.save(scales, tmp_path / "scaling_factor_dict.pt")
    expected = {
        n: torch.where(kept[n] != 0, (w.float() + kept[n] * scales[n]).to(dtype), w)
        for n, w in base.items()
    }
    got = restored(base, folder, scales=tmp_path / "scaling_factor_dict.pt")
    assert bits_of(got) == bits_of(expected)


def test_tswitch_with_magnitudes_from_the_fine_tune(tmp_path):
    base = base_model()
    folder, kept = tswitch_folder(tmp_path, base)
    tuned = {n: w + 0.01 * kept[n].abs() * torch.randn(w.shape) for n, w in base.items()}
    got = restored(base, folder, fine_tune=tuned)
    for name, weights in base.items():
        tau = (tuned[name] - weights) * (kept[name] != 0)
        scale = (torch.norm(tau.double()) / torch.norm(kept[name].double())).nan_to_num()
        expected = weights + kept[name] * scale.float()
        assert torch.allclose(torch.from_numpy(got[name]), expected, rtol=0, atol=1e-7)


def test_tswitch_asks_for_what_its_files_lack(tmp_path):
    base = base_model()
    folder, _ = tswitch_folder(tmp_path, base)
    found = tvbank.inspect(folder)
    assert found.kind == "tswitch"
    assert "scale" in found.needs
    assert "--given scale=" in found.how[0]
    with pytest.raises(UsageError, match=r"--given scale=.*--given fine_tune="):
        restored(base, folder)
    with pytest.raises(UsageError, match="number"):
        restored(base, folder, scale="much")
    with pytest.raises(UsageError, match="takes no 'skale'"):
        restored(base, folder, skale=1)
    with pytest.raises(TvbankError, match="group"):
        restored(base, folder, scale=1, group_size=8)
    moved = folder.rename(tmp_path / "cats")
    with pytest.raises(UsageError, match="--given group_size="):
        restored(base, moved, scale=1)


def test_damaged_tswitch_files(tmp_path):
    base = base_model()
    folder, _ = tswitch_folder(tmp_path, base)
    path = folder / "cats_a.weight_compressed.bin"
    sound = path.read_bytes()
    for damaged in (b"", sound[:20], sound[:-1], sound + b"\0", sound + bytes(10**5)):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"a\.weight"):
            restored(base, folder, scale=1)


def test_a_checkpoint_needs_nothing_given(tmp_path):
    base = base_model()
    with pytest.raises(UsageError, match="is a checkpoint"):
        restored(base, {n: w + 0.01 for n, w in base.items()}, scale=1)


def packed_codes(codes, bits):
    """Codes [n, m] that run down the columns of words of 32 bits, the least bits first."""
    rows, columns = codes.shape
    words = np.zeros((rows * bits // 32, columns), np.uint32)
    for row in range(rows):
        for bit in range(bits):
            at = row * bits + bit
            words[at // 32] |= ((codes[row] >> bit) & 1).astype(np.uint32) << np.uint32(at % 32)
    return torch.from_numpy(words.view(np.int32))


def deltazip_folder(folder, base, bits, groups=1, config=()):
    """The files, and what they make of the base."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(bits)
    held, expected = {}, {}
    for module in ("a", "b"):
        outputs, inputs = base[f"{module}.weight"].shape
        codes = rng.integers(0, 2**bits, (inputs, outputs))
        zeros = rng.integers(0, 2**bits - 1, (groups, outputs))
        scales = torch.from_numpy(rng.uniform(0.001, 0.01, (groups, outputs))).half()
        index = torch.from_numpy(rng.integers(0, groups, inputs)).int()
        held |= {
            f"{module}.qweight": packed_codes(codes, bits),
            f"{module}.qzeros": packed_codes(zeros.T, bits).T.contiguous(),
            f"{module}.scales": scales,
            f"{module}.g_idx": index,
        }
        steps = torch.from_numpy(codes) - (torch.from_numpy(zeros) + 1)[index.long()]
        delta = (scales[index.long()] * steps).half()
        weights = base[f"{module}.weight"]
        expected[f"{module}.weight"] = (weights.float() + delta.T.float()).to(weights.dtype)
    held["norm.weight"] = torch.full((32,), 1.5, dtype=torch.float16)
    expected["norm.weight"] = held["norm.weight"].to(base["norm.weight"].dtype)
    save_file(held, folder / "deltazip-compressed.safetensors")
    facts = {"bits": bits, "lossless": "none", "base_model": "org/model"} | dict(config)
    (folder / "compress_config.json").write_text(json.dumps(facts))
    return dict(base) | expected


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("dtype", DTYPES)
def test_deltazip(tmp_path, bits, dtype):
    base = base_model(dtype)
    expected = deltazip_folder(tmp_path / "delta", base, bits, groups=1 + bits % 2)
    assert bits_of(restored(base, tmp_path / "delta")) == bits_of(expected)
    found = tvbank.inspect(tmp_path / "delta")
    assert (found.kind, found.facts["base_model"]) == ("deltazip", "org/model")
    assert {t.name: t.role for t in found.tensors}["norm.weight"] == "replacement"


def test_deltazip_that_cannot_be_read(tmp_path):
    base = base_model()
    for config, message in (
        ({"lossless": "gdeflate"}, "gdeflate"),
        ({"prunen": 2, "prunem": 4}, "2:4"),
        ({"bits": 5}, "5 bits"),
        ({"bits": 8}, "codes"),
    ):
        deltazip_folder(tmp_path / "delta", base, 4, config=config)
        with pytest.raises(CheckpointError, match=message):
            restored(base, tmp_path / "delta")
    (tmp_path / "delta/compress_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"quantised model \(GPTQ\)"):
        restored(base, tmp_path / "delta")
    found = tvbank.inspect(tmp_path / "delta")
    assert not found.how
    assert "GPTQ" in found.remark
