"""Writing a bank into a repository of the hub: one commit, after which it has the bank and no more.

Objects that are there already are left out: their names hold the digest of their revision. Nothing
is written before every object was read and found sound.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tvbank._atomic import replace_file
from tvbank._progress import Counter, Listener, Progress, listener
from tvbank.bank.contents import Contents, contents_of
from tvbank.bank.documents import (
    LAYOUT,
    MAX_DOCUMENT_BYTES,
    ROOT,
    ObjectRecord,
    decode_root,
    encode_root,
)
from tvbank.bank.making import read_location
from tvbank.bank.zarr_documents import MARKER, markers
from tvbank.errors import BaseMismatchError, FormatError, TvbankError, UsageError, name_some
from tvbank.folders import hub_name
from tvbank.hub._api import HubApi
from tvbank.hub._card import card
from tvbank.storage import LocalStorage, Location, Repository, open_storage, parse_hub_url

CARD = "README.md"

#: Folders of a bank's objects; in the repository nothing else lies in them.
_FOLDERS = ("tasks", "routers", "base")

#: Bytes of a card that is read to be changed.
_LARGEST_CARD = 2**20

#: Bytes of an object that waits in memory.
_SMALL = 2**16


@dataclass(frozen=True)
class PushReport:
    """What was pushed.

    Attributes:
        place: the bank's URL on the hub.
        commit: the commit that has it; give ``hf://org/repo@COMMIT`` to read just that.
        page: URL of the commit's page.
        tasks: names of the bank's tasks.
        removed: names of tasks that the repository had and has no more.
        objects: number of objects written.
        bytes: their bytes.
        present: number of objects that were there already.
        card: whether the card was written.
    """

    place: str
    commit: str
    page: str
    tasks: tuple[str, ...]
    removed: tuple[str, ...]
    objects: int
    bytes: int
    present: int
    card: bool


def push(
    bank: Location,
    repository: str,
    *,
    revision: str | None = None,
    private: bool | None = None,
    base_model: str | None = None,
    message: str | None = None,
    force: bool = False,
    progress: Listener = None,
) -> PushReport:
    """Write a bank into a repository of the Hugging Face hub, as one commit.

    Args:
        bank: the bank's place.
        repository: ``org/repo``, or a folder in it: ``org/repo/folder``; ``hf://`` may stand before
            it. It is made if it is not there.
        revision: a branch; made if it is not there. By default ``main``.
        private: whether a new repository is private; by default as its owner's are.
        base_model: the base's name on the hub, for the card; by default what the base's place
            tells, if it is the cache of the hub's libraries.
        message: of the commit.
        force: whether tasks may vanish that only the repository has, and a bank of another base.
        progress: a ``Progress``, or a function that is called with bytes read and in all.

    Raises:
        UsageError: the repository is none; or it has tasks that the bank lacks.
        BankNotFoundError, CorruptionError: the bank; nothing damaged is pushed.
        BaseMismatchError: the repository has a bank of another base.
        ConflictError: others pushed meanwhile; nothing was written.
        StorageError: the hub or the store refused, or ``huggingface_hub`` is missing.
    """
    target = _target(repository, revision)
    api = HubApi(target)
    contents = contents_of(open_storage(bank))
    head = api.head()
    there = {} if head is None else api.files(head)
    removed = _refuse_loss(contents, api, target, head, there, force=force)
    with tempfile.TemporaryDirectory(prefix="tvbank-push-") as folder:
        parcel = _parcel(contents, target, there, Path(folder), listener(progress))
        if head is None:
            head = api.make(private)
            there = api.files(head)  # a new branch begins with what the main one has
            removed = _refuse_loss(contents, api, target, head, there, force=force)
        name = _base_of(contents) if base_model is None else base_model
        text = card(contents, target.url, name, _present_card(api, target, head, there))
        if text is not None:
            parcel.add[_in(target, CARD)] = text.encode(errors="replace")
        known = parcel.wanted | {_in(target, CARD)}
        stale = [path for path in there if _is_of_bank(target, path) and path not in known]
        commit, page = api.commit(
            parcel.add, stale, message or f"A bank of {len(contents.catalog.tasks)} tasks", head
        )
    return PushReport(
        place=target.url, commit=commit, page=page, tasks=tuple(sorted(contents.catalog.tasks)),
        removed=removed, objects=parcel.objects, bytes=parcel.size, present=parcel.present,
        card=text is not None,
    )  # fmt: skip


def _target(repository: str, revision: str | None) -> Repository:
    place = repository if repository.lower().startswith("hf://") else f"hf://{repository}"
    target = parse_hub_url(place.rstrip("/"))
    if revision is not None:
        target = replace(target, revision=revision)
    if re.fullmatch(r"[0-9a-f]{40}", target.revision):
        raise UsageError(f"{target.revision} is a commit: give a branch to push to")
    return target


def _in(target: Repository, key: str) -> str:
    """The path of an object in the repository."""
    return f"{target.path}/{key}" if target.path else key


def _is_of_bank(target: Repository, path: str) -> bool:
    """Whether a path of the repository is one that an object of the bank may have."""
    return path.startswith(tuple(_in(target, f"{folder}/") for folder in _FOLDERS))


@dataclass
class _Parcel:
    """What is to be written.

    Attributes:
        add: path in the repository -> path of a file, or content.
        wanted: all paths that the bank's objects have there.
        objects: number of objects to write.
        size: their bytes.
        present: number of objects that are there already.
    """

    add: dict[str, str | bytes] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)
    objects: int = 0
    size: int = 0
    present: int = 0

    def put(self, path: str, content: str | bytes, size: int) -> None:
        self.add[path] = content
        self.wanted.add(path)
        self.objects += 1
        self.size += size


def _parcel(
    contents: Contents,
    target: Repository,
    there: Mapping[str, int],
    folder: Path,
    progress: Progress,
) -> _Parcel:
    """Read every object that is not there, and check it; large ones of no folder are put aside."""
    parcel = _Parcel()
    storage, catalog = contents.storage, contents.catalog
    counter = Counter(progress, sum(entry.stored_bytes for entry in catalog.tasks.values()))
    for task, key, record in _objects(contents):
        path = _in(target, key)
        if there.get(path) == record.size:
            parcel.wanted.add(path)
            parcel.present += 1
        else:
            data = contents.read(key, record, task)
            content: str | bytes = data
            if isinstance(storage, LocalStorage):
                content = str(storage.local_path(key))
            elif len(data) > _SMALL:
                aside = folder / str(parcel.objects)
                replace_file(aside, data)
                content = str(aside)
            parcel.put(path, content, record.size)
        counter.advance(record.size)
    documents = dict.fromkeys(
        [*markers("tasks", catalog.tasks), *markers("routers", catalog.routers)], MARKER
    )
    documents[LAYOUT] = contents.read(LAYOUT, catalog.layout)
    documents[ROOT] = encode_root(catalog)
    for key, data in documents.items():
        parcel.put(_in(target, key), data, len(data))
    return parcel


def _objects(contents: Contents) -> Iterator[tuple[str | None, str, ObjectRecord]]:
    """Task (none of a router), key and record of every object of a revision."""
    for name in sorted(contents.catalog.tasks):
        for key, record in contents.objects(name).items():
            yield name, key, record
    for router in contents.routers(contents.catalog.tasks).values():
        for key, record in router.objects().items():
            yield None, key, record


def _refuse_loss(
    contents: Contents,
    api: HubApi,
    target: Repository,
    head: str | None,
    there: Mapping[str, int],
    *,
    force: bool,
) -> tuple[str, ...]:
    """Names of the tasks that the repository has and the bank lacks.

    Raises:
        UsageError: there are some, or what is there is no bank; unless ``force``.
        BaseMismatchError: it has a bank of another base; unless ``force``.
    """
    if head is None or _in(target, ROOT) not in there:
        return ()
    try:
        catalog = decode_root(api.read(head, _in(target, ROOT), MAX_DOCUMENT_BYTES))
    except FormatError as error:
        if force:
            return ()
        raise UsageError(
            f"{target.url} has a {ROOT} that is no sound bank ({error}): push to a folder, such as "
            f"{target.name}/bank, or replace it (--force)"
        ) from error
    lost = tuple(sorted(set(catalog.tasks) - set(contents.catalog.tasks)))
    if force:
        return lost
    if catalog.layout.sha256 != contents.layout.sha256:
        raise BaseMismatchError(
            f"{target.url} has a bank of another base: push to another repository or folder, or "
            "replace it (--force)"
        )
    if lost:
        raise UsageError(
            f"{target.url} has tasks that this bank lacks: {name_some(lost)}. Copy them here first "
            f"(tvbank cp {target.url} BANK), or let them go (--force)"
        )
    return lost


def _present_card(
    api: HubApi, target: Repository, head: str, there: Mapping[str, int]
) -> str | None:
    path = _in(target, CARD)
    if path not in there:
        return None
    return api.read(head, path, _LARGEST_CARD).decode(errors="replace")


def _base_of(contents: Contents) -> str:
    """The base's name on the hub, if the place that the bank notes tells it."""
    with suppress(TvbankError):
        return hub_name(read_location(contents.storage))
    return ""
