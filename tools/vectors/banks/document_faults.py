"""Banks that cannot be opened: faults of the root document, the layout and of names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tools.vectors.banks.tamper import (
    WITH_EXTRA,
    BankFault,
    change,
    drop,
    flip,
    opened,
    put,
    swap,
    tampered,
)
from tools.vectors.banks.writer import Files


def _sealed(how: Callable[[bytes], bytes]) -> Files:
    """Change the root's bytes before its digest is taken."""
    return opened(root_bytes=how)


def root_faults() -> Iterator[BankFault]:
    def root(how: Callable[[bytes], bytes]) -> Files:
        files = opened()
        return files | {"zarr.json": how(files["zarr.json"])}

    files = opened()
    del files["zarr.json"]
    yield "document-missing", "no root document", files
    yield "document-syntax", "an empty root document", root(lambda data: b"")
    yield "document-syntax", "a root document cut within its digest", root(lambda data: data[:60])
    yield "document-syntax", "a byte-order mark", root(lambda data: b"\xef\xbb\xbf" + data)
    yield (
        "document-syntax",
        "white space where the digest must be found",
        opened(root_bytes=swap(b'{"attributes":', b'{"attributes": ')),
    )
    digest = slice(35, 99)
    yield (
        "document-syntax",
        "the digest in upper case",
        root(lambda data: data[:35] + data[digest].upper() + data[99:]),
    )
    yield "document-syntax", "the root document cut short", root(lambda data: data[:-1])
    yield "version", "the version damaged: it is looked at before the digest", root(
        swap(b'"format":"1.0"', b'"format":"3.0"')
    )  # fmt: skip
    yield "document-digest", "a digit of the digest replaced", root(
        lambda data: data[:35] + (b"1" if data[35:36] != b"1" else b"2") + data[36:]
    )  # fmt: skip
    yield "document-digest", "a newline added", root(lambda data: data + b"\n")
    yield "document-digest", "a number changed", root(swap(b'"nonzeros":4', b'"nonzeros":5'))
    yield "document-digest", "a bit flipped that the schema would notice too", root(
        swap(b'"float32"', b'"gloat32"')
    )  # fmt: skip
    yield "document-syntax", "the last brace is missing", _sealed(lambda data: data[:-1])
    yield "document-syntax", "two documents", _sealed(lambda data: data + data)
    yield "document-syntax", "NaN is not JSON", _sealed(swap(b'"drop":0.9', b'"drop":NaN'))
    yield "document-syntax", "1e999 is no 64-bit float", _sealed(
        swap(b'"drop":0.9', b'"drop":1e999')
    )  # fmt: skip
    yield "document-syntax", "not UTF-8", _sealed(swap(b'"tswitch"', b'"tswit\xffh"'))
    yield "document-syntax", "not UTF-8 in a member that no reader knows", _sealed(
        swap(b'"generation"', b'"future":"\xff","generation"')
    )  # fmt: skip
    yield "document-syntax", "an escaped lone surrogate", _sealed(
        swap(b'"tswitch"', b'"\\ud800"')
    )  # fmt: skip
    yield "document-syntax", "a control character in a string", _sealed(
        swap(b'"tswitch"', b'"tswit\nch"')
    )  # fmt: skip
    task = ("tasks", "t")
    edits: list[tuple[str, str, Callable[[Any], Any]]] = [
        ("document-syntax", "no generation", drop("generation")),
        ("document-syntax", "generation 1.0", put("generation", value=1.0)),
        ("document-syntax", "generation true", put("generation", value=True)),
        ("document-syntax", "generation -1", put("generation", value=-1)),
        ("document-syntax", "generation 2^53 + 1", put("generation", value=2**53 + 1)),
        ("document-syntax", "format is a number", put("format", value=1.0)),
        ("document-syntax", "format 01.0", put("format", value="01.0")),
        ("document-syntax", "format 1.0 and a newline", put("format", value="1.0\n")),
        ("document-syntax", "no required_features", drop("required_features")),
        ("document-syntax", "required_features null", put("required_features", value=None)),
        ("document-syntax", "tasks as a list", put("tasks", value=[])),
        ("document-syntax", "element float64", put(*task, "element", value="float64")),
        ("document-syntax", "a shard 0", put(*task, "shards", 0, value=0)),
        ("document-syntax", "a short digest", put(*task, "shards", 0, "sha256", value="ab")),
        ("document-syntax", "a path as a revision", put(*task, "revision", value="../" * 21 + ".")),
        ("document-syntax", "a compressor without a name", put(*task, "compressor", value={})),
        ("document-syntax", "nonzeros beyond 2^48", put(*task, "nonzeros", value=2**48 + 1)),
        ("document-syntax", "a revision of 257 MiB", put(*task, "size", value=257 * 2**20)),
        ("version", "format 2.0", put("format", value="2.0")),
        ("version", "format 10.0", put("format", value="10.0")),
        ("version", "format 0.9", put("format", value="0.9")),
        ("feature", "an unknown required feature", put("required_features", value=["x"])),
        ("document-syntax", "replaced is missing", drop(*task, "replaced")),
        ("document-syntax", "replaced holds a number", put(*task, "replaced", value=[1])),
        ("document-syntax", "parameters is missing", drop(*task, "parameters")),
        ("document-syntax", "a feature that is a number", put("required_features", value=[1])),
        ("layout", "a shard too many", put(*task, "shards", value=[None] * 3)),
        ("layout", "no shards", put(*task, "shards", value=[])),
        ("layout", "a shard no larger than its index", put(*task, "shards", 0, "size", value=36)),
        ("document-size", "the layout has another size", put("layout", "size", value=1)),
        ("document-digest", "another layout", put("layout", "sha256", value="0" * 64)),
    ]
    for reason, why, edit in edits:
        yield reason, why, opened(root=edit)
    newer = {"format": "2.0", "generation": "of another kind"}
    yield "version", "2.0, whose members are unknown", opened(root=lambda root: root | newer)


