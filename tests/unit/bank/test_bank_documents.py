"""The documents: every bit is covered, newer versions are told apart, hostile ones are refused."""

import hashlib
import json

import banks
import msgspec
import pytest
from banks import small_objects

import tvbank
from tvbank.bank.documents import (
    MAX_DOCUMENT_BYTES,
    decode_layout,
    decode_root,
    empty_catalog,
    encode_root,
)
from tvbank.errors import CorruptionError, FormatError, UnsupportedError


def opened(objects):
    return tvbank.open(banks.store(objects))


def refusal(objects):
    """Why a bank cannot be opened and read; one sentence."""
    with pytest.raises(FormatError) as caught:
        banks.all_numbers(opened(objects))
    assert "\n" not in str(caught.value)
    return caught.value


def reasons(objects):
    return {fault.reason for fault in opened(objects).verify()}


def test_a_forgery_that_changes_nothing_is_sound():
    assert opened(banks.forge(small_objects())).verify() == []
    assert banks.all_numbers(opened(banks.forge(small_objects()))) == banks.all_numbers(
        opened(small_objects())
    )


def test_every_flipped_bit_of_the_root_document_is_refused():
    root = small_objects()["zarr.json"]
    for bit in range(8 * len(root)):
        flipped = bytearray(root)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            decode_root(bytes(flipped))


@pytest.mark.parametrize("keep", [0, 1, 34, 35, 98, 99, 200, -1])
def test_a_truncated_root_document_is_refused(keep):
    with pytest.raises(CorruptionError):
        decode_root(small_objects()["zarr.json"][:keep])


def test_whatever_follows_the_root_document_is_refused():
    for tail in (b" ", b"\n", b"{}", b"\0"):
        with pytest.raises(CorruptionError):
            decode_root(small_objects()["zarr.json"] + tail)


def test_the_digest_stands_where_it_must():
    root = json.loads(small_objects()["zarr.json"])
    body = root["attributes"]["tvbank"]
    root["attributes"]["tvbank"] = {key: body[key] for key in reversed(body)}
    moved = banks.sealed(json.dumps(root, separators=(",", ":")).encode())
    with pytest.raises(FormatError):
        decode_root(moved)


def test_the_root_document_comes_back_as_it_was_written():
    catalog = decode_root(small_objects()["zarr.json"])
    assert encode_root(catalog) == small_objects()["zarr.json"]


class TestVersions:
    @pytest.mark.parametrize("version", ["1.0", "1.7", "1.123456789"])
    def test_later_minor_versions_are_read(self, version):
        forged = banks.forge(small_objects(), root=lambda body: body.update(format=version))
        assert banks.all_numbers(opened(forged)) == banks.all_numbers(opened(small_objects()))

    def test_later_minor_versions_are_not_changed(self):
        storage = banks.store(
            banks.forge(small_objects(), root=lambda body: body.update(format="1.2"))
        )
        before = banks.contents(storage)
        bank = tvbank.open(storage)
        changes = [
            lambda: bank.add("new", banks.fine_tune(), base=banks.base_model()),
            lambda: bank.add("exact", banks.fine_tune(), base=banks.base_model(), replace=True),
            lambda: bank.remove("exact"),
            bank.gc,
        ]
        for change in changes:
            with pytest.raises(UnsupportedError, match=r"format 1\.2.*read but not change"):
                change()
        assert banks.contents(storage) == before

    @pytest.mark.parametrize("version", ["2.0", "10.0", "999999999.0", "0.9"])
    def test_other_major_versions_are_refused_with_both_versions(self, version):
        forged = banks.forge(small_objects(), root=lambda body: body.update(format=version))
        with pytest.raises(UnsupportedError, match=rf"format {version}, this tvbank reads 1\.0"):
            opened(forged)

    def test_a_newer_version_is_told_although_all_else_is_unknown(self):
        def edit(body):
            body.clear()
            body.update(digest=banks.BLANK, format="2.0", required_features=[], surprise=1)

        error = refusal(banks.forge(small_objects()) | _edited_root(edit))
        assert error.reason == "version"

    def test_unknown_required_features_are_refused_by_name(self):
        features = ["tvbank.time-travel", "x"]
        forged = banks.forge(
            small_objects(), root=lambda body: body.update(required_features=features)
        )
        with pytest.raises(UnsupportedError, match=r"'tvbank\.time-travel', 'x'"):
            opened(forged)

    def test_unknown_members_are_ignored(self):
        def more(body):
            body["unknown"] = {"nested": [1, None, "x"]}

        def more_everywhere(body):
            more(body)
            more(body["layout"])
            for entry in body["tasks"].values():
                more(entry)

        forged = banks.forge(small_objects(), root=more_everywhere, layout=more, revision=more)
        assert opened(forged).verify() == []
        expected = banks.all_numbers(opened(small_objects()))
        found = banks.all_numbers(opened(forged))
        for name, task in expected.items():
            assert found[name] | {"revision": ""} == task | {"revision": ""}

    @pytest.mark.parametrize("version", ["", "1", "1.0.0", "1.x", "01.0", "-1.0", "1.0 ", 1, None])
    def test_what_is_no_version_is_refused(self, version):
        error = refusal(banks.forge(small_objects(), root=lambda body: body.update(format=version)))
        assert error.reason == "document-syntax"


