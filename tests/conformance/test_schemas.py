"""The JSON Schemas accept the documents of all valid banks and refuse what the text refuses."""

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from vectors import ROOT, name_of, vectors

SCHEMAS = ROOT / "spec" / "schemas"
MIXED = ROOT / "spec" / "vectors" / "banks" / "valid" / "mixed"
ROUTED = MIXED.parent / "routed"
ADAPTERS = MIXED.parent / "products"
ATTRIBUTES = ("attributes", "tvbank")
DIGEST = "0" * 64


@cache
def validator(name: str) -> Draft202012Validator:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def schema_of(key: str) -> str:
    """The schema of a document, by its place in a bank."""
    parts = key.split("/")
    if key in ("zarr.json", "base/zarr.json"):
        return "root" if key == "zarr.json" else "layout"
    if len(parts) == 4:
        return "router" if parts[0] == "routers" else "revision"
    if parts[-2] in ("delta", "products"):
        return parts[-2]
    return "extra" if parts[-2].isdecimal() else "marker"


def documents(bank: Path) -> dict[str, Any]:
    paths = [path for path in bank.rglob("zarr.json") if path.read_bytes() != b"?"]
    return {path.relative_to(bank).as_posix(): json.loads(path.read_bytes()) for path in paths}


@pytest.mark.parametrize("vector", vectors("banks/valid"), ids=name_of)
def test_schemas_accept_valid_banks(vector):
    for key, document in documents(vector.path).items():
        validator(schema_of(key)).validate(document)


def test_every_schema_is_used():
    used = {schema_of(key) for bank in (MIXED, ROUTED, ADAPTERS) for key in documents(bank)}
    assert used == {path.name.partition(".")[0] for path in SCHEMAS.iterdir()}


def found(name: str) -> Any:
    """The document of the valid bank that a schema describes, with everything in it."""
    bank = {"router": ROUTED, "products": ADAPTERS}.get(name, MIXED)
    of_kind = [each for key, each in sorted(documents(bank).items()) if schema_of(key) == name]
    return max(of_kind, key=lambda document: len(json.dumps(document)))


