"""Writing a model folder: weights in one file or in shards, what lies beside them, and a card."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from numpy.typing import NDArray

from tvbank._atomic import cannot_write, replace_file
from tvbank._atomic_folder import files_in, folder_aside, sweep
from tvbank.checkpoint import (
    CheckpointSource,
    Shards,
    TensorSpec,
    checkpoint_files,
    is_one_of,
    plan_shards,
)
from tvbank.errors import UsageError
from tvbank.folders._beside import CONFIG_FILE, Beside, as_text, beside
from tvbank.folders._card import Origin, card
from tvbank.folders._config import fitted, is_deep, is_head, merge_patch, rebuilt
from tvbank.layout import Layout
from tvbank.storage import local_file

__all__ = ["MAX_SHARD_SIZE", "ModelFolder", "folder_named", "parse_bytes"]

#: Bytes of a shard, as the hub's libraries have it.
MAX_SHARD_SIZE = "5GB"

CARD = "README.md"

#: As mergekit calls the recipe that it puts into a folder.
RECIPE = "mergekit_config.yml"

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}

#: Files of a folder that would be taken for its weights, or for a part of them.
_WEIGHTS = re.compile(
    r"((model|diffusion_pytorch_model)(-\d{5}-of-\d{5})?\.safetensors"
    r"|(pytorch_model|diffusion_pytorch_model)(-\d{5}-of-\d{5})?\.bin"
    r"|.*\.(safetensors|bin)\.index\.json)"
)

#: Files that make a folder something else than a model.
_OTHERS = {
    "adapter_config.json": "an adapter, which libraries would load on top of the model",
    "zarr.json": "a bank",
}

#: The last modules of names that embed the input: models tie them whatever their configuration.
_INPUTS = re.compile(r"(^|.*\.)(embed_tokens|shared|wte|\w*embeddings?)\.weight")


def folder_named(out: str | os.PathLike[str]) -> Path | None:
    """The folder that an output names by a slash at its end, or by being one; else ``None``.

    Raises:
        UsageError: it is a URL.
    """
    text = os.fspath(out)
    path = local_file(out)
    ends = text.endswith(tuple(filter(None, (os.sep, os.altsep))))
    return path if ends or path.is_dir() else None


def parse_bytes(size: int | str) -> int:
    """A number of bytes, or a text such as ``"5GB"`` (10^9 bytes each) or ``"500 MiB"`` (2^20).

    Raises:
        UsageError: anything else, or no byte at all.
    """
    amount = size if isinstance(size, int) and not isinstance(size, bool) else 0
    if isinstance(size, str) and (match := _SIZE.fullmatch(size)):
        step = 1024 if match[3] else 1000
        amount = int(float(match[1]) * step ** _POWERS[match[2].upper()])
    if amount < 1:
        raise UsageError(f"a size is a number of bytes, or a text such as '5GB'; got {size!r}")
    return amount


@final
@dataclass(frozen=True)
class ModelFolder:
    """Where a model folder is written to, and how.

    Attributes:
        path: the folder; a new one, or one that is empty.
        files: a model whose small files are copied (configuration, tokenizer): a path or URL; the
            base's by default.
        max_shard_size: bytes of weights in one file; see ``parse_bytes``.
        overwrite: whether the folder may have files: those of the same names, and weights, are
            replaced; others stay.
        base_model: the base's name on the hub, for the card; by default what its place tells.
    """

    path: Path
    files: str | os.PathLike[str] | None = None
    max_shard_size: int | str = MAX_SHARD_SIZE
    overwrite: bool = False
    base_model: str | None = None

    def check(self, base: CheckpointSource) -> None:
        """Refuse a place before any work.

        Raises:
            UsageError: it is a file, or the base's own folder, or has files; or the size is none.
            StorageError: it cannot be read.
        """
        parse_bytes(self.max_shard_size)
        if not self.path.is_dir():
            if self.path.exists():
                raise UsageError(f"{self.path} is a file: name a folder, or leave out the slash")
            return
        for file in checkpoint_files(base):
            if file.parent.samefile(self.path) or is_one_of(self.path, file.resolve().parents):
                raise UsageError(
                    f"{self.path} has the base's own weights in it ({file}): choose another folder"
                )
        try:
            sweep(self.path)
            present = files_in(self.path)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        for name, what in _OTHERS.items():
            if name in present:
                raise UsageError(f"{self.path} holds {what} ({name}): choose another folder")
        if present and not self.overwrite:
            raise UsageError(
                f"{self.path} is not empty: choose another folder, or give overwrite=True (--force)"
            )

    def prepare(
        self,
        base: CheckpointSource,
        origin: Origin,
        layout: Layout,
        specs: Sequence[TensorSpec],
        kept: Collection[str] = (),
    ) -> Prepared:
        """Read what lies beside the base, and plan the files.

        Args:
            base: the base's weights.
            origin: how the weights came to be.
            layout: of the base.
            specs: of all tensors, tied ones under each of their names.
            kept: names of those that a task keeps whole.

        Raises:
            CheckpointError, StorageError: what lies beside the base cannot be read.
        """
        found = beside(base)
        name = found.name if self.base_model is None else self.base_model
        before = found.config
        if self.files is not None:
            found = beside(self.files)
        config = found.config
        if config is None:
            warnings.warn(
                f"beside {_shown(self.files or base)} there is no {CONFIG_FILE}, so that libraries "
                "will not load the folder: name one that has it by files= (--files)",
                UserWarning, stacklevel=4,
            )  # fmt: skip
        else:
            shapes = {record.name: record.shape for record in layout.records}
            if self.files is None:
                if is_deep(origin.patch):
                    raise UsageError(
                        f"the metadata of {origin.title!r} hold a configuration that is nested too "
                        "deeply: name a folder that has a right one by files= (--files)"
                    )
                config = merge_patch(config, origin.patch)
                _warn_of_heads(origin, config, [n for n in kept if n not in shapes])
            config = fitted(config, shapes, {s.name: s.shape for s in specs if s.name in kept})
            config = rebuilt(config, origin.layers_before, origin.layers, origin.dtype)
        aliases = {alias for alias in layout.tied if alias not in kept}
        unused = _unused(layout, origin, before, config)
        alone = [
            s
            for s in specs
            if s.name not in unused and not (s.name in aliases and _is_tied_by(config, s.name))
        ]
        shards = plan_shards(alone, parse_bytes(self.max_shard_size), _stem(config))
        return Prepared(self.path, origin, replace(found, config=config, name=name), shards)


@final
@dataclass(frozen=True)
class Prepared:
    """A model folder that is ready to be written.

    Attributes:
        path: the folder.
        origin: how the weights came to be.
        beside: what is to lie beside them.
        shards: which tensors go into which file; ``write`` takes them in the order of
            ``shards.order``.
    """

    path: Path
    origin: Origin
    beside: Beside
    shards: Shards

    def write(self, tensors: Iterable[NDArray[Any]]) -> None:
        """Write all files aside, then let the folder appear.

        Raises:
            UsageError: arrays that differ from the specs.
            StorageError: the disk is full or read-only.
        """
        with folder_aside(self.path, self.shards.last, _is_weights) as aside:
            for part in self.beside.folders:
                (aside / part).mkdir(parents=True, exist_ok=True)
            for name, data in self._small_files().items():
                replace_file(aside / name, data)
            self.shards.write(aside, tensors)

    def _small_files(self) -> dict[str, bytes]:
        files = dict(self.beside.files)
        if self.beside.config is not None:
            files[CONFIG_FILE] = as_text(self.beside.config)
        if self.origin.recipe:
            files[RECIPE] = self.origin.recipe.encode(errors="replace")
        text = card(self.origin, self.beside.name, _library(self.beside))
        return {**files, CARD: text.encode(errors="replace")}


def _warn_of_heads(origin: Origin, config: Mapping[str, Any], new: Collection[str]) -> None:
    """Say that a head of the task's is not in the architecture that the folder will name."""
    heads = [name for name in new if is_head(name)]
    if heads and "architectures" not in origin.patch:
        named = ", ".join(map(str, config.get("architectures") or ["no architecture"]))
        warnings.warn(
            f"{origin.title!r} has a head {heads[0]!r} that the base lacks, and the folder's "
            f"{CONFIG_FILE} names {named}, as the base's does: name the fine-tune's folder by "
            "files= (--files), or load it by the class that has that head",
            UserWarning, stacklevel=5,
        )  # fmt: skip