def _edited_root(edit):
    document = json.loads(small_objects()["zarr.json"])
    edit(document["attributes"]["tvbank"])
    return {"zarr.json": banks.sealed(json.dumps(document, separators=(",", ":")).encode())}


HOSTILE_TEXTS = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b'"' + b"x" * 100,
    b'{"attributes":NaN,"node_type":"group","zarr_format":3}',
    b'{"attributes":{"tvbank":{"digest":"' + b"\xff" * 64 + b'"}}}',
    b"[" * 1_000_000,
    b'{"a":' * 1_000_000,
    b'{"attributes":{"tvbank":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    b'{"attributes":{"tvbank":{"digest":"' + b"0" * 64 + b'","format":"1.0","required_features":[],'
    b'"x":' + b"[" * 100_000 + b"]" * 100_000 + b'}},"node_type":"group","zarr_format":3}',
]


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=range(len(HOSTILE_TEXTS)))
@pytest.mark.parametrize("decode", [decode_root, decode_layout])
def test_texts_that_are_no_documents(decode, text):
    with pytest.raises(CorruptionError) as caught:
        decode(text)
    assert caught.value.reason in {"document-syntax", "document-digest"}


def test_documents_beyond_the_limit_are_refused_unread():
    class Endless(bytes):
        def __len__(self):
            return MAX_DOCUMENT_BYTES + 1

    with pytest.raises(CorruptionError) as caught:
        decode_root(Endless(b"{"))
    assert caught.value.reason == "limit"


NUMBERS = [-1, 2**53 + 1, 2**63, 2**64, 10**400, 1.5, 1e300, True, None, "7", [], {}]


class TestHostileNumbers:
    @pytest.mark.parametrize("number", NUMBERS, ids=lambda number: repr(number)[:12])
    @pytest.mark.parametrize("member", ["size", "nonzeros", "parameters", "stored_bytes"])
    def test_in_the_catalog(self, member, number):
        def edit(body):
            body["tasks"]["exact"][member] = number

        assert refusal(banks.forge(small_objects(), root=edit)).reason == "document-syntax"

    @pytest.mark.parametrize("number", NUMBERS, ids=lambda number: repr(number)[:12])
    def test_as_the_size_of_a_shard(self, number):
        if number is None:
            return  # a shard of zeros; that it is not is seen by the count of non-zeros

        def edit(body):
            body["tasks"]["exact"]["shards"] = [{"size": number, "sha256": "0" * 64}]

        assert refusal(banks.forge(small_objects(), root=edit)).reason == "document-syntax"

    @pytest.mark.parametrize("number", NUMBERS, ids=lambda number: repr(number)[:12])
    @pytest.mark.parametrize("member", ["chunk_length", "shard_length", "length"])
    def test_in_the_layout(self, member, number):
        error = refusal(
            banks.forge(small_objects(), layout=lambda body: body.update({member: number}))
        )
        assert error.reason == "document-syntax"

    @pytest.mark.parametrize("literal", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1e400"])
    def test_that_json_does_not_have(self, literal):
        root = small_objects()["zarr.json"].replace(b'"generation":2', b'"generation":' + literal)
        assert root != small_objects()["zarr.json"]
        error = refusal(small_objects() | {"zarr.json": banks.sealed(root)})
        assert error.reason == "document-syntax"


def unit(name, shape, offset):
    return {"name": name, "dtype": "float32", "shape": shape, "offset": offset, "sha256": "0" * 64}


HOSTILE_LAYOUTS = {
    "a size beyond every address": {"units": [unit("w", [2**48, 2**48], 0)]},
    "a size beyond every integer": {"units": [unit("w", [2**48] * 32, 0)]},
    "an empty unit with endless sides": {"units": [unit("w", [0, 2**48, 2**48], 0)], "length": 0},
    "more dimensions than arrays have": {"units": [unit("w", [1] * 33, 0)]},
    "chunks of nothing": {"chunk_length": 0},
    "a huge chunk": {"chunk_length": 2**24 + 1},
    "too many chunks in a shard": {"chunk_length": 1, "shard_length": 2**17},
    "shards that cut chunks": {"shard_length": 12},
    "units that overlap": {"units": [unit("a", [8], 0), unit("b", [8], 0)], "length": 8},
    "a hole between units": {"units": [unit("a", [8], 0), unit("b", [8], 16)], "length": 24},
    "another length": {"length": 2**40},
    "a name twice": {"units": [unit("a", [0], 0), unit("a", [0], 0)], "length": 0},
    "a name without letters": {"units": [unit("", [0], 0)], "length": 0},
    "a name that rings": {"units": [unit("\a", [0], 0)], "length": 0},
    "a name that moves the cursor": {"units": [unit("\x9b2J", [0], 0)], "length": 0},
    "a name that never ends": {"units": [unit("é" * 600, [0], 0)], "length": 0},
    "a tie to nothing": {"tied": {"x": "y"}},
    "a tie of a unit to itself": {"tied": {"half": "half"}},
    "an unknown element type": {"units": [{**unit("w", [0], 0), "dtype": "float16x"}]},
    "no digest": {"units": [{**unit("w", [0], 0), "sha256": "0" * 63}]},
}


@pytest.mark.parametrize("change", HOSTILE_LAYOUTS.values(), ids=HOSTILE_LAYOUTS)
def test_layouts_that_contradict_themselves(change):
    error = refusal(banks.forge(small_objects(), layout=lambda body: body.update(change)))
    assert error.reason in {"layout", "limit", "name", "document-syntax"}
    assert error.key == "base/zarr.json"
    assert error.reason in reasons_of_verify(change)


def reasons_of_verify(change):
    forged = banks.store(banks.forge(small_objects(), layout=lambda body: body.update(change)))
    from tvbank.bank.verify import verify

    return {fault.reason for fault in verify(forged)}


NAMES = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "a\\b",
    "zarr.json",
    "con",
    "x.",
    "-x",
    "a\0",
    "é",
    "x" * 129,
]


@pytest.mark.parametrize("name", NAMES)
def test_unsafe_task_names_in_a_catalog(name):
    def edit(body):
        body["tasks"][name] = body["tasks"].pop("exact")

    assert refusal(banks.forge(small_objects(), root=edit)).reason == "name"


def test_task_names_that_differ_in_case_only():
    def edit(body):
        body["tasks"]["LOSSY"] = body["tasks"]["exact"]

    assert refusal(banks.forge(small_objects(), root=edit)).reason == "name"


def test_a_catalog_with_another_number_of_shards_than_the_layout():
    for shards in ([], [None, None]):
        forged = banks.forge(
            small_objects(), root=lambda body, s=shards: body["tasks"]["exact"].update(shards=s)
        )
        assert refusal(forged).reason == "layout"


CONTRADICTIONS = {
    "element": "int32",
    "nonzeros": 1,
    "shards": [None],
    "replaced": ["half"],
    "parameters": 3,
    "stored_bytes": 3,
}


@pytest.mark.parametrize("member", CONTRADICTIONS)
def test_a_catalog_that_contradicts_the_revision_is_found(member):
    def edit(body):
        body["tasks"]["lossy"][member] = CONTRADICTIONS[member]

    assert reasons(banks.forge(small_objects(), root=edit))


@pytest.mark.parametrize("change", [-1, 1])
def test_a_number_of_non_zeros_that_is_not_stored_is_found(change):
    def revise(body):
        body["nonzeros"] += change

    def list_likewise(body):
        for entry in body["tasks"].values():
            entry["nonzeros"] += change

    assert reasons(banks.forge(small_objects(), revision=revise, root=list_likewise)) == {"layout"}


@pytest.mark.parametrize("key", ["../../exact/zarr.json", "/etc/passwd", "a//b", "delta/c/0", "x"])
def test_a_revision_that_lists_keys_of_others(key):
    def edit(body):
        body["objects"][key] = {"size": 1, "sha256": "0" * 64}

    assert refusal(banks.forge(small_objects(), revision=edit)).reason == "document-syntax"


EXTRAS = {
    "of an unknown element type": ({"dtype": "float7"}, {"document-syntax"}),
    "of another element type": ({"dtype": "int32"}, {"extra"}),
    "of another shape": ({"shape": [7]}, {"extra"}),
    "of endless rows": ({"shape": [2**48]}, {"extra"}),
    "of one endless row": ({"shape": [1, 2**48]}, {"limit"}),
    "of a row as large as may be": ({"shape": [1, 2**28 - 1]}, {"extra"}),
    "of a row that is too large": ({"shape": [1, 2**28]}, {"limit"}),
    "of endless rows that are endless": ({"shape": [2**24, 2**24]}, {"extra"}),
    "beyond every address": ({"shape": [2**48, 2**48]}, {"limit"}),
    "without elements, yet endless": ({"shape": [0, 2**48, 2**48]}, {"limit"}),
    "with a name that rings": ({"name": "\a"}, {"name"}),
    "without a name": ({"name": ""}, {"name"}),
}


@pytest.mark.parametrize(("change", "expected"), EXTRAS.values(), ids=EXTRAS)
def test_extras_that_are_not_what_is_stored(change, expected):
    def edit(body):
        body["extras"][0].update(change)

    forged = banks.forge(small_objects(), revision=edit)
    assert {refusal(forged).reason} == expected
    assert reasons(forged) & expected


def test_an_extra_twice():
    def edit(body):
        body["extras"].append(body["extras"][0])

    assert refusal(banks.forge(small_objects(), revision=edit)).reason == "layout"


def test_a_new_bank_is_read_as_it_is_written():
    written = encode_root(empty_catalog(b"the layout"))
    assert written.startswith(b'{"attributes":{"tvbank":{"digest":"')
    assert decode_root(written).layout.size == 10


def test_a_revision_lists_exactly_what_its_extras_call_for():
    def without(key):
        return lambda body: body["objects"].pop(key)

    def with_one_more(key):
        return lambda body: body["objects"].update({key: {"size": 1, "sha256": "0" * 64}})

    for key in ("extras/zarr.json", "extras/0/zarr.json", "extras/0/c"):
        assert refusal(banks.forge(small_objects(), revision=without(key))).reason == "extra"
    for key in ("extras/0/c/0", "extras/9/zarr.json", "extras/9/c"):
        assert refusal(banks.forge(small_objects(), revision=with_one_more(key))).reason == "extra"
    assert refusal(banks.forge(small_objects(), revision=without("delta/zarr.json"))).reason == (
        "document-syntax"
    )


def test_a_layout_knows_the_digest_of_the_document_it_was_read_from():
    document = small_objects()["base/zarr.json"]
    layout = decode_layout(document)
    assert layout.sha256 == hashlib.sha256(document).hexdigest()
    assert opened(small_objects()).layout.sha256 == layout.sha256
    newer = document.replace(b'"units":', b'"later":[1],"units":', 1)
    assert decode_layout(newer) == layout
    assert decode_layout(newer).sha256 == hashlib.sha256(newer).hexdigest()


def test_a_layout_that_was_made_has_the_digest_of_its_document():
    made = msgspec.structs.replace(decode_layout(small_objects()["base/zarr.json"]))
    assert made.document == small_objects()["base/zarr.json"]
    assert decode_layout(made.document).sha256 == made.sha256


@pytest.mark.parametrize("key", ["", "zarr.json", "delta/c/0", "extras/1/c/0/0"])
def test_what_is_missing_is_said_with_the_remedy(key):
    bank = opened(small_objects())
    gone = f"tasks/exact/{bank['exact'].revision}/{key}" if key else "base/zarr.json"
    bank.storage.delete(gone)
    with pytest.raises(CorruptionError) as caught:
        banks.all_numbers(tvbank.open(bank.storage))
    kind = "document" if gone.endswith("zarr.json") else "object"
    assert (caught.value.reason, caught.value.key) == (f"{kind}-missing", gone)
    assert f"{gone} is missing from the bank (or was removed since" in str(caught.value)
    assert str(caught.value).startswith("task 'exact': ") == bool(key)
