"""Masks over a vector: what is in a file, what must be given, what is no fine-tune at all."""

import io
import pickle

import numpy as np
import pytest
import torch
from artefacts import base_model, bits_of, restored

import tvbank
from tvbank.artefacts import borrow_fine_tune
from tvbank.checkpoint import open_checkpoint
from tvbank.errors import CheckpointError, TvbankError, UnitMismatchError, UsageError


def tall(base, names=("cats", "dogs")):
    """A mask for each data set over all tensors in the order of their names, and the vector."""
    order = sorted(base)
    size = sum(base[name].numel() for name in order)
    masks = {n: (torch.rand(size) < 0.3).numpy() for n in names}
    vector = {name: 0.05 * torch.randn(base[name].shape) for name in order}
    expected = {}
    for dataset, mask in masks.items():
        expected[dataset], at = {}, 0
        for name in order:
            weights = base[name]
            part = torch.from_numpy(mask[at : at + weights.numel()]).reshape(weights.shape)
            added = (weights.float() + vector[name]).to(weights.dtype)
            expected[dataset][name] = torch.where(part, added, weights)
            at += weights.numel()
    return {n: np.packbits(mask) for n, mask in masks.items()}, vector, expected


@pytest.mark.parametrize("how", ["npy", "zip"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tall_masks(tmp_path, how, dtype):
    base = base_model(dtype)
    masks, vector, expected = tall(base)
    path = tmp_path / "TALL_mask_2task.npy"
    if how == "npy":
        np.save(path, masks)
    else:
        torch.save({name: torch.from_numpy(mask) for name, mask in masks.items()}, path)
    got = restored(base, path, dataset="dogs", vector=vector)
    assert bits_of(got) == bits_of(expected["dogs"])
    flat = torch.cat([vector[name].reshape(-1) for name in sorted(vector)])
    torch.save({"merged_tv": flat}, tmp_path / "vector.pt")
    got = restored(base, path, dataset="cats", vector=tmp_path / "vector.pt")
    assert bits_of(got) == bits_of(expected["cats"])
    found = tvbank.inspect(path)
    assert found.kind == "tall-masks"
    assert set(found.needs) == {"dataset", "vector"}
    assert found.facts["datasets"] == ["cats", "dogs"]


def test_tall_masks_ask_for_what_they_lack(tmp_path):
    base = base_model()
    masks, vector, _ = tall(base)
    np.save(tmp_path / "m.npy", masks)
    with pytest.raises(UsageError, match=r"'cats', 'dogs'.*--given dataset="):
        restored(base, tmp_path / "m.npy")
    with pytest.raises(UsageError, match=r"--given vector="):
        restored(base, tmp_path / "m.npy", dataset="cats")
    with pytest.raises(UsageError, match="no data set 'mice'"):
        restored(base, tmp_path / "m.npy", dataset="mice", vector=vector)
    with pytest.raises(UnitMismatchError, match="bits"):
        restored({"w": torch.ones(9)}, tmp_path / "m.npy", dataset="cats", vector=vector)
    del vector["a.weight"]
    with pytest.raises(UnitMismatchError, match=r"a\.weight"):
        restored(base, tmp_path / "m.npy", dataset="cats", vector=vector)


class Hostile:
    def __reduce__(self):
        return print, ("run",)


def pickled(path, value, protocol=4):
    """A file as ``numpy.save`` writes an object, of a pickle of one's own."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "|O", "fortran_order": False, "shape": ()}
    )
    path.write_bytes(
        stream.getvalue() + (value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    )


def test_a_pickle_in_disguise_is_refused(tmp_path, capsys):
    path = tmp_path / "masks.npy"
    base = base_model()
    boxed = np.empty((), object)
    for value in (Hostile(), {"cats": Hostile()}, {"cats": np.dtype("V8")}):
        boxed[()] = value
        pickled(path, boxed)
        with pytest.raises(CheckpointError):
            restored(base, path)
    for data in (
        b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        b"\x80\x02}" + b")" + b"2\x86" * 60 + b"K\x01s.",  # a key of 2**60 tuples
        b"\x80\x02}" + b")q\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"K\x01s.",
        b"\x80\x02r\xff\xff\xff\x7f.",
        b"\x80\x04N\x94r\xff\xff\xff\x7f.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"",
    ):
        pickled(path, data)
        with pytest.raises(CheckpointError):
            restored(base, path)
    assert "run" not in capsys.readouterr().out


def test_truncated_pickles_of_numpy(tmp_path):
    masks, _, _ = tall(base_model())
    np.save(tmp_path / "m.npy", masks)
    sound = (tmp_path / "m.npy").read_bytes()
    for length in (7, 20, 128, 140, len(sound) // 2, len(sound) - 1):
        (tmp_path / "m.npy").write_bytes(sound[:length])
        with pytest.raises(TvbankError):
            restored(base_model(), tmp_path / "m.npy", dataset="cats")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("listed", [True, False])
def test_emr(tmp_path, dtype, listed):
    base = base_model(dtype)
    unified = {name: (0.02 * torch.randn(w.shape)).to(dtype) for name, w in base.items()}
    masks = {t: {n: torch.rand(w.shape) < 0.5 for n, w in base.items()} for t in ("cats", "dogs")}
    scales = {"cats": torch.tensor(0.8), "dogs": torch.tensor(1.3)}
    content = {"unified": unified, "masks": masks, "rescalers": scales}
    if listed:
        content |= {"masks": list(masks.values()), "rescalers": [s.item() for s in scales.values()]}
    torch.save(content, tmp_path / "emr.pt")
    expected = {}
    for name, weights in base.items():
        kept = masks["dogs"][name]
        delta = unified[name].float() * kept.float() * scales["dogs"]
        expected[name] = torch.where(kept, (weights.float() + delta).to(dtype), weights)
    got = restored(base, tmp_path / "emr.pt", dataset=1 if listed else "dogs")
    assert bits_of(got) == bits_of(expected)
    with pytest.raises(UsageError, match="--given dataset="):
        restored(base, tmp_path / "emr.pt")


@pytest.mark.parametrize(
    "content",
    [
        {"unified": {"w": torch.ones(4)}},
        {"masks": [{"w": torch.ones(4) > 0}], "rescalers": [1.0]},
        {"w": torch.ones(4) > 0, "v": torch.zeros(2) > 0},
        {"w": torch.ones(4, dtype=torch.int8)},
    ],
)
def test_research_dicts_are_no_fine_tunes(tmp_path, content):
    torch.save(content, tmp_path / "dict.pt")
    with pytest.raises(CheckpointError, match="no fine-tune by itself"):
        restored({"w": torch.randn(4), "v": torch.randn(2)}, tmp_path / "dict.pt")
    found = tvbank.inspect(tmp_path / "dict.pt")
    assert found.kind == "research"
    assert not found.how
    assert "no fine-tune" in found.remark


def test_damaged_pickles_of_numpy(tmp_path):
    masks, _, vector = tall(base_model())
    path = tmp_path / "m.npy"
    np.save(path, masks)
    sound = bytearray(path.read_bytes())
    given = {"dataset": "cats", "vector": vector}
    refused = 0
    with open_checkpoint(base_model()) as base:
        for place in range(128, len(sound)):
            damaged = sound.copy()
            damaged[place] = (damaged[place] + 1) % 256
            path.write_bytes(damaged)
            try:
                with borrow_fine_tune(path, base, given) as tuned:
                    for name in tuned.tensors:
                        tuned.read(name)
            except TvbankError:
                refused += 1
    assert refused > (len(sound) - 128) // 2
