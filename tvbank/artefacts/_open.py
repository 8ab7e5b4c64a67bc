"""Whatever stands for a fine-tune: a checkpoint as it is, an artefact over its base."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tvbank.artefacts._artefact import Artefact
from tvbank.artefacts._contents import Contents
from tvbank.artefacts._fine_tune import Tuned
from tvbank.artefacts._given import BASE, PLACES, Given
from tvbank.artefacts._remote import (
    FetchedCheckpoint,
    RemoteFiles,
    fetched,
    find_remote,
    open_remote,
)
from tvbank.artefacts.bitdelta import BitDelta
from tvbank.artefacts.gguf import open_gguf, over_gguf
from tvbank.artefacts.masks import Emr
from tvbank.artefacts.registry import FORMATS
from tvbank.artefacts.research import ResearchDict
from tvbank.checkpoint import (
    Checkpoint,
    CheckpointSource,
    borrow_checkpoint,
    file_facts,
    identify_checkpoint,
    open_checkpoint,
    place_of,
    state_dict_in,
)
from tvbank.errors import CheckpointError, UsageError


def find_artefact(source: CheckpointSource) -> Artefact | None:
    """The artefact that a path or a dict in memory is; None if it is none of a known format.

    Raises:
        CheckpointError: there is nothing, or it is an artefact and damaged.
    """
    if isinstance(source, Mapping):
        words = "the dict"
        return BitDelta.of(source, words, []) or Emr.of(source, words, [])
    path = _path_of(source)
    return None if path is None else _recognised(Contents(path))


def open_fine_tune(
    source: CheckpointSource, base: Checkpoint, given: Mapping[str, Any] | None = None
) -> Checkpoint:
    """Open a checkpoint, or what an artefact makes of a base.

    Args:
        source: what ``open_checkpoint`` takes, or the path or URL of an artefact; under a URL its
            files are fetched into a temporary folder, which goes when the checkpoint is closed.
        base: the weights that an artefact changes; stays open.
        given: what an artefact's files lack, by name.

    Returns:
        A checkpoint that the caller closes.

    Raises:
        CheckpointError, UnitMismatchError, BaseMismatchError: it cannot be read, or does not fit.
        UsageError: something must be given that is not, or is given in vain.
    """
    given = given or {}
    url = _url_of(source)
    remote = None if url is None else open_remote(url)
    if isinstance(remote, RemoteFiles):
        with fetched(remote) as (copied, folder):
            return FetchedCheckpoint(remote.url, open_fine_tune(copied, base, given), folder)
    contents = None
    if isinstance(source, Mapping):
        found = find_artefact(source)
    else:
        path = _path_of(source)
        contents = None if path is None else Contents(path)
        found = None if contents is None else _recognised(contents)
    if found is None:
        if given:
            if remote is not None:
                remote.close()
            raise UsageError(
                f"{_named(source)} is a checkpoint and no artefact: nothing need be given beside "
                f"it (got {', '.join(given)})"
            )
        if contents is None:
            return over_gguf(open_checkpoint(source) if remote is None else remote, base)
        if contents.kind == "gguf":
            return open_gguf(contents.path, base)
        return over_gguf(_as_checkpoint(contents, source), base)
    values = Given(found.source, found.title, found.takes, given)
    with ExitStack() as opened:
        before = _before(values, base, opened)
        return Tuned(found.source, before, found.changes(before, values), opened.pop_all())


@contextmanager
def borrow_base(source: CheckpointSource) -> Iterator[Checkpoint]:
    """Open a base's weights for the length of a ``with`` block; a ``Checkpoint`` given stays open.

    Raises:
        CheckpointError: it cannot be read, or is an artefact, which changes weights and has none.
    """
    url = _url_of(source)
    remote = None if url is None else open_remote(url)
    if isinstance(remote, RemoteFiles) and remote.is_change:
        raise CheckpointError(
            f"{remote.url} is an artefact, which changes a base and is none: give the base's "
            "weights, and add this to its bank"
        )
    if isinstance(remote, Checkpoint):
        with remote:
            yield remote
        return
    _refuse_as_base(source)
    with borrow_checkpoint(source) as checkpoint:
        yield checkpoint


def _refuse_as_base(source: CheckpointSource) -> None:
    found = None if isinstance(source, Checkpoint) else find_artefact(source)
    if found is not None and not isinstance(found, ResearchDict):
        if found.refusal:  # a quantised model, for one: not even a change
            raise CheckpointError(found.refusal)
        raise CheckpointError(
            f"{found.source} is {found.title}, which changes a base and is none: give the base's "
            "weights, and add this to its bank"
        )


@contextmanager
def borrow_fine_tune(
    source: CheckpointSource, base: Checkpoint, given: Mapping[str, Any] | None = None
) -> Iterator[Checkpoint]:
    """``open_fine_tune`` for the length of a ``with`` block; a ``Checkpoint`` given stays open."""
    checkpoint = open_fine_tune(source, base, given)
    try:
        yield checkpoint
    finally:
        if checkpoint is not source:
            checkpoint.close()


def identify_fine_tune(source: str, given: Mapping[str, Any] | None = None) -> str:
    """A digest that changes whenever its files, or those given beside it, are written anew.

    Args:
        source: path or URL. Of the URL of a safetensors file, that file counts, whatever it is:
            nothing of it is read.
        given: see ``open_fine_tune``.

    Raises:
        CheckpointError, StorageError: as ``identify_checkpoint``.
    """
    facts: list[object]
    url = _url_of(source)
    if url is not None and url.lower().endswith(".safetensors"):
        if not given:
            return identify_checkpoint(source)
        facts = [identify_checkpoint(source)]
    elif url is not None and (remote := find_remote(url)) is not None:
        facts = [remote.identity()]
    elif (found := find_artefact(source)) is not None:
        facts = [file_facts(found.files)]
    else:
        return identify_checkpoint(source)
    for name, value in sorted((given or {}).items()):
        facts.append((name, repr(value)))
        if name in PLACES:
            places = [place for place in _several(value) if place != BASE]
            facts += [_facts_of(place) for place in places]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _facts_of(place: Any) -> object:
    if isinstance(place, str | os.PathLike) and Path(place).is_file():
        return file_facts([Path(place)])
    return identify_fine_tune(os.fspath(place)) if isinstance(place, str | os.PathLike) else ""


def _recognised(contents: Contents) -> Artefact | None:
    for recognise in FORMATS:
        if (found := recognise(contents)) is not None:
            return found
    if contents.kind != "folder":
        return None
    return _recognised(contents.inner)


def _as_checkpoint(contents: Contents, source: CheckpointSource) -> Checkpoint:
    """Open what has been looked at, without reading it a second time."""
    inner = contents.inner
    if "checkpoint" in vars(inner):
        return inner.checkpoint
    if vars(inner).get("loaded") is not None and inner.path.suffix.lower() != ".json":
        return state_dict_in(inner.path, inner.loaded)
    return open_checkpoint(source)


def _before(given: Given, base: Checkpoint, opened: ExitStack) -> Checkpoint:
    """The version that an artefact was made from: the base, or what ``before`` makes of it."""
    for place in _several(given.get("before")):
        if place == BASE:
            continue
        base = opened.enter_context(
            borrow_fine_tune(place, base, {"before": BASE} if _takes_before(place) else None)
        )
    return base


def _takes_before(place: CheckpointSource) -> bool:
    if (url := _url_of(place)) is not None:
        remote = find_remote(url)
        return remote is not None and remote.takes_before
    found = find_artefact(place)
    return found is not None and "before" in found.takes


def _several(value: Any) -> Sequence[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _url_of(source: CheckpointSource) -> str | None:
    """The URL that a source is, if it is one."""
    if not isinstance(source, str | os.PathLike):
        return None
    place = place_of(source)
    return place if isinstance(place, str) else None


def _path_of(source: CheckpointSource) -> Path | None:
    """The path on this machine that a source names, if it does and something is there."""
    if not isinstance(source, str | os.PathLike):
        return None
    path = place_of(source)
    if isinstance(path, str):
        return None
    try:
        path.stat()
    except (OSError, ValueError):
        return None  # opening it as a checkpoint says why
    return path


def _named(source: CheckpointSource) -> str:
    return repr(os.fspath(source)) if isinstance(source, str | os.PathLike) else "what was given"
