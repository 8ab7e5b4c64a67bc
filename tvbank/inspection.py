"""What a file or folder is, for whom it was made, and how it comes into a bank: ``inspect``."""

from __future__ import annotations

import os
import shlex
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

from tvbank._files import read_regular
from tvbank.adapters import open_adapter
from tvbank.artefacts import Artefact, Contents, Stored, fetched, find_artefact, find_remote
from tvbank.checkpoint import Checkpoint, GgufFile, open_checkpoint, place_of, unreadable
from tvbank.errors import CheckpointError

#: Bytes of a text that are looked at for a recipe's members.
_TEXT_BYTES = 2**20


@final
@dataclass(frozen=True)
class Inspection:
    """What a file or folder is.

    Attributes:
        path: of it.
        kind: in one word: ``checkpoint``, ``bank``, ``recipe``, ``unknown``, or an artefact's.
        title: in a few words.
        nbytes: of the tensors as they are stored.
        tensors: name, element type, shape, bytes and role of each.
        facts: what it says of itself: its base, its method, its version.
        needs: what must be given to add it, by name, and what that is.
        how: the commands that use it; empty if nothing does.
        remark: what else to know: why it is refused, mostly.
    """

    path: str
    kind: str
    title: str
    nbytes: int = 0
    tensors: Sequence[Stored] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    how: Sequence[str] = ()
    remark: str = ""

    @property
    def dtypes(self) -> dict[str, int]:
        """Number of tensors by element type."""
        return dict(Counter(tensor.dtype for tensor in self.tensors))


def inspect(path: str | os.PathLike[str]) -> Inspection:
    """Say what a file or folder is, by what is in it; no weights are read.

    Examples:
        >>> tvbank.inspect("cats.safetensors").kind
        'checkpoint'

    Args:
        path: on this machine, or a URL; of an artefact there all files are fetched for it.

    Raises:
        CheckpointError: nothing is there, or it is of a known format and damaged.
        StorageError: the store of a URL refused.
    """
    place = place_of(path)
    if isinstance(place, str):
        return _elsewhere(place)
    contents = Contents(place)
    text = os.fspath(path)
    if contents.kind == "gguf":
        return _gguf(text, GgufFile(place))
    is_zarr = contents.kind == "folder" and "zarr.json" in contents.names
    if (is_zarr or contents.kind == "zip") and (bank := _bank(place)) is not None:
        return bank
    if (adapter := _adapter(text)) is not None:
        return adapter
    if (recipe := _recipe(text, contents)) is not None:
        return recipe
    if contents.kind != "folder" and (found := find_artefact(place)) is not None:
        return _artefact(text, found)
    try:
        if contents.kind == "folder" and (found := find_artefact(place)) is not None:
            return _artefact(text, found)
        with open_checkpoint(place) as checkpoint:
            return _checkpoint(text, contents, checkpoint)
    except CheckpointError as error:
        if contents.kind in ("folder", "unknown", "json", "numpy", "zip"):
            return Inspection(text, "unknown", "nothing that tvbank knows", remark=str(error))
        raise


def _elsewhere(url: str) -> Inspection:
    """What a URL leads to."""
    if (bank := _bank(url)) is not None:
        return bank
    if (adapter := _adapter(url)) is not None:
        return adapter
    if (remote := find_remote(url)) is None:
        with open_checkpoint(url) as checkpoint:
            return _checkpoint(url, None, checkpoint)
    with fetched(remote) as (path, folder):
        found = inspect(path)
        shutil.rmtree(folder, ignore_errors=True)
    how = [command.replace(str(path), remote.url) for command in found.how]
    remark = found.remark.replace(str(path), remote.url)
    return replace(found, path=url, how=how, remark=remark)


def _adapter(path: str) -> Inspection | None:
    """An adapter in PEFT's layout, or in the file of diffusers or kohya."""
    try:
        adapter = open_adapter(path)
    except CheckpointError as error:
        return Inspection(path, "adapter", "an adapter", remark=str(error))
    if adapter is None:
        return None
    with adapter:
        names = [*adapter.whole.values(), *adapter.shared.values()]
        names += [tensor for parts in adapter.modules.values() for tensor in parts.values()]
        specs = [adapter.spec(name) for name in names]
        whole = set(adapter.whole.values())
        tensors = [
            Stored(s.name, s.dtype, s.shape, s.nbytes, "replacement" if n in whole else "delta")
            for n, s in zip(names, specs, strict=True)
        ]
        config = adapter.config
        method = config.kind if adapter.style == "peft" else f"LoRA ({adapter.style})"
        said = {"base": config.base} if config.base else {}
        facts = {"method": method, **said, "modules": len(adapter.modules)}
        how = [f"tvbank add BANK NAME {shlex.quote(path)}"]
        return Inspection(path, "adapter", "an adapter", adapter.nbytes, tensors, facts, how=how)


