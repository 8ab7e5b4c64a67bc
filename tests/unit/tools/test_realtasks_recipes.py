"""Recipes of real fine-tunes, on texts and images made on the spot: no package is downloaded."""

import gzip
import io
import tarfile
import zipfile
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from tools.bench import realtasks
from tools.bench.realtasks import _families
from tools.bench.realtasks._families import ViT
from tools.bench.realtasks.recipes.build import TASKS
from tools.bench.realtasks.recipes.data import (
    LENGTH,
    chosen_texts,
    class_names,
    distinct,
    token_ids,
)
from tools.bench.realtasks.recipes.own import folder_task, table_task
from tools.bench.realtasks.recipes.packages import Packages, member
from tools.bench.realtasks.recipes.texts import Text, TextTask
from tools.bench.realtasks.recipes.training import (
    Recipe,
    fine_tune,
    pretrain,
    probed_head,
    write_head,
)


def task(test, train, classes=None):
    return TextTask("made", lambda _: iter(()), classes, test, train)


class Words:
    """A tokenizer of known words, cut to the length that recipes set."""

    def encode_batch(self, texts):
        return [SimpleNamespace(ids=[len(w) + 1 for w in t.split()][:LENGTH]) for t in texts]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30)), max_size=150),
    st.integers(0, 3),
)
def test_splits_share_no_group_and_no_class_is_drowned(drawn, seed):
    texts = [Text(f"text {k}", label, f"group {g}") for k, (label, g) in enumerate(drawn)]
    splits = chosen_texts(task(10, 40), texts, "abc", seed)
    groups = {split: {text.group for text in chosen} for split, chosen in splits.items()}
    assert not groups["test"] & groups["train"]
    assert len(splits["test"]) <= 10
    assert len(splits["train"]) <= 40
    shares = Counter(text.label for chosen in splits.values() for text in chosen)
    assert all(count <= 1.5 * 50 / 3 for count in shares.values())
    assert splits == chosen_texts(task(10, 40), texts[::-1], "abc", seed)


def test_texts_that_the_model_cannot_tell_apart_are_one():
    texts = [Text(t, "a", t) for t in ("some words", "same wards", " ", "x " * 40, "y " * 50)]
    assert [text.text[:2] for text in distinct(Words(), texts)] == ["sa", "y "]
    assert token_ids(Words(), ["some words"])[0, :3].tolist() == [5, 6, 0]


def test_classes_are_named_or_the_most_frequent_labels():
    texts = [Text("", f"label {k:02}", "") for k in range(40) for _ in range(k)]
    assert list(class_names(task(1, 1), texts)) == [f"label {k:02}" for k in range(10, 40)]
    assert class_names(task(1, 1, {"a": "a name"}), texts) == {"a": "a name"}


def test_a_package_is_downloaded_once_and_never_half(tmp_path):
    packages, calls = Packages(tmp_path), []

    def fail(into):
        (into / "half").write_bytes(b"")
        raise RuntimeError

    def download(into):
        calls.append(into)
        (into / "whole").write_bytes(b"")

    with pytest.raises(RuntimeError):
        packages._once("name", fail)
    for _ in range(2):
        assert packages._once("name", download).name == "whole"
    assert len(calls) == 1


def test_members_are_found_by_the_end_of_their_path():
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("package/data/file.txt", "text")
    with tarfile.open(fileobj=tarred, mode="w") as archive:
        header = tarfile.TarInfo("./data/file.txt")
        header.size = 4
        archive.addfile(header, io.BytesIO(b"text"))
    tarred.seek(0)
    with tarfile.open(fileobj=tarred) as tar:
        for archive in (zipfile.ZipFile(zipped), tar):
            assert member(archive, "data/file.txt") == b"text"
            with pytest.raises(FileNotFoundError, match=r"no other\.txt"):
                member(archive, "other.txt")


def test_sixteen_text_tasks_and_six_of_images():
    assert len(TASKS["minilm"]) >= 16
    assert len(TASKS["vit"]) >= 6


def tarred(files):
    """An archive of files by path, as a package of Debian has them."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for path, data in files.items():
            header = tarfile.TarInfo(f"./{path}")
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    made.seek(0)
    return tarfile.open(fileobj=made)


PAGE = rb"""
.SH NAME
frob \- change the state of a thing
.SH DESCRIPTION
.BR frob ()
changes the state of the thing that \fIfd\fP stands for,
and returns what it was before that.
.EX
short code
.EE
"""

DICTIONARY = b"""
frob

   <programming> To change the {state} of
   a thing.

   (1994-11-08)

Frobbing \\Frob"bing\\, n. [From {Frob}.]
   1. The act of changing a thing. --Shak.
      [1913 Webster]

Frobs
   an entry of no kind
