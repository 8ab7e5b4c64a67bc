"""Into the bank, and out of it again from disk, with nothing but tvbank's public interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import tvbank
from tvbank.demo.folder import DemoFolder
from tvbank.demo.progress import Stages
from tvbank.demo.tasks import TASKS

#: The task that is stored a second time, exactly.
EXACT_OF = TASKS[-1].name
EXACT = f"{EXACT_OF}-exact"

#: Tasks of the bank, in the order of the table.
BANKED = (*(task.name for task in TASKS), EXACT)


@final
@dataclass(frozen=True)
class ReadBack:
    """What the bank on disk gave.

    Attributes:
        stored_bytes: task -> size of all its objects.
        bits_per_parameter: task -> stored bits over parameters, head included.
        faults: what ``verify`` found, in sentences.
        errors: task -> why it could not be read.
    """

    stored_bytes: dict[str, int]
    bits_per_parameter: dict[str, float]
    faults: list[str]
    errors: dict[str, str]


def checkpoint_of(banked: str) -> str:
    """The fine-tune that a task of the bank was made from."""
    return EXACT_OF if banked == EXACT else banked


def build_bank(folder: DemoFolder, compressor: tvbank.TSwitch, stages: Stages) -> None:
    """Make the bank: every fine-tune compressed, and one of them also exactly."""
    questions = {task.name: task.question for task in TASKS}
    with stages.parts("building the bank", len(BANKED)) as part:
        bank = tvbank.create(folder.bank, base=folder.base)
        for number, name in enumerate(BANKED):
            source = checkpoint_of(name)
            bank.add(
                name,
                folder.checkpoint(source),
                compressor=tvbank.Exact() if name == EXACT else compressor,
                metadata={"question": questions[source]},
                progress=part(number),
            )


def read_back(folder: DemoFolder, stages: Stages) -> ReadBack:
    """Open the bank, check every byte, and export every task as a checkpoint.

    A task that cannot be read is an entry in ``errors``, not an exception: the demo then says so
    and fails.
    """
    result = ReadBack({}, {}, [], {})
    with stages.parts("verifying every byte", 1) as part:
        bank = tvbank.open(folder.bank)
        result.faults.extend(fault.message for fault in bank.verify(progress=part(0)))
    with stages.parts("reading back from disk", len(BANKED)) as part:
        for number, name in enumerate(BANKED):
            try:
                task = bank[name]
                result.stored_bytes[name] = task.stored_bytes
                result.bits_per_parameter[name] = task.bits_per_parameter
                tvbank.export(
                    bank, name, base=folder.base, out=folder.export(name), progress=part(number)
                )
            except tvbank.TvbankError as error:
                result.errors[name] = str(error)
    return result
