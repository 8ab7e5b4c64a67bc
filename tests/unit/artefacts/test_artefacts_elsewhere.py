"""Artefacts under a URL: each is what its files are on this machine, and leaves nothing behind."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from artefacts import base_model, bits_of, restored
from safetensors.torch import save_file
from servers import FileServer, environment, s3_environment, s3_server

import tvbank
from tvbank.artefacts import identify_fine_tune
from tvbank.building import build
from tvbank.errors import CheckpointError, StorageError, UsageError
from tvbank.storage import open_storage

BASE = base_model()


def bitdelta(folder):
    bits = torch.randint(-(2**31), 2**31, (2, 32), dtype=torch.int64).int()
    torch.save({"a.mask": bits, "a.coeff": torch.tensor(0.25)}, folder / "diff.pt")
    return "diff.pt", {}


def emr(folder):
    unified = {name: 0.02 * torch.randn(w.shape) for name, w in BASE.items()}
    masks = [{name: torch.rand(w.shape) < 0.5 for name, w in BASE.items()} for _ in range(2)]
    torch.save({"unified": unified, "masks": masks, "rescalers": [1, 2]}, folder / "emr.pt")
    return "emr.pt", {"dataset": 1}


def sparse(folder):
    pairs = {"a.weight.indices": torch.tensor([3, 70], dtype=torch.int32),
             "a.weight.values": torch.tensor([1.5, -2.0])}  # fmt: skip
    (folder / "deltas").mkdir()
    save_file(pairs, folder / "deltas" / "step_000001.safetensors")
    return "deltas/step_000001.safetensors", {"before": "base"}


def hf_delta(folder):
    bank = tvbank.create(folder / "versions", BASE)
    bank.add("t", {n: w + 1 for n, w in BASE.items()}, tvbank.Exact())
    tvbank.write_hf_delta(bank, "t", out=folder / "weight_v000001", checksums="adler32")
    return "weight_v000001", {}


def plain(folder):
    torch.save({name: w + 0.5 for name, w in BASE.items()}, folder / "cats.pt")
    return "cats.pt", {}


def kohya(folder):
    factors = {
        "lora_unet_a.lora_down.weight": torch.randn(2, 64),
        "lora_unet_a.lora_up.weight": torch.randn(32, 2),
        "lora_unet_a.alpha": torch.tensor(1.0),
    }
    save_file(factors, folder / "lora.safetensors")
    return "lora.safetensors", {}


def bit_files(folder):
    """As T-Switch's code writes them: all groups, of each every second entry."""
    place = folder / "model_drop_0.5_group_4" / "cats"
    place.mkdir(parents=True)
    for name, weights in BASE.items():
        groups, each = weights.numel() // min(4, weights.numel()), [1, 0, 1, 0]
        kept = each[: min(4, weights.numel())]
        signs = [1] * groups + ([*kept, 1, 0] if len(kept) > 1 else [*kept, 1]) * groups
        (place / f"cats_{name}_compressed.bin").write_bytes(np.packbits(signs).tobytes())
    return "model_drop_0.5_group_4/cats", {"scale": 0.5}


def deltazip(folder):
    place = folder / "zipped"
    place.mkdir()
    quantised = {
        "a.qweight": torch.randint(-(2**31), 2**31, (8, 32), dtype=torch.int64).int(),
        "a.qzeros": torch.randint(-(2**31), 2**31, (1, 4), dtype=torch.int64).int(),
        "a.scales": torch.rand(1, 32).half(),
        "a.g_idx": torch.zeros(64, dtype=torch.int32),
        "norm.weight": torch.ones(32),
    }
    save_file(quantised, place / "deltazip-compressed.safetensors")
    (place / "compress_config.json").write_text(json.dumps({"bits": 4, "sparsity": 0.0}))
    return "zipped", {}


#: Kinds that are found in any store; those after them in one that lists its objects.
EVERYWHERE = [bitdelta, emr, sparse, hf_delta, plain, kohya, deltazip]


