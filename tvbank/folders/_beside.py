"""What lies beside a model's weights and belongs to it: configuration, tokenizer, processors."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, final

from tvbank._files import read_regular
from tvbank._json import parse_json
from tvbank.checkpoint import Checkpoint, place_of
from tvbank.errors import CheckpointError, TvbankError
from tvbank.folders._config import is_deep
from tvbank.storage import (
    ObjectNotFoundError,
    is_url,
    open_storage,
    refuse_credentials,
    split_url,
)

__all__ = ["CONFIG_FILE", "Beside", "as_text", "beside", "config_of", "hub_name"]

CONFIG_FILE = "config.json"
_GENERATION = "generation_config.json"
_MODULES = "modules.json"

#: Bytes of the largest such file: tokenizers of many languages have about 35 MB.
_LARGEST = 2**28

#: Endings of the small files of a model.
_SUFFIXES = (".json", ".txt", ".jinja", ".model", ".py", ".tiktoken", ".vocab", ".bpe", ".spm")
_LICENCES = re.compile(r"(LICEN[SC]E|NOTICE|USE_POLICY|COPYING)(\W.*)?", re.IGNORECASE)

#: What has such an ending and belongs to weights, to an adapter, to a training or to a bank.
_NOT_THESE = re.compile(
    r"(.*\.index\.json|adapter_config\.json|(trainer|scheduler)_state\.json|(.*_)?results\.json"
    r"|zarr\.json|requirements\.txt|training_args\.json)"
)

#: What is asked for under a URL, where nothing can be listed.
_USUAL = (
    CONFIG_FILE, _GENERATION, "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt",
    "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "chat_template.jinja",
    "preprocessor_config.json", "processor_config.json", _MODULES,
    "config_sentence_transformers.json", "sentence_bert_config.json", "LICENSE",
)  # fmt: skip

#: A model in the cache of the hub's libraries: ``models--owner--name/snapshots/<commit>``.
_CACHED = re.compile(r"models--([\w.-]+?)(?:--([\w.-]+))?/snapshots/")
_HUB = re.compile(r"hf://(?:models/)?([\w.-]+/[\w.-]+?)(?:@[^/]+)?(?:/|$)", re.IGNORECASE)
_REPOSITORY = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")


@final
@dataclass(frozen=True)
class Beside:
    """The small files beside a model's weights.

    Attributes:
        files: path within the folder -> content; without the configuration.
        folders: paths of folders that belong to the model, some of them empty.
        config: the configuration, if there is one.
        name: of the model, as the hub or its folder calls it; empty if nothing tells.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    config: dict[str, Any] | None = None
    name: str = ""


def beside(source: object) -> Beside:
    """The small files beside a model's weights; those of a module in memory, which makes them.

    Args:
        source: a path, a URL, a module, or an open ``Checkpoint`` of one of these; beside anything
            else there is nothing.

    Raises:
        CheckpointError: a file cannot be read, is too large, or a configuration is no JSON object.
        StorageError: the store of a URL refused.
    """
    place = _place(source)
    if place is None:
        return _of_module(source)
    if isinstance(place, str):
        return _of_url(place)
    try:
        files = dict(_local_files(place))
        folders = _part_folders(files)
        for part in folders:
            files |= {f"{part}/{name}": data for name, data in _whole_folder(place / part)}
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        named = getattr(error, "filename", None) or place
        raise CheckpointError(
            f"{str(named)!r}, which belongs to the model, cannot be read: {why}"
        ) from error
    return _made(files, folders, str(place), _name_of(place))


def config_of(source: object) -> dict[str, Any] | None:
    """The configuration of a model, if it has a sound one; see ``beside``."""
    with suppress(OSError, ValueError, TvbankError):
        place = _place(source)
        if place is None:
            return _of_module(source).config
        if isinstance(place, str):
            data = open_storage(place).get(CONFIG_FILE, _LARGEST)
        else:
            data = read_regular(place / CONFIG_FILE, _LARGEST)
        return _made({CONFIG_FILE: data}, (), "", "").config
    return None


