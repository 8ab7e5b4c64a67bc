"""A headless Chromium for the tests of pages: ``python -m tools.chromium FOLDER`` prints its path.

The one of this machine, if there is one; otherwise that of an npm package, unpacked into the
folder. It brings its own libraries and fonts, so it needs neither root nor a distribution's
packages: 70 MB to fetch, 200 MB on disk, Linux on x86-64.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

#: Pinned: npm compares what it fetches with the registry's digest of this version.
PACKAGE = "@sparticuz/chromium@153.0.0"

#: As Debian, Ubuntu and Google call it.
NAMES = ("chromium", "chromium-browser", "google-chrome")

#: Why tests are skipped.
NONE = "there is no Chromium: python -m tools.chromium FOLDER fetches one; TVBANK_CHROMIUM=PATH"

#: What Python's standard library cannot do, and that of Node.js can.
_UNBROTLI = """
const { createReadStream, createWriteStream } = require("node:fs");
const { createBrotliDecompress } = require("node:zlib");
require("node:stream").pipeline(
  createReadStream(process.argv[1]), createBrotliDecompress(), createWriteStream(process.argv[2]),
  (error) => { if (error) throw error; });
"""

_START = """\
#!/bin/sh
here=$(dirname "$0")
export LD_LIBRARY_PATH="$here/al2023/lib" FONTCONFIG_PATH="$here/fonts"
exec "$here/chromium.bin" "$@"
"""


_FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{0}/fonts</dir><dir>/usr/share/fonts</dir><cachedir>{0}/cache</cachedir></fontconfig>
"""


def find() -> str | None:
    """The Chromium of this machine: ``TVBANK_CHROMIUM``, or one on the path."""
    named = os.environ.get("TVBANK_CHROMIUM")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


def fetch(folder: Path) -> Path:
    """Unpack that of the npm package into a folder.

    Raises:
        OSError: this machine is of another kind, or has no Node.js.
        subprocess.CalledProcessError: npm cannot fetch it; ``stderr`` says why.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise OSError(f"{PACKAGE} is for Linux on x86-64: install Chromium, or set TVBANK_CHROMIUM")
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    _run("npm", "pack", "--loglevel=error", "--pack-destination", str(folder), PACKAGE)
    (packed,) = folder.glob("*.tgz")
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    packed.unlink()
    parts = folder / "package" / "bin"
    _run("node", "-e", _UNBROTLI, str(parts / "chromium.br"), str(folder / "chromium.bin"))
    for name in ("al2023", "fonts"):
        unpacked = parts / f"{name}.tar"
        _run("node", "-e", _UNBROTLI, f"{unpacked}.br", str(unpacked))
        with tarfile.open(unpacked) as archive:
            archive.extractall(folder / name, filter="data")
    shutil.rmtree(folder / "package")
    (folder / "fonts" / "fonts.conf").write_text(_FONTS.format(folder / "fonts"))
    (folder / "chromium").write_text(_START)
    for name in ("chromium", "chromium.bin"):
        (folder / name).chmod(0o755)
    return folder / "chromium"


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tools.chromium",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="where to unpack one")
    options = parser.parse_args()
    try:
        print(find() or fetch(options.folder))
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"no Chromium: {(getattr(error, 'stderr', None) or str(error)).strip()}")
