"""The "HF delta checkpoint" of training fleets: slime, vime, ModelExpress 0.7.

A folder with an index (``model.safetensors.index.json``) whose metadata have ``delta_encoding``,
and shards: each changed tensor as bytes, see ``byte_delta``, and in the shard's free texts the
checksum of its *new* bytes, which is always compared. Tensors that are not there did not change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from tvbank.artefacts._artefact import Artefact, Change, Delta, Stored, base_shape, check_size
from tvbank.artefacts._contents import Contents, read_json
from tvbank.artefacts._given import Given
from tvbank.artefacts.byte_delta import ENCODINGS, checksum, decode
from tvbank.checkpoint import Checkpoint, open_checkpoint, read_texts, read_weight_map
from tvbank.errors import BaseMismatchError, CheckpointError
from tvbank.layout import raw_bytes

INDEX = "model.safetensors.index.json"


@final
class HfDelta(Artefact):
    """One version of weights after another, as differences of bytes."""

    kind: ClassVar[str] = "hf-delta"
    title: ClassVar[str] = "an HF delta checkpoint"
    takes: ClassVar[Mapping[str, str]] = {
        "before": "the version that it follows, if that is not the bank's base: a checkpoint, or "
        "updates one after another"
    }

    def __init__(self, index: Path, metadata: Mapping[str, Any]) -> None:
        """Open the shards and read their headers.

        Raises:
            CheckpointError: missing shards or tensors, or an unknown encoding.
        """
        self.source, self._metadata = str(index.parent), metadata
        self._how = str(metadata["delta_encoding"])
        if self._how not in ENCODINGS or metadata.get("compression_format", "zstd") != "zstd":
            raise CheckpointError(
                f"{self.source}: its encoding {self._how!r}, compressed by "
                f"{metadata.get('compression_format')!r}, is not known (xor or overwrite, zstd); "
                "install a newer tvbank"
            )
        placed = read_weight_map(index)
        self._shards = {file: open_checkpoint(index.parent / file) for file in {*placed.values()}}
        self.files = [index, *(index.parent / file for file in sorted(self._shards))]
        self._texts = {file: read_texts(index.parent / file) for file in self._shards}
        self._placed = placed
        for name, file in placed.items():
            spec = self._shards[file].tensors.get(name)
            if spec is None or spec.dtype != "uint8" or len(spec.shape) != 1:
                raise CheckpointError(
                    f"{self.source}: the shard {file!r} does not hold bytes for tensor {name!r}; "
                    "fetch index and shards of the same version"
                )
            if name not in self._texts[file]:
                raise CheckpointError(
                    f"{self.source}: the shard {file!r} has no checksum of tensor {name!r}; "
                    "without it nothing is proved: write it again"
                )

    @staticmethod
    def recognise(contents: Contents) -> HfDelta | None:
        """An index that says how its differences are encoded, by itself or in its folder."""
        index = contents.path
        if contents.kind == "folder":
            if INDEX not in contents.names:
                return None
            index = contents.path / INDEX
        elif contents.kind != "json":
            return None
        content = read_json(index) if contents.kind == "folder" else _quietly(index)
        metadata = content.get("metadata") if isinstance(content, dict) else None
        if not isinstance(metadata, dict) or "delta_encoding" not in metadata:
            return None
        return HfDelta(index, metadata)

    def stored(self) -> Sequence[Stored]:
        """See ``Artefact.stored``."""
        specs = {name: self._shards[file].tensors[name] for name, file in self._placed.items()}
        return [Stored(n, self._how, s.shape, s.nbytes, "delta") for n, s in specs.items()]

    def notes(self) -> Mapping[str, Any]:
        """See ``Artefact.notes``."""
        named = ("version", "base_version", "delta_encoding", "checksum_format")
        return {name: self._metadata.get(name) for name in named}

    def changes(self, base: Checkpoint, given: Given) -> Mapping[str, Change]:
        """See ``Artefact.changes``."""
        prove = checksum(str(self._metadata.get("checksum_format")))
        changes: dict[str, Change] = {}
        for name in self._placed:
            base_shape(self.source, base, name)
            changes[name] = Delta(partial(self._apply, prove, base.source, name))
        return changes

    def _apply(self, prove: Any, base: str, name: str, old: NDArray[Any]) -> NDArray[Any]:
        file = self._placed[name]
        named = f"{self.source}: tensor {name!r}"
        frame = self._shards[file].read(name)
        before = np.frombuffer(raw_bytes(old), np.uint8)
        new = decode(named, frame, before, self._how)
        if prove(new) != self._texts[file][name]:
            version = self._metadata.get("base_version")
            raise BaseMismatchError(
                f"{named} comes out with another checksum than the update states: it is damaged, "
                f"or {base} is not the version {version!r} that it follows; give that one as "
                "before=… (--given before=…)",
                [name],
            )
        check_size(self.source, name, "number of bytes", len(new), old.nbytes)
        return new.view(old.dtype).reshape(old.shape)


def _quietly(index: Path) -> Any:
    try:
        return read_json(index)
    except CheckpointError:
        return None  # some other text that begins with a brace