@pytest.fixture
def no_debris(tmp_path, monkeypatch):
    """Nothing that was fetched is there afterwards."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setenv("TMPDIR", str(place))  # of worker processes
    yield
    assert list(place.glob("tvbank-*")) == []


@pytest.mark.parametrize("make", EVERYWHERE, ids=lambda make: make.__name__)
def test_over_http_an_artefact_is_what_its_files_are(make, tmp_path, no_debris):
    torch.manual_seed(3)
    path, given = make(tmp_path)
    expected = bits_of(restored(BASE, tmp_path / path, **given))
    with FileServer(tmp_path, tags=True) as server:
        url = f"{server.url}/{path}"
        assert bits_of(restored(BASE, url, **given)) == expected
        there, here = tvbank.inspect(url), tvbank.inspect(tmp_path / path)
        assert (there.kind, there.tensors) == (here.kind, here.tensors)
        assert there.how == [how.replace(str(tmp_path), server.url) for how in here.how]
        named = identify_fine_tune(url)
        assert named == identify_fine_tune(url)
        if make is plain:
            (tmp_path / path).write_bytes((tmp_path / path).read_bytes() + b"\0")
            assert named != identify_fine_tune(url)


def test_a_store_that_lists_has_folders_of_bit_files(tmp_path, no_debris):
    path, given = bit_files(tmp_path)
    expected = bits_of(restored(BASE, tmp_path / path, **given))
    with s3_server() as port, environment(s3_environment(port)):
        store = open_storage(f"s3://bucket/{path}")
        for file in (tmp_path / path).iterdir():
            store.put(file.name, file.read_bytes())
        assert bits_of(restored(BASE, f"s3://bucket/{path}", **given)) == expected
        assert tvbank.inspect(f"s3://bucket/{path}").kind == "tswitch"


def test_a_manifest_and_versions_one_after_another(tmp_path, no_debris):
    sparse(tmp_path)
    more = {"a.weight.indices": torch.tensor([5]), "a.weight.values": torch.tensor([9.0])}
    save_file(more, tmp_path / "deltas" / "step_000002.safetensors")
    save_file(BASE, tmp_path / "base.safetensors")
    with FileServer(tmp_path, tags=True) as server:
        first, second = (f"{server.url}/deltas/step_00000{n}.safetensors" for n in (1, 2))
        task = {"checkpoint": second, "given": {"before": [first]}, "method": "exact"}
        place = {"bank": str(tmp_path / "bank"), "base": str(tmp_path / "base.safetensors")}
        assert not build({**place, "tasks": {"t": task}}, workers=1).failed
    state = tvbank.open(tmp_path / "bank").state_dict("t")["a.weight"].reshape(-1)
    assert state[[3, 70, 5]].tolist() == [1.5, -2.0, 9.0]


def test_what_is_wrong_names_the_url_and_leaves_nothing(tmp_path, no_debris):
    (tmp_path / "bad.pt").write_bytes(b"\x80\x04no pickle at all")
    bank = tvbank.create(tmp_path / "bank", BASE)
    with FileServer(tmp_path) as server:
        for name in ("bad.pt", "absent.pt"):
            with pytest.raises(CheckpointError, match=rf"{server.url}/{name}"):
                bank.add("t", f"{server.url}/{name}")
        emr(tmp_path)
        with pytest.raises(UsageError, match=rf"{server.url}/emr.pt.*dataset"):
            bank.add("t", f"{server.url}/emr.pt")
        sparse(tmp_path)
        with pytest.raises(CheckpointError, match="changes a base and is none"):
            tvbank.create(tmp_path / "other", f"{server.url}/deltas/step_000001.safetensors")
    with pytest.raises(StorageError):
        tvbank.inspect(f"{server.url}/emr.pt")
    assert list(bank) == []
    assert Path(tempfile.gettempdir()).is_dir()
