"""Where weights are written to: one safetensors file, or a model folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, final

from numpy.typing import NDArray

from tvbank._progress import Counter, Listener, listener
from tvbank.bank.ahead import run_ahead
from tvbank.bank.bank import Bank
from tvbank.bank.outputs import refuse_within
from tvbank.checkpoint import (
    CheckpointSource,
    TensorSpec,
    aligned_order,
    refuse_replacing,
    write_safetensors,
)
from tvbank.errors import UsageError
from tvbank.folders import ModelFolder, Origin, folder_named
from tvbank.merging._assemble import Finish


@final
class Output:
    """A place that was found fit to be written to, before any work.

    Attributes:
        path: of the file or folder.
    """

    def __init__(
        self,
        bank: Bank,
        base: CheckpointSource,
        out: str | os.PathLike[str],
        *,
        files: str | os.PathLike[str] | None,
        max_shard_size: int | str,
        overwrite: bool,
        base_model: str | None,
    ) -> None:
        """Find out what the place is.

        Args:
            bank: from which the weights come.
            base: the base's weights.
            out: a file; or a folder, if it ends with a slash or is one.
            files: of folders: see ``ModelFolder``.
            max_shard_size: likewise.
            overwrite: likewise.
            base_model: likewise.

        Raises:
            UsageError: it is a part of the base or of the bank, or a folder that has files.
        """
        folder = folder_named(out)
        self._base, self._layout = base, bank.layout
        self._folder: ModelFolder | None = None
        if folder is None:
            self.path = Path(out)
            if files is not None:
                raise UsageError(
                    f"{self.path} is to be a file, and files= (--files) is of folders: end the "
                    "output with a slash"
                )
            refuse_within(bank.storage, self.path)
            refuse_replacing(self.path, base)
            return
        self.path = folder
        self._folder = ModelFolder(folder, files, max_shard_size, overwrite, base_model)
        refuse_within(bank.storage, folder)
        self._folder.check(base)

    def write(
        self,
        origin: Origin,
        specs: Sequence[TensorSpec],
        start: Callable[[str], Finish],
        progress: Listener,
        kept: Collection[str] = (),
        size: Callable[[TensorSpec], int] = lambda spec: spec.nbytes,
    ) -> Path:
        """Write units, reporting bytes done and bytes in all; the path of the file or folder.

        Args:
            origin: how they came to be.
            specs: what they are, tied ones under each of their names.
            start: begins the work on the unit of that name; later ones begin before it is done.
            progress: see ``export``.
            kept: names of those that a task keeps whole.
            size: bytes that a unit takes while it is made.

        Raises:
            StorageError: the place cannot be written to.
        """
        if self._folder is None:
            ordered = aligned_order(specs)
            metadata = {"format": "pt"} | ({"recipe": origin.recipe} if origin.recipe else {})
            units = _units(ordered, start, size, progress)
            write_safetensors(self.path, ordered, units, metadata)
        else:
            prepared = self._folder.prepare(self._base, origin, self._layout, specs, kept)
            prepared.write(_units(prepared.shards.order, start, size, progress))
        return self.path


def _units(
    ordered: Sequence[TensorSpec],
    start: Callable[[str], Finish],
    size: Callable[[TensorSpec], int],
    progress: Listener,
) -> Iterable[NDArray[Any]]:
    counter = Counter(listener(progress), sum(spec.nbytes for spec in ordered))

    def counted(unit: NDArray[Any]) -> NDArray[Any]:
        counter.advance(unit.nbytes)
        return unit

    return map(counted, run_ahead(ordered, lambda s: start(s.name), size))
