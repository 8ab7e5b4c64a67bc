"""``diff``: what leads from one checkpoint to another, exactly, as one bank in one file."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tvbank._progress import Counter, Listener, listener
from tvbank.bank.adding import Addition, add_task
from tvbank.bank.ahead import all_cores
from tvbank.bank.bank import Bank, create
from tvbank.bank.contents import Contents
from tvbank.bank.packing import pack
from tvbank.bank.snapshot import read_root
from tvbank.checkpoint import (
    Checkpoint,
    CheckpointSource,
    TensorSpec,
    borrow_checkpoint,
    refuse_replacing,
)
from tvbank.compress import Exact
from tvbank.errors import BankExistsError, UsageError
from tvbank.naming import Names
from tvbank.storage import local_file
from tvbank.updates._proof import Proof
from tvbank.updates._stages import first_stage
from tvbank.vector import BaseModel, FineTune

#: The task of an update, and the one that it starts from if there are two.
TASK, FIRST_STAGE = "update", "first-stage"

#: Where the metadata of that task have the digest of the state that it leads to.
STATE = "new_state"


@dataclass(frozen=True)
class DiffReport:
    """What ``diff`` wrote.

    Attributes:
        path: of the update.
        bytes: of the update.
        old_bytes: of the units of the old checkpoint, in its own element types.
        nonzeros: entries that differ.
        whole: names of the tensors that are in it whole: new, resized, or of another element type.
        new_state: digest of the new checkpoint's tensors, which ``patch`` proves.
    """

    path: str
    bytes: int
    old_bytes: int
    nonzeros: int
    whole: tuple[str, ...]
    new_state: str


def diff(
    old: CheckpointSource,
    new: CheckpointSource,
    *,
    out: str | os.PathLike[str],
    names: Names | None = None,
    replace: bool = False,
    progress: Listener = None,
) -> DiffReport:
    """Write what leads from one checkpoint to another: an update, for ``tvbank.patch``.

    It is an ordinary bank in one zip file, with one exact task named ``update``; the old
    checkpoint is its base, of which it has digests only. Where many rows of a float32 matrix move
    by few steps and others by many, as after weight decay alone, the former are a task
    ``first-stage``, from which ``update`` starts: that takes fewer bytes.

    Every bit of the new one comes back: NaN payloads, the signs of zeros. Tensors that only the new
    checkpoint has, resized ones, and those of another element type are in it whole.

    Args:
        old: the checkpoint that the update is to be applied to; see ``open_checkpoint``.
        new: the checkpoint that they are to have; it has all tensors of the old one.
        out: the file to write, whose name ends in ``.zip``.
        names: the new checkpoint's name for each of the old one's, if no way is found: a mapping,
            or a function. What the update leads to has the old ones.
        replace: whether to replace a file that exists.
        progress: a ``Progress``, or a function that is called with bytes done and in all.

    Raises:
        UsageError: ``out`` does not end in ``.zip``, or is one of the checkpoints' files.
        BankExistsError: there is something already, and ``replace`` is false.
        CheckpointError: a checkpoint cannot be read.
        UnitMismatchError: the new checkpoint lacks tensors of the old one; names them.
        StorageError: the disk refused; a file that was there stays as it was.
    """
    path = local_file(out)
    if path.suffix.lower() != ".zip":
        raise UsageError(f"{path}: an update is one zip file: give a name that ends in .zip")
    if path.is_dir() or (path.exists() and not replace):
        raise BankExistsError(f"{path} exists: choose another name, or replace it (--force)")
    for source, what in ((old, "old checkpoint"), (new, "new checkpoint")):
        refuse_replacing(path, source, what)
    shown = listener(progress)
    with (
        borrow_checkpoint(old) as before,
        borrow_checkpoint(new) as after,
        tempfile.TemporaryDirectory(prefix="tvbank-diff-") as folder,
    ):
        bank = create(Path(folder) / "bank", before, progress=shown)
        counter = Counter(shown, _bytes(after), stage="proving")
        model = BaseModel(bank.layout, before, trusted=True)
        fine_tune = FineTune(bank.layout, model, after, names=names)
        state, hashed = _new_state(fine_tune, counter)
        addition = Addition(
            TASK,
            Exact(),
            {STATE: state},
            replace_mismatched=True,
            names=names,
            parent=FIRST_STAGE if _add_first_stage(bank, fine_tune, model) else None,
            progress=shown,
            hashed=hashed,
        )
        contents = Contents(bank.storage, read_root(bank.storage)[0], bank.layout)
        add_task(contents, addition, after, lambda: before)
        bank.refresh()
        packed = pack(bank.storage, path, replace=replace)
        nonzeros = sum(task.nonzeros for task in bank.values())
        return DiffReport(
            packed.path, packed.bytes, bank.layout.unit_bytes, nonzeros, tuple(bank[TASK].extras),
            state,
        )  # fmt: skip


def _add_first_stage(bank: Bank, fine_tune: FineTune, model: BaseModel) -> bool:
    """Add the task that the update starts from, where that takes fewer bytes; whether it did."""
    stage = first_stage(fine_tune, model)
    if stage is None:
        return False
    known = {each.name: each.sha256 for each in bank.layout.records if each.name not in stage.rows}
    addition = Addition(FIRST_STAGE, Exact(), {}, hashed=known)
    contents = Contents(bank.storage, read_root(bank.storage)[0], bank.layout)
    add_task(contents, addition, stage, lambda: model.checkpoint)
    return True


def _bytes(checkpoint: Checkpoint) -> int:
    return sum(spec.nbytes for spec in checkpoint.tensors.values())


def _new_state(fine_tune: FineTune, counter: Counter) -> tuple[str, dict[str, str]]:
    """The digest of the new checkpoint, under the names that a patched one has.

    And SHA-256 of each of its tensors by name.
    """
    pairing = fine_tune.pairing
    records = [record.name for record in fine_tune.layout.records]
    with all_cores() as pool:
        proof = Proof(pool)
        for name in [*records, *pairing.untied(), *pairing.further()]:
            spec = fine_tune.spec(name)
            proof.add(TensorSpec(name, spec.dtype, spec.shape), fine_tune.read(name))
            counter.advance(spec.nbytes)
        return proof.digest(), proof.sha256