ENTRY = (*ATTRIBUTES, "tasks", "lossy")
UNIT = (*ATTRIBUTES, "units", 0)
DELETED = object()
REFUSED: list[tuple[str, tuple[str | int, ...], Any]] = [
    ("root", ("node_type",), "array"),
    ("root", ("zarr_format",), 2),
    ("root", (*ATTRIBUTES, "digest"), "0" * 63),
    ("root", (*ATTRIBUTES, "digest"), "A" * 64),
    ("root", (*ATTRIBUTES, "digest"), "0" * 64 + "\n"),
    ("root", (*ATTRIBUTES, "format"), "1"),
    ("root", (*ATTRIBUTES, "format"), "1.0\n"),
    ("root", (*ATTRIBUTES, "format"), "01.0"),
    ("root", (*ATTRIBUTES, "generation"), -1),
    ("root", (*ATTRIBUTES, "generation"), True),
    ("root", (*ATTRIBUTES, "generation"), 2**53 + 1),
    ("root", (*ATTRIBUTES, "required_features"), [1]),
    ("root", (*ATTRIBUTES, "layout"), {"size": 1}),
    *(
        ("root", (*ATTRIBUTES, "tasks", name), {})
        for name in ("", ".", "a/b", "ends.", "NUL.txt", "com0", "Zarr.json", "a.TMP-1", "a\n")
    ),
    ("root", (*ENTRY, "revision"), "../x"),
    ("root", (*ENTRY, "element"), "float64"),
    ("root", (*ENTRY, "size"), 0),
    ("root", (*ENTRY, "shards", 0), 0),
    ("root", (*ENTRY, "shards", 0), {"size": 1, "sha256": "x"}),
    ("root", (*ENTRY, "replaced"), DELETED),
    ("root", (*ENTRY, "replaced"), ["\0"]),
    ("root", (*ENTRY, "parameters"), DELETED),
    ("root", (*ENTRY, "compressor"), {"drop": 0.9}),
    ("root", (*ATTRIBUTES, "routers"), []),
    ("root", (*ATTRIBUTES, "routers"), {"r": {"revision": DIGEST, "size": 0, "stored_bytes": 1}}),
    ("root", (*ATTRIBUTES, "routers"), {"a/b": {"revision": DIGEST, "size": 1, "stored_bytes": 1}}),
    ("layout", (*ATTRIBUTES, "chunk_length"), 0),
    ("layout", (*ATTRIBUTES, "chunk_length"), 2**24 + 1),
    ("layout", (*ATTRIBUTES, "length"), 2**48 + 1),
    ("layout", (*ATTRIBUTES, "tied"), {"a\n": "b"}),
    ("layout", (*UNIT, "dtype"), "float64"),
    ("layout", (*UNIT, "name"), ""),
    ("layout", (*UNIT, "name"), "a\x9b"),
    ("layout", (*UNIT, "shape"), [-1]),
    ("layout", (*UNIT, "shape"), [1] * 33),
    ("layout", (*UNIT, "offset"), DELETED),
    ("layout", (*ATTRIBUTES, "whole", 0, "dtype"), "float16"),
    ("revision", (*ATTRIBUTES, "layout"), DELETED),
    ("revision", (*ATTRIBUTES, "metadata"), []),
    ("revision", (*ATTRIBUTES, "objects", "delta/zarr.json"), DELETED),
    *(
        ("revision", (*ATTRIBUTES, "objects", key), {"size": 1, "sha256": DIGEST})
        for key in ("../x", "/etc/x", "delta/c/0", "extras/00/zarr.json", "extras/0/c/-1", "x")
    ),
    ("revision", (*ATTRIBUTES, "extras", 0, "dtype"), "object"),
    ("revision", (*ATTRIBUTES, "products"), [{"unit": "w", "dtype": "float32", "rank": 1}]),
    ("revision", (*ATTRIBUTES, "products"), {}),
    ("revision", (*ATTRIBUTES, "adapter"), "peft"),
    ("products", ("data_type",), "int8"),
    ("products", ("codecs",), []),
    ("router", (*ATTRIBUTES, "tasks"), DELETED),
    ("router", (*ATTRIBUTES, "tasks", 0, "name"), "a/b"),
    ("router", (*ATTRIBUTES, "tasks", 1), DELETED),
    ("router", (*ATTRIBUTES, "recipe", "at"), []),
    ("router", (*ATTRIBUTES, "recipe", "pooling"), "median"),
    ("router", (*ATTRIBUTES, "recipe", "width"), 0),
    ("router", (*ATTRIBUTES, "neighbours"), 0),
    ("router", (*ATTRIBUTES, "spread"), 0),
    ("router", (*ATTRIBUTES, "spread"), DELETED),
    ("router", (*ATTRIBUTES, "rejection"), {"evidence": 1}),
    ("router", (*ATTRIBUTES, "rejection"), DELETED),
    ("router", (*ATTRIBUTES, "objects", "../x"), {"size": 1, "sha256": DIGEST}),
    ("router", (*ATTRIBUTES, "method"), []),
    ("delta", ("fill_value",), 1.0),
    ("delta", ("fill_value",), "NaN"),
    ("delta", ("shape",), [1, 1]),
    ("delta", ("data_type",), "float64"),
    ("delta", ("codecs", 0, "configuration", "codecs"), [{"name": "tvbank.sass"}]),
    ("delta", ("codecs", 0, "configuration", "index_location"), "start"),
    ("delta", ("storage_transformers",), [{"name": "x"}]),
    ("extra", ("data_type",), "bfloat16"),
    ("extra", ("chunk_grid", "configuration", "chunk_shape"), [0]),
    ("extra", ("codecs",), [{"name": "bytes"}]),
    ("marker", ("attributes",), {"x": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "path", "value"), REFUSED)
def test_schemas_refuse(schema, path, value):
    document = copy.deepcopy(found(schema))
    validator(schema).validate(document)
    place = document
    for step in path[:-1]:
        place = place[step]
    if value is DELETED:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    assert not validator(schema).is_valid(document)


@pytest.mark.parametrize("schema", ["root", "layout", "revision", "router", "delta", "extra"])
def test_schemas_ignore_unknown_members(schema):
    document = found(schema) | {"future": 1}
    if schema in ("root", "layout", "revision", "router"):
        document["attributes"]["tvbank"]["future"] = {}
        document["attributes"]["other"] = {}
    validator(schema).validate(document)
