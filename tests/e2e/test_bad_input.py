"""Bad input on the command line: one clear sentence, exit status 1 or 2, and the bank as it was."""

import json
import shutil
import struct

import numpy as np
import pytest
from command_line import weights
from safetensors.numpy import save_file

import tvbank

AT_FAULT, USAGE = 1, 2


def refused(shell, status, *command, words=()):
    """The sentence on the standard error; nothing else was printed, and nothing was changed."""
    before = shell.digest()
    files = {path.name for path in shell.folder.iterdir()}
    ended = shell(*command)
    assert ended.status == status
    assert ended.out == ""
    assert ended.err.startswith("tvbank: ")
    assert ended.err.count("\n") == 1
    for word in words:
        assert word in ended.err
    for trace in ("Traceback", "internal error", "<class"):
        assert trace not in ended.err
    assert shell.digest() == before
    assert {path.name for path in shell.folder.iterdir()} == files
    return ended.err


def used_wrongly(shell, *command):
    """The parser's own complaint, which shows how the verb is used."""
    before = shell.digest()
    ended = shell(*command)
    assert ended.status == USAGE
    assert "Usage: tvbank" in ended.err
    assert "Traceback" not in ended.err
    assert shell.digest() == before
    return ended.err


def changed(name, change):
    """The base with one tensor changed."""
    tensors = weights(0)
    tensors[name] = change(tensors[name])
    return tensors


WRONG_BASES = {
    "other weights": changed("body.bias", lambda array: array + np.float16(1)),
    "one other bit": changed("body.bias", lambda array: np.where(array == 0, -array, array)),
    "another shape": changed("body.bias", lambda array: array[:-1]),
    "another element type": changed("body.bias", lambda array: array.astype(np.float32)),
    "a unit is missing": {k: v for k, v in weights(0).items() if k != "body.bias"},
}


@pytest.mark.parametrize("kind", WRONG_BASES)
def test_wrong_base_names_the_units(shell, kind):
    wrong = shell.folder / "wrong.safetensors"
    save_file(WRONG_BASES[kind], wrong)
    words = [str(wrong), "not the base this bank was built on", "unit 'body.bias'"]
    out = shell.folder / "out.safetensors"
    for command in (
        ("add", shell.bank, "new", shell.dogs, "--base", wrong),
        ("add", shell.bank, "new", shell.dogs, "--base", wrong, "--method", "exact"),
        ("export", shell.bank, "exact", "--base", wrong, "-o", out),
        ("merge", shell.bank, "cats=1", "--base", wrong, "-o", out),
    ):
        assert "body.weight" not in refused(shell, AT_FAULT, *command, words=words)


def test_wrong_base_names_all_the_units(shell):
    save_file(weights(9), shell.base)
    words = ["'body.weight'", "'body.bias'"]
    refused(shell, AT_FAULT, "add", shell.bank, "new", shell.dogs, words=words)


def test_a_base_that_moved(shell):
    shutil.move(shell.base, shell.folder / "moved.safetensors")
    refused(shell, USAGE, "add", shell.bank, "new", shell.dogs, words=[str(shell.base), "--base"])
    refused(shell, USAGE, "export", shell.bank, "cats", "-o", shell.folder / "x", words=["--base"])


def test_fine_tunes_of_other_shapes(shell):
    other = shell.file("other.safetensors", **{"body.bias": np.zeros(6, np.float16)})
    words = [str(other), "unit 'body.bias'", "--replace-mismatched"]
    refused(shell, AT_FAULT, "add", shell.bank, "new", other, words=words)
    lacking = shell.file("lacking.safetensors", **{"body.weight": None})
    for flags in ([], ["--replace-mismatched"]):
        words = [str(lacking), "lacks unit 'body.weight'"]
        refused(shell, AT_FAULT, "add", shell.bank, "new", lacking, *flags, words=words)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(shell, bad):
    tuned = weights(0)["body.bias"]
    tuned[3] = bad
    file = shell.file("bad.safetensors", **{"body.bias": tuned})
    words = ["unit 'body.bias'", "NaN or infinite", "at 3", "--method exact"]
    refused(shell, AT_FAULT, "add", shell.bank, "new", file, words=words)
    assert shell("add", shell.bank, "new", file, "--method", "exact").status == 0
    out = shell.folder / "out.safetensors"
    assert shell("export", shell.bank, "new", "-o", out).status == 0
    words = ["unit 'body.bias'", "NaN"]
    merged = shell.folder / "merged.safetensors"
    refused(shell, AT_FAULT, "merge", shell.bank, "new=1", "-o", merged, words=words)


def test_duplicate_names(shell):
    words = ["already has a task 'cats'", "--replace"]
    refused(shell, AT_FAULT, "add", shell.bank, "cats", shell.dogs, words=words)
    refused(shell, AT_FAULT, "add", shell.bank, "CATS", shell.dogs, words=["'cats'", "case"])