def _unused(
    layout: Layout,
    origin: Origin,
    before: Mapping[str, Any] | None,
    config: Mapping[str, Any] | None,
) -> set[str]:
    """Heads of the base that the fine-tune had not, if its architecture has no place for them."""
    here, there = ((c or {}).get("architectures") for c in (config, before))
    if not here or here == there:
        return set()
    lacks = set(origin.lacks)
    return lacks | {alias for alias, owner in layout.tied.items() if owner in lacks}


def _is_weights(name: str) -> bool:
    return _WEIGHTS.fullmatch(name) is not None


def _is_tied_by(config: Mapping[str, Any] | None, alias: str) -> bool:
    """Whether the model ties a name by itself, so that its file need not have it."""
    if config is None:
        return False
    if _INPUTS.fullmatch(alias):
        return True
    parts = [config, *(part for part in config.values() if isinstance(part, Mapping))]
    return all(part.get("tie_word_embeddings") is not False for part in parts)


def _stem(config: Mapping[str, Any] | None) -> str:
    """How the library that loads the folder calls files of weights."""
    diffusers = config is not None and "_diffusers_version" in config
    return "diffusion_pytorch_model" if diffusers else "model"


def _library(found: Beside) -> str | None:
    """The library that loads the folder, as the hub calls it."""
    if "modules.json" in found.files:
        return "sentence-transformers"
    config = found.config or {}
    if "_diffusers_version" in config:
        return "diffusers"
    return "transformers" if "model_type" in config else None


def _shown(source: object) -> str:
    return os.fspath(source) if isinstance(source, str | os.PathLike) else "the base"
