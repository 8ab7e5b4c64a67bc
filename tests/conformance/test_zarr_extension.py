"""What a registration of the codec holds: samples are as its page says, the schema is strict."""

import json
import re
import struct

import numpy as np
import pytest
import zarr
from jsonschema import Draft202012Validator
from vectors import ROOT, vectors

from spec.reference.frame import decode_frame

FOLDER = ROOT / "spec" / "zarr-extensions" / "codecs" / "tvbank.sass"
SAMPLES = FOLDER / "sample_data"
NAMES = ["float32", "int32", "sharded"]


def listed(name: str) -> dict[int, tuple[float, bytes]]:
    """The values that the samples' page gives of an array, and their bytes, by index."""
    found: dict[int, tuple[float, bytes]] = {}
    arrays: list[str] = []
    page = (SAMPLES / "README.md").read_text().partition("| array | index |")[2]
    for row in re.findall(r"^\|(.*)\| (\d+) \| (\S+) \| `(.*)` \|$", page, re.MULTILINE):
        arrays = re.findall(r"`(\w+)\.zarr`", row[0]) or arrays
        if name in arrays:
            found[int(row[1])] = float(row[2]), bytes.fromhex(row[3])
    return found


@pytest.mark.parametrize("name", NAMES)
def test_zarr_reads_the_samples(name):
    array = zarr.open_array(str(SAMPLES / f"{name}.zarr"), mode="r")
    expected = np.zeros(array.shape, array.dtype)
    for index, (value, raw) in listed(name).items():
        expected[index] = value
        assert expected[index].tobytes() == raw
    assert np.count_nonzero(expected) >= 3
    assert np.asarray(array[:]).tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ["float32", "int32"])
def test_the_reference_decoder_reads_the_samples(name):
    data = (SAMPLES / f"{name}.zarr" / "c" / "0").read_bytes()
    frame = decode_frame(data)
    assert frame.element == name
    patterns = {index: struct.unpack("<I", raw)[0] for index, (_, raw) in listed(name).items()}
    assert dict(zip(frame.positions, frame.patterns, strict=True)) == patterns
    assert data in {vector.data for vector in vectors("frames/valid")}


def test_the_schema_accepts_the_samples_and_banks_and_nothing_else():
    schema = json.loads((FOLDER / "schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    accepts = Draft202012Validator(schema).is_valid
    for name in NAMES:
        (codec, *_) = json.loads((SAMPLES / f"{name}.zarr" / "zarr.json").read_text())["codecs"]
        accepted = codec if name != "sharded" else codec["configuration"]["codecs"][0]
        assert accepts(accepted)
    assert accepts({"name": "tvbank.sass", "configuration": {}})  # as banks have it
    assert not accepts({"name": "tvbank.other"})
    assert not accepts({"name": "tvbank.sass", "configuration": {"level": 1}})
    assert not accepts({"name": "tvbank.sass", "unknown": 1})
    assert not accepts({"configuration": {}})


def test_the_example_of_the_page_is_metadata():
    page = (FOLDER / "README.md").read_text()
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    shape = {"shape": [262144], "chunk_grid": _regular(262144), "zarr_format": 3}
    key = {"name": "default", "configuration": {"separator": "/"}}
    document = json.loads(example) | shape | {"node_type": "array", "chunk_key_encoding": key}
    assert zarr.core.metadata.v3.ArrayV3Metadata.from_dict(document).codecs


def _regular(length: int) -> dict[str, object]:
    return {"name": "regular", "configuration": {"chunk_shape": [length]}}