NAMES = ["../cats", "a/b", "", ".hidden", "con", "zarr.json", "a b", "x" * 129, "[/x]", "é", "a\nb"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_unsafe_names(shell, name):
    words = ["cannot be a task's name", "letters, digits"]
    refused(shell, USAGE, "add", shell.bank, name, shell.dogs, words=words)
    assert not (shell.folder / "cats").exists()


@pytest.mark.parametrize("name", ["nope", "../cats", "", "CATS", "[/x]"])
def test_unknown_tasks(shell, name):
    words = ["no task", repr(name)]
    for command in (
        ("show", shell.bank, name),
        ("rm", shell.bank, name),
        ("export", shell.bank, name, "-o", shell.folder / "out"),
        ("merge", shell.bank, f"{name or '?'}=1", "-o", shell.folder / "out"),
    ):
        asked = "?" if command[0] == "merge" and not name else name
        refused(shell, AT_FAULT, *command, words=[*words[:1], repr(asked)])


def truncated(path, keep):
    path.write_bytes(path.read_bytes()[:keep])


FILES = {
    "missing": (lambda path: path.unlink(), "no such file"),
    "a folder without a checkpoint": (lambda path: (path.unlink(), path.mkdir()), ""),
    "empty": (lambda path: path.write_bytes(b""), "truncated"),
    "cut in its header": (lambda path: truncated(path, 50), "truncated"),
    "cut in its data": (lambda path: truncated(path, -1), "truncated"),
    "longer than it says": (lambda path: path.write_bytes(path.read_bytes() + b"x"), "left over"),
    "text": (lambda path: path.write_text("these are no weights\n" * 9), "not a safetensors file"),
    "a header of 2**60 bytes": (
        lambda path: path.write_bytes(struct.pack("<Q", 2**60) + b"{" + bytes(99)), "header",
    ),
    "a header that is no JSON": (
        lambda path: path.write_bytes(struct.pack("<Q", 8) + b'{"a": [}'), "not a valid",
    ),
    "a tensor of 2**60 bytes": (
        lambda path: header(path, {"w": {"dtype": "F32", "shape": [2**58],
                                         "data_offsets": [0, 2**60]}}), "",
    ),
    "tensors that overlap": (
        lambda path: header(path, {
            "a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},
            "b": {"dtype": "U8", "shape": [4], "data_offsets": [2, 6]},
        }), "",
    ),
}  # fmt: skip


def header(path, entries):
    text = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(6))


@pytest.mark.parametrize("kind", FILES)
def test_files_that_are_no_checkpoints(shell, kind):
    damage, word = FILES[kind]
    damage(shell.dogs)
    words = [str(shell.dogs), word]
    refused(shell, AT_FAULT, "add", shell.bank, "new", shell.dogs, words=words)
    refused(shell, AT_FAULT, "init", shell.folder / "b", "--base", shell.dogs, words=words)
    out = ("-o", shell.folder / "out")
    refused(shell, AT_FAULT, "export", shell.bank, "exact", "--base", shell.dogs, *out, words=words)


@pytest.mark.parametrize("name", ["weights.txt", "weights", "weights.onnx"])
def test_files_of_unknown_kinds(shell, name):
    path = shell.folder / name
    path.write_bytes(shell.dogs.read_bytes())
    words = [str(path), "not a checkpoint of a known kind", "safetensors"]
    refused(shell, AT_FAULT, "add", shell.bank, "new", path, words=words)


def test_a_file_of_another_kind_than_its_name_says(shell):
    path = shell.folder / "weights.gguf"
    path.write_bytes(shell.dogs.read_bytes())
    refused(
        shell, AT_FAULT, "add", shell.bank, "new", path, words=[str(path), "called a GGUF file"]
    )


def test_a_pickle_that_would_run_code(shell):
    import os
    import pickle

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(shell.folder / "evil"),)

    path = shell.folder / "evil.pt"
    path.write_bytes(pickle.dumps({"body.weight": Evil()}))
    refused(shell, AT_FAULT, "add", shell.bank, "new", path, words=[str(path)])
    assert not (shell.folder / "evil").exists()


OPTIONS = {
    "drop of 1": (["--drop", "1"], "drop must be at least 0 and less than 1"),
    "drop below 0": (["--drop", "-0.1"], "drop must be"),
    "drop of nan": (["--drop", "nan"], "drop must be"),
    "drop with exact": (["--method", "exact", "--drop", "0.5"], "exact drops nothing"),
    "knob with exact": (["--method", "exact", "--knob", "rms"], "exact drops nothing"),
    "metadata without a value": (["--metadata", "x"], "KEY=VALUE"),
    "metadata without a key": (["--metadata", "=x"], "KEY=VALUE"),
    "metadata that is too large": (["--metadata", "x=" + "y" * 2**20], "more than 1048576 bytes"),
}