def _place(source: object) -> Path | str | None:
    """The folder or URL in which a model lies; ``None`` of what lies nowhere."""
    if isinstance(source, Checkpoint):
        source = source.source if is_url(source.source) or os.path.exists(source.source) else None
    if not isinstance(source, str | os.PathLike):
        return None
    place = place_of(source)
    if isinstance(place, Path):
        return place if place.is_dir() else place.parent
    url = refuse_credentials(place)
    folder, name = split_url(url)
    return folder if name.endswith((".safetensors", ".json")) else url


def _local_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for name in sorted(os.listdir(folder)):
        if _belongs(name) and (folder / name).is_file():
            yield name, read_regular(folder / name, _LARGEST)


def _belongs(name: str) -> bool:
    if name.startswith(".") or _NOT_THESE.fullmatch(name):
        return False
    return name.endswith(_SUFFIXES) or _LICENCES.fullmatch(name) is not None


def _whole_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    """All files of a part of a sentence-transformer: a pooling's settings, a dense layer."""
    for name in sorted(os.listdir(folder)):
        if not name.startswith(".") and (folder / name).is_file():
            yield name, read_regular(folder / name, _LARGEST)


def _part_folders(files: dict[str, bytes]) -> tuple[str, ...]:
    """The folders that ``modules.json`` names, but the model's own."""
    with suppress(ValueError, TypeError, KeyError):
        parts = [module["path"] for module in parse_json(files[_MODULES])]
        return tuple(p for p in parts if p and re.fullmatch(r"[\w-]+", p))
    return ()


def _of_url(folder: str) -> Beside:
    storage, files = open_storage(folder), {}

    def take(key: str) -> None:
        with suppress(ObjectNotFoundError):
            data = storage.get(key, _LARGEST)
            if len(data) > _LARGEST:
                raise CheckpointError(f"{folder}/{key} has more than {_LARGEST} bytes")
            files[key] = data

    for usual in _USUAL:
        take(usual)
    folders = _part_folders(files)
    for part in folders:
        take(f"{part}/{CONFIG_FILE}")
        take(f"{part}/model.safetensors")
    return _made(files, folders, folder, _name_of(folder))


def _of_module(module: object) -> Beside:
    """What a module of transformers or diffusers says of itself."""
    files = {}
    for name, owner in (
        (CONFIG_FILE, module),  # diffusers
        (CONFIG_FILE, getattr(module, "config", None)),  # transformers
        (_GENERATION, getattr(module, "generation_config", None)),
    ):
        write = getattr(owner, "to_json_string", None)
        if callable(write):
            with suppress(Exception):  # it is not ours, and may lack what it needs
                files[name] = str(write()).encode()
    if not files:
        return Beside()
    name = str(getattr(getattr(module, "config", None), "_name_or_path", "") or "")
    found = _made(files, (), "the module", name if _REPOSITORY.fullmatch(name) else "")
    kinds = [kind.__name__ for kind in type(module).__mro__]
    if found.config is not None and "PreTrainedModel" in kinds:  # what it says when it is saved
        found.config["architectures"] = [kinds[0].removeprefix("FSDP")]
    return found


def _made(files: dict[str, bytes], folders: tuple[str, ...], where: str, name: str) -> Beside:
    config = None
    if (text := files.pop(CONFIG_FILE, None)) is not None:
        try:
            config = parse_json(text)
        except ValueError as error:
            raise CheckpointError(
                f"{where}: {CONFIG_FILE} is no JSON ({error}); correct it"
            ) from error
        if not isinstance(config, dict):
            raise CheckpointError(f"{where}: {CONFIG_FILE} holds no JSON object; correct it")
        if is_deep(config):
            raise CheckpointError(f"{where}: {CONFIG_FILE} is nested too deeply; correct it")
    return Beside(files, folders, config, name)


def _name_of(folder: Path | str) -> str:
    """The hub's name of a model where the place tells it, else that of its folder."""
    text = folder.absolute().as_posix() if isinstance(folder, Path) else folder
    return hub_name(text) or PurePosixPath(text).name


def hub_name(place: str) -> str:
    """The hub's name of a model, where its place tells it: a URL, or the cache of its libraries."""
    if found := _HUB.match(place):
        return found[1]
    cached = list(_CACHED.finditer(f"{place}/"))
    return "/".join(filter(None, cached[-1].groups())) if cached else ""


def as_text(value: object) -> bytes:
    """JSON as transformers writes it."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
