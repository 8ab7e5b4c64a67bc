"""The spec, its schemas and its vectors as one file: ``python -m tools.vectors.archive OUT.zip``.

For writers of readers in other languages, who need nothing of Python for it. The file is the same
on every machine: entries are stored, in the order of their names, with one date and mode; so its
SHA-256, which is printed, tells which edition somebody has. ``manifest.json`` stands first.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import zipfile
from pathlib import Path

SPEC = Path(__file__).resolve().parents[2] / "spec"
WITHOUT = {"reference"}  # the reader in Python; everything else is for any language
_DATE = (1980, 1, 1, 0, 0, 0)


def spec_files() -> dict[str, bytes]:
    """All files of the archive but its manifest, by their path from the folder of the spec."""
    paths = sorted(path.relative_to(SPEC) for path in SPEC.rglob("*") if path.is_file())
    kept = (path for path in paths if path.parts[0] not in WITHOUT and path.suffix != ".pyc")
    return {path.as_posix(): (SPEC / path).read_bytes() for path in kept}


def manifest_of(files: dict[str, bytes]) -> bytes:
    """What the archive has: the format's version, and of every file its size and SHA-256."""
    version = (SPEC / "README.md").read_text().splitlines()[0].rpartition(" ")[2]
    listed = {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    }
    return (json.dumps({"format": version, "files": listed}, indent=1) + "\n").encode()


def archive(files: dict[str, bytes]) -> bytes:
    """A zip file of the files below ``tvbank-spec/``, after their manifest."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as zipped:
        for name, data in {"manifest.json": manifest_of(files), **files}.items():
            entry = zipfile.ZipInfo(f"tvbank-spec/{name}", _DATE)
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            zipped.writestr(entry, data)
    return out.getvalue()


def main() -> int:
    """Write the archive and say what it is."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.vectors.archive", description=__doc__.splitlines()[0]
    )
    parser.add_argument("out", type=Path, help="the file to write, such as tvbank-spec.zip")
    arguments = parser.parse_args()
    files = spec_files()
    data = archive(files)
    arguments.out.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    print(f"{digest}  {arguments.out}: {len(files)} files, {len(data)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