@pytest.mark.parametrize("kind", OPTIONS)
def test_options_of_add(shell, kind):
    options, word = OPTIONS[kind]
    refused(shell, USAGE, "add", shell.bank, "new", shell.dogs, *options, words=[word])


WEIGHTS = ["cats", "cats=", "=1", "cats=x", "cats=nan", "cats=inf", "cats=1e999", "cats=-inf"]


@pytest.mark.parametrize("weight", WEIGHTS)
def test_weights_of_merge(shell, weight):
    out = shell.folder / "out"
    word = "cats" if "cats" in weight else "TASK=WEIGHT"
    refused(shell, USAGE, "merge", shell.bank, weight, "-o", out, words=[word])
    words = ["'cats' is given twice"]
    refused(shell, USAGE, "merge", shell.bank, "cats=1", "cats=2", "-o", out, words=words)


def test_a_merge_beyond_the_largest_number(shell):
    out = shell.folder / "out"
    words = ["unit 'body.", "too large for float", "smaller merging weights"]
    refused(shell, AT_FAULT, "merge", shell.bank, "cats=1e38", "-o", out, words=words)


def test_outputs_that_cannot_be_written(shell):
    nowhere = shell.folder / "nowhere" / "out.safetensors"
    for verb in (("export", shell.bank, "exact"), ("merge", shell.bank, "exact=1")):
        refused(shell, AT_FAULT, *verb, "-o", nowhere, words=[str(nowhere)])
        refused(shell, USAGE, *verb, "-o", shell.dogs, words=[str(shell.dogs), "--force"])
        words = ["is the base itself"]
        refused(shell, USAGE, *verb, "-o", shell.base, "--force", words=words)
        words = [str(shell.bank), "holds a bank"]
        refused(shell, USAGE, *verb, "-o", shell.bank, "--force", words=words)


def test_a_folder_as_the_output(shell):
    other = shell.folder / "other"
    other.mkdir()
    (other / "notes").write_text("mine")
    for verb in (("export", shell.bank, "exact"), ("merge", shell.bank, "exact=1")):
        for flags in ([], ["--force"]):
            words = ["has the base's own weights in it", "choose another folder"]
            refused(shell, USAGE, *verb, "-o", shell.folder, *flags, words=words)
        refused(shell, USAGE, *verb, "-o", other, words=["is not empty", "--force"])
    assert [path.name for path in other.iterdir()] == ["notes"]


def test_a_file_where_a_bank_should_be(shell):
    words = [str(shell.dogs), "Not a directory", "choose another place"]
    for command in (
        ("init", shell.dogs, "--base", shell.base), ("cp", shell.bank, shell.dogs),
        ("repair", shell.dogs),
    ):  # fmt: skip
        refused(shell, AT_FAULT, *command, words=words)


def test_a_zip_file_where_a_bank_is_written(shell):
    words = ["can only be read", "a folder or an object store", "tvbank pack"]
    for command in (("init", "new.zip", "--base", shell.base), ("cp", shell.bank, "new.zip")):
        refused(shell, AT_FAULT, *command, words=words)


LOST = {
    "base/zarr.json": "tvbank repair --base FILE",
    "tasks/cats/*/zarr.json": "tvbank cp COPY BANK --replace",
    "tasks/cats/*/delta/c/0": "or add it again",
}


@pytest.mark.parametrize("key", LOST)
@pytest.mark.parametrize("damage", ["cut", "other bytes", "missing"])
def test_what_is_damaged_says_where_its_bytes_may_be_found(shell, key, damage):
    [path] = shell.bank.glob(key)
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if damage == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    ended = shell("verify", shell.bank)
    assert ended.status == AT_FAULT
    assert LOST[key] in ended.out


def test_removing_a_task_that_is_not_there_names_those_that_are(shell):
    refused(shell, AT_FAULT, "rm", shell.bank, "nope", words=["'nope'", "'cats', 'exact'"])


ON_A_BANK = [
    ("ls", "B"), ("ls", "B", "--json"), ("show", "B"), ("show", "B", "cats"), ("verify", "B"),
    ("verify", "B", "--json"), ("rm", "B", "cats"), ("gc", "B"), ("add", "B", "new", "dogs"),
    ("export", "B", "cats", "-o", "out"), ("merge", "B", "cats=1", "-o", "out"),
]  # fmt: skip


def on(shell, bank, command):
    """A command with the bank and the files in their places."""
    places = {"B": bank, "dogs": shell.dogs, "out": shell.folder / "out"}
    return [places.get(word, word) for word in command]


