"""Downloading a package with its registry's own client, and reading the files in it."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final


@final
@dataclass(frozen=True)
class Packages:
    """Packages, downloaded once into a folder.

    Attributes:
        folder: where they are kept.
    """

    folder: Path

    def wheel(self, name: str, version: str) -> zipfile.ZipFile:
        """A wheel from PyPI."""
        return zipfile.ZipFile(self._pip(name, version))

    def source(self, name: str, version: str) -> zipfile.ZipFile:
        """A zipped source distribution from PyPI."""
        return zipfile.ZipFile(self._pip(name, version, "--no-binary", ":all:"))

    def debian(self, name: str) -> tarfile.TarFile:
        """The files of a Debian package (after ``apt-get update``)."""
        path = self._once(name, lambda into: _run("apt-get", "download", name, into=into))
        command = ["dpkg-deb", "--fsys-tarfile", str(path)]
        files = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        return tarfile.open(fileobj=io.BytesIO(files))

    def npm(self, name: str, version: str) -> tarfile.TarFile:
        """The files of an npm package."""
        wanted = f"{name}@{version}"
        return tarfile.open(self._once(name, lambda into: _run("npm", "pack", wanted, into=into)))

    def _pip(self, name: str, version: str, *options: str) -> Path:
        wanted = f"{name}=={version}"
        command = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *options)
        return self._once(name, lambda into: _run(*command, wanted, into=into))

    def _once(self, name: str, download: Callable[[Path], None]) -> Path:
        kept = self.folder / name
        if not kept.exists():
            coming = self.folder / f"{name}.coming"
            shutil.rmtree(coming, ignore_errors=True)
            coming.mkdir(parents=True)
            download(coming)
            coming.rename(kept)
        (path,) = kept.iterdir()
        return path


def debian_index() -> str:
    """Every package that apt knows, as control paragraphs (after ``apt-get update``)."""
    command = ["apt-cache", "dumpavail"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def member(archive: zipfile.ZipFile | tarfile.TarFile, path: str) -> bytes:
    """The bytes of the file in an archive whose path ends so.

    Raises:
        FileNotFoundError: there is none.
    """
    zipped = isinstance(archive, zipfile.ZipFile)
    for name in archive.namelist() if zipped else archive.getnames():
        if name.endswith(path):
            if isinstance(archive, zipfile.ZipFile):
                return archive.read(name)
            if (file := archive.extractfile(name)) is not None:
                return file.read()
    raise FileNotFoundError(f"no {path} in the package")


def _run(*command: str, into: Path) -> None:
    try:
        subprocess.run(command, cwd=into, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"{' '.join(command)} failed: {error.stderr.strip()}") from error