def _artefact(path: str, found: Artefact) -> Inspection:
    tensors = found.stored()
    facts = {name: fact for name, fact in found.notes().items() if name != "refused"}
    needs = found.needs()
    folder = found.kind == "adapter" and os.path.isdir(path)
    refused = "refused" in found.notes() or (found.kind == "adapter" and not folder)
    flags = "".join(f" --given {name}=…" for name in needs)
    how = [] if refused else [f"tvbank add BANK NAME {shlex.quote(path)}{flags}"]
    remark = str(found.notes().get("refused", ""))
    if found.kind == "adapter" and not folder:
        remark = "merge it into its base first (merge_and_unload()), and add the full model"
    return Inspection(
        path, found.kind, found.title, sum(tensor.nbytes for tensor in tensors), tensors, facts,
        needs, how, remark,
    )  # fmt: skip


def _checkpoint(path: str, contents: Contents | None, checkpoint: Checkpoint) -> Inspection:
    specs = checkpoint.tensors.values()
    tensors = [Stored(s.name, s.dtype, s.shape, s.nbytes, "other") for s in specs]
    facts: dict[str, Any] = {"parameters": sum(spec.size for spec in specs)}
    if checkpoint.tied:
        facts["tied"] = dict(checkpoint.tied)
    config = None if contents is None else contents.json("config.json")
    if isinstance(config, dict):
        facts |= {k: config[k] for k in ("model_type", "architectures") if k in config}
    sharded = checkpoint.source.lower().endswith(".index.json")
    title = f"a {'sharded ' if sharded else ''}checkpoint" + (
        " in a folder" if contents is not None and contents.kind == "folder" else ""
    )
    quoted = shlex.quote(path)
    how = [f"tvbank init BANK --base {quoted}", f"tvbank add BANK NAME {quoted}"]
    total = sum(tensor.nbytes for tensor in tensors)
    return Inspection(path, "checkpoint", title, total, tensors, facts, how=how)


def _gguf(path: str, file: GgufFile) -> Inspection:
    """A GGUF file: a model, quantised or not, or an adapter."""
    tensors = [
        Stored(t.name, t.dtype, t.shape, 0 if t.spec is None else t.spec.nbytes, "other")
        for t in file.tensors
    ]
    named = ("general.architecture", "general.name", "general.type", "adapter.type")
    facts = {name: file.metadata[name] for name in named if name in file.metadata}
    total = sum(tensor.nbytes for tensor in tensors)
    if file.metadata.get("general.type") == "adapter":
        found = _adapter(path)  # a few facts of the header come beside what is known of any
        remark = "" if found is None else found.remark
        how = () if found is None else found.how
        return Inspection(
            path, "adapter", "an adapter in GGUF", total, tensors, facts, how=how, remark=remark
        )
    quantised = sorted({t.dtype for t in file.tensors if t.spec is None})
    if quantised:
        remark = f"it is quantised ({', '.join(quantised)}): give the model in f32, f16 or bf16"
        return Inspection(path, "gguf", "a quantised GGUF file", 0, tensors, facts, remark=remark)
    quoted = shlex.quote(path)
    how = [f"tvbank init BANK --base {quoted}", f"tvbank add BANK NAME {quoted}"]
    return Inspection(path, "gguf", "a GGUF file", total, tensors, facts, how=how)


def _bank(path: Path | str) -> Inspection | None:
    """A bank, in a folder, in one zip file or in a store."""
    from tvbank.bank.bank import open as open_bank
    from tvbank.errors import BankNotFoundError, StorageError

    try:
        bank = open_bank(path)
    except (BankNotFoundError, StorageError):
        return None
    facts = {
        "generation": bank.generation,
        "tasks": list(bank),
        "routers": list(bank.routers),
        "units": len(bank.layout.units),
        "parameters": bank.layout.parameters,
    }
    quoted = shlex.quote(os.fspath(path))
    how = [f"tvbank ls {quoted}", f"tvbank export {quoted} TASK -o FILE"]
    total = sum(bank[name].stored_bytes for name in bank)
    return Inspection(os.fspath(path), "bank", "a bank", total, facts=facts, how=how)


def _recipe(path: str, contents: Contents) -> Inspection | None:
    """A recipe of mergekit's: a YAML text with a method and models."""
    if contents.kind != "unknown" or not path.lower().endswith((".yaml", ".yml")):
        return None
    try:
        text = read_regular(path, _TEXT_BYTES).decode("utf-8")
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError:
        return None
    members = {line.split(":")[0] for line in text.splitlines() if line[:1].isalpha()}
    if "merge_method" not in members or not members & {"models", "slices", "modules"}:
        return None
    how = [f"tvbank merge BANK {shlex.quote(path)} -o FILE"]
    return Inspection(path, "recipe", "a recipe of mergekit", how=how)