@pytest.mark.parametrize("command", ON_A_BANK, ids=" ".join)
def test_there_is_no_bank(shell, command):
    for place in ("nothing", "dogs.safetensors", "base.safetensors/below"):
        words = [place, "is not a bank"]
        refused(shell, AT_FAULT, *on(shell, shell.folder / place, command), words=words)
    (shell.folder / "empty").mkdir()
    refused(shell, AT_FAULT, *on(shell, shell.folder / "empty", command), words=["is not a bank"])
    url = "nonsense://example.org/bank"
    refused(shell, USAGE, *on(shell, url, command), words=[url, "nonsense"])
    refused(shell, USAGE, *on(shell, "", command), words=["give the bank's folder"])


def test_places_where_no_bank_can_be_made(shell):
    def init(place, *words):
        words = (str(place), *words)
        refused(shell, AT_FAULT, "init", place, "--base", shell.base, words=words)

    init(shell.bank, "already holds a bank")
    init(shell.folder, "is not empty", "choose another place")
    init(shell.dogs)
    init(shell.dogs / "below")


DAMAGE = {
    "newer major": ({"root": lambda body: body.update(format="2.0")}, "format 2.0"),
    "unknown feature": (
        {"root": lambda body: body.update(required_features=["quantum"])}, "'quantum'",
    ),
    "absurd chunks": ({"layout": lambda body: body.update(chunk_length=2**60)}, "base/zarr.json"),
    "absurd units": (
        {"layout": lambda body: body["units"][0].update(shape=[2**40, 2**40])}, "base/zarr.json",
    ),
    "absurd length": ({"layout": lambda body: body.update(length=2**48)}, "base/zarr.json"),
    "absurd shards": (
        {"root": lambda body: body["tasks"]["cats"].update(shards=[None] * 9)}, "9 shards",
    ),
    "unsafe name": (
        {"root": lambda body: body["tasks"].update({"../x": body["tasks"]["cats"]})}, "'../x'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("command", ON_A_BANK, ids=" ".join)
def test_banks_that_must_not_be_opened(shell, kind, command):
    edits, word = DAMAGE[kind]
    shell.damage(**edits)
    if command[0] != "verify":
        refused(shell, AT_FAULT, *on(shell, shell.bank, command), words=[word])
        return
    before = shell.digest()
    ended = shell(*on(shell, shell.bank, command))
    assert (ended.status, ended.err, shell.digest()) == (AT_FAULT, "", before)
    assert word in ended.out
    if "--json" in command:
        assert len(json.loads(ended.out)) == 1


@pytest.mark.parametrize("command", ON_A_BANK, ids=" ".join)
def test_a_catalog_that_is_cut_short(shell, command):
    root = shell.bank / "zarr.json"
    root.write_bytes(root.read_bytes()[:-30])
    if command[0] != "verify":
        refused(shell, AT_FAULT, *on(shell, shell.bank, command), words=["zarr.json"])
    else:
        assert shell(*on(shell, shell.bank, command)).status == AT_FAULT


READING = [
    ("show", "B", "cats"),
    ("export", "B", "cats", "-o", "out"),
    ("merge", "B", "cats=1", "-o", "out"),
]


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_damaged_shards(shell, command):
    shard = next(shell.bank.glob("tasks/cats/*/delta/c/0"))
    key, data = shard.relative_to(shell.bank).as_posix(), shard.read_bytes()
    command = on(shell, shell.bank, command)
    frame = next(iter(tvbank.open(shell.bank)["cats"].frames("body.weight")))
    stop = frame.start + len(frame.data) + 4
    flipped = bytearray(data)
    flipped[(frame.start + stop) // 2] ^= 16
    shard.write_bytes(flipped)
    words = ["'cats'", "'body.weight'", key, f"bytes {frame.start} to {stop}"]
    refused(shell, AT_FAULT, *command, words=words)
    shard.write_bytes(data[:-1])
    refused(shell, AT_FAULT, *command, words=["'cats'", key])
    shard.unlink()
    refused(shell, AT_FAULT, *command, words=["'cats'", key, "missing"])
    shard.mkdir()
    refused(shell, AT_FAULT, *command, words=["'cats'", key])


def test_usage(shell):
    wrong = [
        ("fly", shell.bank), ("ls",), ("ls", shell.bank, "--yaml"), ("init", shell.folder / "b"),
        ("add", shell.bank, "new"), ("add", shell.bank, "new", shell.dogs, "--method", "magic"),
        ("add", shell.bank, "new", shell.dogs, "--drop", "much"), ("export", shell.bank, "cats"),
        ("export", shell.bank, "cats", "extra", "-o", "x"), ("merge", shell.bank, "-o", "x"),
        ("rm", shell.bank), ("gc",), ("verify",), ("--nonsense",),
    ]  # fmt: skip
    for command in wrong:
        used_wrongly(shell, *command)
    assert not (shell.folder / "b").exists()
