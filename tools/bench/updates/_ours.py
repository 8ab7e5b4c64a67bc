"""tvbank's own ways."""

from __future__ import annotations

import shutil

import tvbank
from tools.bench.updates._way import Way


class Update(Way):
    """``tvbank.diff`` and ``tvbank.patch``: given the base; both states are proved."""

    label = "tvbank diff, patch"

    def encode(self) -> int:
        """See ``Way``."""
        path = self.update.with_suffix(".zip")
        return tvbank.diff(self.old, self.new, out=path, replace=True).bytes

    def restore(self) -> None:
        """See ``Way``."""
        update = self.update.with_suffix(".zip")
        tvbank.patch(self.old, update, out=self.out, replace=True)


class Alone(Way):
    """A task of frames that stand alone, in a bank, and ``tvbank.export``."""

    label = "tvbank, frames that stand alone"

    def encode(self) -> int:
        """See ``Way``."""
        shutil.rmtree(self.update, ignore_errors=True)
        bank = tvbank.create(self.update, self.old)
        return bank.add("new", self.new, tvbank.Exact(standalone=True)).stored_bytes

    def restore(self) -> None:
        """See ``Way``."""
        tvbank.export(self.update, "new", base=self.old, out=self.out)