def name_faults() -> Iterator[BankFault]:
    names = {
        "": "empty",
        "..": "the parent folder",
        "a/b": "a separator",
        "a\\b": "the other separator",
        ".hidden": "begins with a dot",
        "ends.": "ends in a dot",
        "nul.txt": "a device",
        "CoM7": "a device",
        "zarr.json": "the name of a document",
        "Zarr.JSON": "the name of a document where case does not count",
        "a.tmp-1": "the name of a temporary file",
        "x" * 129: "129 characters",
        "caf\u00e9": "a letter beyond ASCII",
        "a\n": "a newline at the end",
    }
    for name, why in names.items():
        yield "name", f"task: {why}", opened(root=_renamed({name: "t"}))
    yield "name", "two tasks whose names differ in case only", opened(
        root=_renamed({"Task": "t", "task": "t"})
    )  # fmt: skip
    units = {
        "": "empty",
        "a\0": "a null character",
        "\x1b[2J": "an escape sequence",
        "a\x7f": "delete",
        "a\x9b": "a control character of Latin-1",
        "\u00e9" * 513: "1026 bytes in 513 characters",
    }
    for name, why in units.items():
        edit = put("units", 1, "name", value=name)
        yield "name", f"unit: {why}", opened(layout=edit)
    yield "name", "alias: empty", opened(layout=put("tied", "", value="w"))
    yield "name", "extra: a newline", tampered(
        WITH_EXTRA, revision=put("extras", 0, "name", value="a\nb")
    )  # fmt: skip
    yield "name", "replaced: a null character", opened(
        root=put("tasks", "t", "replaced", value=["a\0"])
    )  # fmt: skip


def _renamed(names: dict[str, str]) -> Callable[[Any], Any]:
    def edit(root: Any) -> Any:
        return root | {"tasks": {new: root["tasks"][old] for new, old in names.items()}}

    return edit


def layout_faults() -> Iterator[BankFault]:
    files = opened()
    del files["base/zarr.json"]
    yield "document-missing", "no layout document", files
    yield "document-size", "a newline after the layout", opened(
        files=change("base/zarr.json", lambda data: data + b"\n")
    )  # fmt: skip
    yield "document-digest", "a bit of the layout flipped", opened(
        files=change("base/zarr.json", flip(40))
    )  # fmt: skip
    yield "document-syntax", "a layout that is no JSON", opened(layout_bytes=lambda data: data[1:])
    yield "document-syntax", "a layout that is a zarr array", opened(
        layout_bytes=swap(b'"group"', b'"array"')
    )  # fmt: skip
    unit = ("units", 1)
    edits: list[tuple[str, str, Callable[[Any], Any]]] = [
        ("document-syntax", "chunk_length 0", put("chunk_length", value=0)),
        ("document-syntax", "chunk_length 2^24 + 1", put("chunk_length", value=2**24 + 1)),
        ("document-syntax", "length beyond 2^48", put("length", value=2**48 + 1)),
        ("document-syntax", "dtype float8", put(*unit, "dtype", value="float8_e4m3fn")),
        ("document-syntax", "a negative dimension", put(*unit, "shape", value=[-3])),
        ("document-syntax", "33 dimensions", put(*unit, "shape", value=[1] * 32 + [3])),
        ("document-syntax", "no digest of a unit", drop(*unit, "sha256")),
        ("document-syntax", "units null", put("units", value=None)),
        ("document-syntax", "an alias of a number", put("tied", "x", value=1)),
        (
            "document-syntax",
            "a whole unit of float32",
            put(
                "whole", value=[{"name": "x", "dtype": "float32", "shape": [], "sha256": "0" * 64}]
            ),
        ),
        ("limit", "65537 chunks a shard", put("shard_length", value=64 * 65537)),
        ("layout", "a shard of a chunk and a half", put("shard_length", value=96)),
        ("layout", "a shard shorter than a chunk", put("shard_length", value=32)),
        ("layout", "a unit off its chunk's boundary", put(*unit, "offset", value=129)),
        ("layout", "a unit inside another", put(*unit, "offset", value=64)),
        ("layout", "a hole before a unit", put(*unit, "offset", value=192)),
        ("layout", "a length too short for the units", put("length", value=128)),
        ("layout", "a chunk behind the last unit", put("length", value=256)),
        ("layout", "a length that cuts a chunk", put("length", value=131)),
        ("limit", "2^32 x 2^32 elements", put(*unit, "shape", value=[2**32, 2**32])),
        ("layout", "two units of one name", put(*unit, "name", value="w")),
        ("layout", "an alias with the name of a unit", put("tied", "b", value="w")),
        ("layout", "an alias of a unit that is not there", put("tied", "x", value="y")),
        ("layout", "an alias of an alias", put("tied", value={"x": "w", "y": "x"})),
    ]
    for reason, why, edit in edits:
        yield reason, why, opened(layout=edit)