"""

TAR = {
    "usr/share/man/man2/frob.2.gz": gzip.compress(PAGE),
    "usr/share/man/de/man1/frob.1.gz": gzip.compress(PAGE),
    "usr/share/games/fortunes/art": b"One saying\n\twith a name.\n%\nAnother\n",
    "usr/share/games/fortunes/art.dat": b"\0",
    "lib/a.py": "\n".join(f"line {k} = {k}" for k in range(32)).encode(),
    "usr/share/dictd/foldoc.dict.dz": gzip.compress(DICTIONARY),
    "usr/share/dictd/gcide.dict.dz": gzip.compress(DICTIONARY),
    "wordnet/data.verb": b'  a licence\n00001740 30 v 01 x 0 000 01 + 02 00 | be "so"; "x"\n',
}
NAME = "frob - change the state of a thing"
SENTENCE = (
    "frob () changes the state of the thing that fd stands for, and returns what it was before "
    "that."
)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("verbs", {('be "so"', "change")}),
        ("foldoc", {("To change the state of a thing.", "programming")}),
        ("speech", {("The act of changing a thing. --Shak.", "n")}),
        ("manuals", {(NAME, "2"), (SENTENCE, "2")}),
        ("languages", {(NAME, "de"), (SENTENCE, "de")}),
        ("sayings", {("One saying with a name.", "art"), ("Another", "art")}),
        (
            "snippets",
            {(" ".join(f"line {k} = {k}" for k in range(n, n + 4)), "python") for n in (24, 28)},
        ),
    ],
)
def test_texts_of_reference_works(name, found, tmp_path, monkeypatch):
    monkeypatch.setattr(Packages, "debian", lambda *_: tarred(TAR))
    monkeypatch.setattr(Packages, "npm", lambda *_: tarred({}))
    read = {(text.text, text.label) for text in TASKS["minilm"][name].read(Packages(tmp_path))}
    assert read == found


def test_signs_of_scripts_are_as_they_are_drawn(tmp_path, monkeypatch):
    rows = [1 << row % 8 for row in range(16)]
    line = b"0041:" + bytes(rows).hex().encode() + b"\n4E00:" + b"00" * 31 + b"01\n0378:FF"
    monkeypatch.setattr(Packages, "debian", lambda *_: tarred({"unifont.hex": line}))
    images, labels = TASKS["vit"]["scripts"].read(Packages(tmp_path), np.random.default_rng(0))
    assert images.shape == (2, 28, 28)  # U+0378 is no sign
    ink = {int(label): (image > 0).sum(1) for image, label in zip(images, labels, strict=True)}
    assert ink[0].sum() == 16
    assert ink[11].sum() == 1


def test_a_family_is_trained_from_nothing_the_same_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(_families, "WIDTH", 48)
    chance = np.random.default_rng(0)
    labels = np.arange(48, dtype=np.int64) % 2
    images = chance.integers(0, 60, (48, 28, 28), dtype=np.uint8)
    images[labels == 1, :14] += 150
    for folder in (tmp_path / "once", tmp_path / "again"):
        base = folder / "vit" / "base.safetensors"
        pretrain(ViT, images, labels, base, Recipe(2, 8, 1e-3), 0, lambda: None)
        home = base.parent / "halves"
        home.mkdir()
        arrays = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
        np.savez(home / "data.npz", **arrays)
        write_head(home / "head.safetensors", probed_head(ViT(base, {}), images, labels))
        family = realtasks.load(folder, "vit", tuned=False)
        assert realtasks.accuracy(family, family.model(), family.tasks["halves"]) > 0.9
        fine_tune(family, family.tasks["halves"], Recipe(3, 8, 1e-4), 0, lambda: None)
    once, again = (
        load_file(tmp_path / run / "vit" / "halves" / "tuned.safetensors")
        for run in ("once", "again")
    )
    assert all(torch.equal(once[name], again[name]) for name in once)
    start = load_file(base)
    assert not any(torch.equal(once[name], start[name]) for name in once)


def test_a_table_becomes_a_task(tmp_path):
    table = tmp_path / "table.csv"
    lines = [f'"word {k}, and more",{"ab"[k % 2]}' for k in range(40)]
    table.write_text("\n".join(["what,kind", *lines, ",a", "alone,"]), encoding="utf-8")
    made = table_task("mine", table, "what", "kind")
    texts = list(made.read(None))
    assert len(texts) == 40  # rows without a text or a label are left out
    assert (made.test, made.train) == (8, 32)
    assert texts[3] == Text("word 3, and more", "b", "word 3, and more")
    assert class_names(made, texts) == {"a": "a", "b": "b"}
    with pytest.raises(ValueError, match="no column label"):
        table_task("mine", table, "what", "label")


def test_a_folder_of_images_becomes_a_task(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for number, name in enumerate(["dark", "light"]):
        (tmp_path / name).mkdir()
        for k in range(10):
            picture = np.full((9, 14, 3), 200 * number + k, np.uint8)
            image.fromarray(picture).save(tmp_path / name / f"{k}.png")
    (tmp_path / "notes.txt").write_text("no class")
    made = folder_task("mine", tmp_path)
    images, labels = made.read(None, np.random.default_rng(0))
    assert images.shape == (20, _families.SIDE, _families.SIDE)
    assert (made.test, made.train) == (4, 16)
    assert ((images[:, 0, 0] >= 200) == labels).all()
    assert sorted(labels.tolist()) != labels.tolist()
    with pytest.raises(ValueError, match="two classes"):
        folder_task("mine", tmp_path / "dark")
