"""The archive of spec, schemas and vectors: whole, always the same, told by its manifest."""

import hashlib
import io
import json
import sys
import zipfile

import pytest
from vectors import ROOT, vectors

from tools.vectors.archive import archive, main, spec_files


@pytest.fixture(scope="module")
def files():
    return spec_files()


@pytest.fixture(scope="module")
def zipped(files):
    return zipfile.ZipFile(io.BytesIO(archive(files)))


def test_the_manifest_tells_every_file(files, zipped):
    first, *others = zipped.namelist()
    assert first == "tvbank-spec/manifest.json"
    manifest = json.loads(zipped.read(first))
    assert f"version {manifest['format']}\n" in (ROOT / "spec" / "README.md").read_text()
    assert others == [f"tvbank-spec/{name}" for name in manifest["files"]]
    for name, told in manifest["files"].items():
        data = zipped.read(f"tvbank-spec/{name}")
        assert data == (ROOT / "spec" / name).read_bytes()
        assert told == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_pages_schemas_and_vectors_are_in_it_and_no_python(files):
    for folder in ("frames/valid", "frames/invalid"):
        assert all(f"vectors/{folder}/{v.name}.bin" in files for v in vectors(folder))
    for folder in ("banks/valid", "banks/invalid"):
        assert f"vectors/{folder}/index.json" in files
    assert {"README.md", "container.md", "schemas/root.schema.json"} <= files.keys()
    assert not [name for name in files if name.endswith(".py")]


def test_it_is_the_same_every_time(files, zipped):
    assert archive(spec_files()) == archive(files)
    for entry in zipped.infolist():
        assert entry.compress_type == zipfile.ZIP_STORED
        assert (entry.date_time, entry.external_attr) == ((1980, 1, 1, 0, 0, 0), 0o100644 << 16)


def test_the_command_says_what_it_wrote(tmp_path, monkeypatch, capsys):
    out = tmp_path / "spec.zip"
    monkeypatch.setattr(sys, "argv", ["archive", str(out)])
    assert main() == 0
    assert capsys.readouterr().out.startswith(hashlib.sha256(out.read_bytes()).hexdigest())
