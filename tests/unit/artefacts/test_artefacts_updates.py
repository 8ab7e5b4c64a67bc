"""Updates of training fleets: read as fine-tunes, written from a bank; each way held against an
independent writer or reader of the published layout (zstandard, xxhash, blake3, safetensors)."""

import json
import zlib
from pathlib import Path

import blake3
import numpy as np
import pytest
import safetensors.numpy
import torch
import xxhash
import zstandard
from artefacts import base_model, bits_of, restored
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import tvbank
from tvbank.cli import app
from tvbank.cli import weights as _weights  # noqa: F401 - registers its verbs
from tvbank.errors import (
    BankExistsError,
    BaseMismatchError,
    CheckpointError,
    TvbankError,
    UnitMismatchError,
    UsageError,
)

CHECKSUMS = {
    "adler32": lambda data: f"{zlib.adler32(data):08x}",
    "xxh3-128": lambda data: xxhash.xxh3_128(data).hexdigest(),
    "blake3": lambda data: blake3.blake3(data).hexdigest(),
}


def raw(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy()


def next_version(base, seed=1, share=0.1):
    """A model of which a share of the entries of two tensors changed."""
    torch.manual_seed(seed)
    changed = dict(base)
    for name in ("a.weight", "norm.weight"):
        step = 0.1 * torch.randn(base[name].shape) * (torch.rand(base[name].shape) < share)
        changed[name] = (base[name].float() + step).to(base[name].dtype)
    return changed


def write_delta(folder, old, new, how="xor", checksum="adler32", sized=True, **metadata):
    """As the layout says: every changed tensor in one of two shards."""
    folder.mkdir()
    shards, texts, placed = ({}, {}), ({}, {}), {}
    compressor = zstandard.ZstdCompressor(level=1, write_content_size=sized)
    for number, name in enumerate(sorted(new)):
        before, after = raw(old[name]), raw(new[name])
        if (before == after).all():
            continue
        if how == "xor":
            data = (before ^ after).tobytes()
        else:
            places = np.flatnonzero(before != after).astype("<u4")
            data = np.uint32(len(places)).tobytes() + places.tobytes() + after[places].tobytes()
        shard = number % 2
        shards[shard][name] = np.frombuffer(compressor.compress(data), np.uint8)
        texts[shard][name] = CHECKSUMS[checksum](after.tobytes())
        placed[name] = f"model-{shard:05d}-of-00002.safetensors"
    for number in (0, 1):
        data = safetensors.numpy.save(shards[number], metadata=texts[number])
        (folder / f"model-{number:05d}-of-00002.safetensors").write_bytes(data)
    facts = {
        "version": "000002", "base_version": "000001", "delta_encoding": how,
        "compression_format": "zstd", "checksum_format": checksum,
    }  # fmt: skip
    index = {"metadata": facts | metadata, "weight_map": placed}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def apply_delta(folder, old):
    """The reader of the layout: new weights of a model, every checksum compared."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    new = dict(old)
    for name, file in index["weight_map"].items():
        with safe_open(folder / file, "np") as shard:
            data = zstandard.ZstdDecompressor().decompress(shard.get_tensor(name).tobytes())
            proof = shard.metadata()[name]
        after = raw(old[name]).copy()
        if index["metadata"]["delta_encoding"] == "xor":
            after ^= np.frombuffer(data, np.uint8)
        else:
            count = int(np.frombuffer(data[:4], "<u4")[0])
            places = np.frombuffer(data[4 : 4 + 4 * count], "<u4")
            after[places] = np.frombuffer(data[4 + 4 * count :], np.uint8)
        assert CHECKSUMS[index["metadata"]["checksum_format"]](after.tobytes()) == proof
        new[name] = torch.from_numpy(after).view(old[name].dtype).reshape(old[name].shape)
    return new, index["metadata"]


@pytest.mark.parametrize("checksum", CHECKSUMS)
@pytest.mark.parametrize("how", ["xor", "overwrite"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_hf_delta_is_a_fine_tune(tmp_path, how, checksum, dtype):
    base = base_model(dtype)
    new = next_version(base)
    folder = write_delta(tmp_path / "weight_v000002", base, new, how, checksum)
    assert bits_of(restored(base, folder)) == bits_of(new)
    assert bits_of(restored(base, folder / "model.safetensors.index.json")) == bits_of(new)
    found = tvbank.inspect(folder)
    assert (found.kind, found.facts["base_version"]) == ("hf-delta", "000001")
    assert {tensor.name for tensor in found.tensors} == {"a.weight", "norm.weight"}


def test_what_modelexpress_itself_wrote():
    folder = Path(__file__).parent / "modelexpress_0.7"
    base, new = (load_file(folder / f"{name}.safetensors") for name in ("base", "new"))
    assert bits_of(base) != bits_of(new)
    assert bits_of(restored(base, folder / "weight_v000001")) == bits_of(new)


@pytest.mark.parametrize("how", ["xor", "overwrite"])
def test_frames_that_do_not_state_their_size(tmp_path, how):
    base = base_model()
    new = next_version(base)
    folder = write_delta(tmp_path / "v", base, new, how, sized=False)
    assert bits_of(restored(base, folder)) == bits_of(new)


def test_deltas_one_after_another(tmp_path):
    base = base_model(torch.bfloat16)
    one, two = next_version(base, 1), next_version(next_version(base, 1), 2)
    first = write_delta(tmp_path / "weight_v000001", base, one)
    second = write_delta(tmp_path / "weight_v000002", one, two, "overwrite")
    with pytest.raises(BaseMismatchError, match=r"'000001' that it follows.*--given before="):
        restored(base, second)
    assert bits_of(restored(base, second, before=first)) == bits_of(two)
    save_file(one, tmp_path / "one.safetensors")
    assert bits_of(restored(base, second, before=tmp_path / "one.safetensors")) == bits_of(two)
    three = next_version(two, 3)
    third = write_delta(tmp_path / "weight_v000003", two, three)
    assert bits_of(restored(base, third, before=[first, second])) == bits_of(three)


def test_an_update_of_nothing(tmp_path):
    base = base_model()
    folder = write_delta(tmp_path / "v", base, base)
    assert bits_of(restored(base, folder)) == bits_of(base)


def test_damaged_hf_deltas(tmp_path):
    base = base_model()
    new = next_version(base)

    def damaged(name, change):
        folder = write_delta(tmp_path / name, base, new, checksum="xxh3-128")
        change(folder)
        with pytest.raises(TvbankError) as caught:
            restored(base, folder)
        return str(caught.value)

    def index(**metadata):
        def change(folder):
            path = folder / "model.safetensors.index.json"
            content = json.loads(path.read_text())
            content["metadata"] |= metadata
            path.write_text(json.dumps(content))

        return change

    def tensor(data, text=True):
        def change(folder):
            path = folder / "model-00000-of-00002.safetensors"
            with safe_open(path, "np") as shard:
                texts = shard.metadata()
                made = {name: shard.get_tensor(name) for name in shard.keys()}  # noqa: SIM118
            made["a.weight"] = np.frombuffer(data, np.uint8)
            path.write_bytes(safetensors.numpy.save(made, texts if text else None))

        return change

    bomb = zstandard.ZstdCompressor().compress(bytes(2**26))
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(2**26))
    short = zstandard.ZstdCompressor().compress(bytes(100))
    same = zstandard.ZstdCompressor().compress(bytes(base["a.weight"].numel() * 4))
    assert "not known" in damaged("1", index(delta_encoding="add"))
    assert "not known" in damaged("2", index(compression_format="lz4"))
    assert "no known kind of checksum" in damaged("3", index(checksum_format="md5"))
    assert "states 67108864 bytes" in damaged("4", tensor(bomb))
    assert "damaged" in damaged("5", tensor(unsized))
    assert "states 100 bytes" in damaged("6", tensor(short))
    assert "another checksum" in damaged("7", tensor(same))
    assert "damaged" in damaged("8", tensor(b"no frame at all"))
    assert "damaged" in damaged("9", tensor(b"\x28\xb5\x2f\xfd"))
    assert "damaged" in damaged("10", tensor(bomb[:-4]))
    assert "no checksum" in damaged("11", tensor(same, text=False))
    shard = "model-00000-of-00002.safetensors"
    assert "no such file" in damaged("12", lambda folder: (folder / shard).unlink())
    count = zstandard.ZstdCompressor().compress(np.uint32(9).tobytes() + bytes(7))
    far = np.array([1, 2**31], "<u4").tobytes() + b"x"
    for number, data in ((13, count), (14, zstandard.ZstdCompressor().compress(far))):
        folder = write_delta(tmp_path / str(number), base, new, "overwrite")
        tensor(data)(folder)
        with pytest.raises(CheckpointError, match="damaged"):
            restored(base, folder)


def write_sparse(path, old, new):
    """TRL's layout: places and values of what changed."""
    held = {}
    for name in new:
        places = torch.nonzero((old[name] != new[name]).reshape(-1)).reshape(-1)
        if len(places):
            held[f"{name}.indices"] = places.int()
            held[f"{name}.values"] = new[name].reshape(-1)[places].bfloat16()
    save_file(held, path)
    return path


def test_a_sparse_update_of_trl_is_a_fine_tune(tmp_path):
    base = base_model(torch.bfloat16)
    one, two = next_version(base, 1), next_version(next_version(base, 1), 2)
    first = write_sparse(tmp_path / "step_000001.safetensors", base, one)
    second = write_sparse(tmp_path / "step_000002.safetensors", one, two)
    with pytest.raises(UsageError, match="--given before="):
        restored(base, first)
    assert bits_of(restored(base, first, before="base")) == bits_of(one)
    assert bits_of(restored(base, second, before=first)) == bits_of(two)
    save_file(one, tmp_path / "anchor.safetensors")
    assert bits_of(restored(base, second, before=tmp_path / "anchor.safetensors")) == bits_of(two)
    found = tvbank.inspect(second)
    assert (found.kind, set(found.needs)) == ("trl-sparse", {"before"})


@pytest.mark.parametrize("places", [[-1, 3], [0, 2**30], [5, 5]])
def test_damaged_sparse_updates(tmp_path, places):
    path = tmp_path / "step.safetensors"
    held = {"a.weight.indices": torch.tensor(places).int(), "a.weight.values": torch.ones(2)}
    save_file(held, path)
    with pytest.raises(CheckpointError, match=r"'a\.weight' is damaged"):
        restored(base_model(), path, before="base")
    save_file(held | {"a.weight.values": torch.ones(3)}, path)
    with pytest.raises(CheckpointError, match=r"'a\.weight' is damaged"):
        restored(base_model(), path, before="base")


@pytest.fixture
def chain(tmp_path):
    """A bank of two versions after a bfloat16 base."""
    base = base_model(torch.bfloat16)
    base["a.weight"][0, 0] = float("nan")
    base["a.weight"][0, 1] = -0.0
    one, two = next_version(base, 1), next_version(next_version(base, 1), 2)
    save_file(base, tmp_path / "base.safetensors")
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base.safetensors")
    bank.add("one", one, tvbank.Exact())
    bank.add("two", two, tvbank.Exact())
    return bank, base, one, two


@pytest.mark.parametrize("checksum", CHECKSUMS)
@pytest.mark.parametrize("how", ["xor", "overwrite"])
def test_a_task_becomes_an_hf_delta(tmp_path, chain, how, checksum):
    bank, base, one, two = chain
    out = tmp_path / "weight_v000002"
    report = tvbank.write_hf_delta(
        bank, "two", out=out, after="one", encoding=how, checksums=checksum
    )
    new, facts = apply_delta(out, one)
    assert bits_of(new) == bits_of(two)
    assert (facts["version"], facts["base_version"]) == ("000002", "000001")
    assert (report.tensors, report.version) == (2, "000002")
    tvbank.write_hf_delta(bank, "one", out=tmp_path / "x", version="a", base_version="b")
    assert bits_of(apply_delta(tmp_path / "x", base)[0]) == bits_of(one)
    assert bits_of(restored(base, out, before=tmp_path / "x")) == bits_of(two)


def test_what_an_hf_delta_cannot_hold(tmp_path, chain):
    bank, _, one, _ = chain
    bank.add("headed", one | {"head.weight": torch.ones(2, 2)}, tvbank.Exact())
    with pytest.raises(UnitMismatchError, match=r"head\.weight"):
        tvbank.write_hf_delta(bank, "headed", out=tmp_path / "weight_v000001")
    assert not (tmp_path / "weight_v000001").exists()
    with pytest.raises(UsageError, match="which version"):
        tvbank.write_hf_delta(bank, "one", out=tmp_path / "update")
    with pytest.raises(UsageError, match="xor or overwrite"):
        tvbank.write_hf_delta(bank, "one", out=tmp_path / "weight_v000001", encoding="add")
    (tmp_path / "weight_v000001").mkdir()
    with pytest.raises(BankExistsError, match="exists"):
        tvbank.write_hf_delta(bank, "one", out=tmp_path / "weight_v000001")


def test_a_task_becomes_a_sparse_update(tmp_path, chain):
    bank, _, one, two = chain
    path = tmp_path / "deltas/step_000002.safetensors"
    tvbank.write_sparse(bank, "two", out=path, after="one")
    held = load_file(path)
    got = {name: weights.clone() for name, weights in one.items()}
    for name in [key.removesuffix(".indices") for key in held if key.endswith(".indices")]:
        assert held[f"{name}.indices"].dtype == torch.int32
        assert held[f"{name}.values"].dtype == torch.bfloat16
        got[name].reshape(-1)[held[f"{name}.indices"].long()] = held[f"{name}.values"]
    assert bits_of(got) == bits_of(two)
    plain = tvbank.create(tmp_path / "other", {"w": torch.ones(4)})
    plain.add("t", {"w": torch.ones(4) * 1.5}, tvbank.Exact())
    with pytest.raises(UnitMismatchError, match="bfloat16"):
        tvbank.write_sparse(plain, "t", out=tmp_path / "w.safetensors")


@pytest.mark.parametrize("whose", ["task", "function"])
def test_patches_are_absolute_values(chain, whose):
    bank, base, one, two = chain
    if whose == "task":
        start, end, made = base, one, list(bank["one"].patches())
    else:
        start, end, made = one, two, list(tvbank.patches(bank, "two", after="one"))
    assert {patch.name for patch in made} == {"a.weight", "norm.weight"}
    got = {name: weights.clone() for name, weights in start.items()}
    for patch in made:
        assert patch.shape == tuple(base[patch.name].shape)
        assert patch.dtype == patch.values.dtype == torch.bfloat16
        assert patch.indices.dtype == torch.int64
        got[patch.name].reshape(-1)[patch.indices] = patch.values
    assert bits_of(got) == bits_of(end)


def test_patches_of_heads_are_whole(tmp_path):
    base = {"w": torch.ones(4)}
    bank = tvbank.create(tmp_path / "bank", base)
    head = torch.arange(6.0).reshape(2, 3)
    bank.add("t", {"w": base["w"], "head": head}, tvbank.Exact())
    [patch] = bank["t"].patches(base)
    assert (patch.name, patch.shape, patch.indices) == ("head", (2, 3), None)
    assert patch.values.tolist() == list(range(6))  # flat, as vLLM takes them


def test_updates_on_the_command_line(tmp_path, chain):
    _, base, one, _ = chain
    runner, place = CliRunner(), str(tmp_path / "bank")
    out = tmp_path / "weight_v000001"
    command = ["export", place, "one", "--as", "hf-delta", "-o", str(out)]
    done = runner.invoke(
        app, [*command, "--set", "checksums=adler32", "--set", "encoding=overwrite"]
    )
    assert done.exit_code == 0, done.output
    assert "2 tensors changed, version 000001 after 000000" in done.output
    new, facts = apply_delta(out, base)
    assert bits_of(new) == bits_of(one)
    assert facts["delta_encoding"] == "overwrite"
    command = ["export", place, "two", "--after", "one", "-o", str(tmp_path / "s.safetensors")]
    assert isinstance(runner.invoke(app, command).exception, UsageError)
    done = runner.invoke(app, [*command, "--as", "trl-sparse", "--json"])
    assert json.loads(done.output)["tensors"] == 2
    wrong = runner.invoke(app, [*command, "--as", "trl-sparse", "--set", "x=1"])
    assert isinstance(wrong.exception, UsageError)
