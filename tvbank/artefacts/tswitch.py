"""What the public code of T-Switch writes: one ``.bin`` a tensor, bits and nothing else.

``…_group_{g}/{dataset}/{dataset}_{tensor}_compressed.bin``: a mark a group of g entries (whether
any is kept), then for each marked group g bits (which are kept) and a bit for each that is (1 is
+), most significant first, zeros to the end of the byte. g is at most the tensor's size and divides
it.

The scale is not in these files, and neither is the shape. One ``scaling_factor_dict.pt`` that runs
on language models leave beside the data sets is that of the last data set, so it is never taken by
itself. W = base + scale * sign where an entry is kept, summed in float32; elsewhere the base's
bits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from tvbank._files import read_regular
from tvbank.artefacts._artefact import (
    Artefact,
    Change,
    Delta,
    Stored,
    add_in_float32,
    base_shape,
    check_size,
)
from tvbank.artefacts._contents import Contents
from tvbank.artefacts._given import Given
from tvbank.checkpoint import Checkpoint, load_torch_file, open_checkpoint, unreadable
from tvbank.errors import CheckpointError, UnitMismatchError

SUFFIX = "_compressed.bin"
_GROUP = re.compile(r"_group_(\d{1,6})\Z")


@final
class TSwitchFiles(Artefact):
    """A folder of bit files, one a tensor."""

    kind: ClassVar[str] = "tswitch"
    title: ClassVar[str] = "a folder of T-Switch's .bin files"
    takes: ClassVar[Mapping[str, str]] = {
        "scale": "the magnitude of what is kept, one number for all tensors",
        "scales": "the magnitudes by tensor: a dict, or the path of a scaling_factor_dict.pt that "
        "belongs to this data set",
        "fine_tune": "the fine-tune itself, from which the magnitudes are taken",
        "group_size": "entries of a group, if the folder above does not say it (…_group_4)",
    }

    def __init__(self, folder: Path, tensors: Mapping[str, Path]) -> None:
        self.source, self.files, self._tensors = str(folder), list(tensors.values()), tensors
        match = _GROUP.search(folder.absolute().parent.name)
        self._group = int(match[1]) if match else None

    @staticmethod
    def recognise(contents: Contents) -> TSwitchFiles | None:
        """A folder whose files all are such, with the folder's name before each tensor's."""
        names = [name for name in contents.names if name.endswith(".bin")]
        first = f"{contents.path.absolute().name}_"
        if not names or not all(n.startswith(first) and n.endswith(SUFFIX) for n in names):
            return None
        tensors = {name[len(first) : -len(SUFFIX)]: contents.path / name for name in names}
        return TSwitchFiles(contents.path, tensors)

    def stored(self) -> Sequence[Stored]:
        """See ``Artefact.stored``."""
        rows = []
        for name, path in self._tensors.items():
            size = path.stat().st_size
            rows.append(Stored(name, "bits", (8 * size,), size, "delta"))
        return rows

    def needs(self) -> Mapping[str, str]:
        """See ``Artefact.needs``."""
        group = {} if self._group else {"group_size": self.takes["group_size"]}
        return {"scale": "or scales, or fine_tune: " + self.takes["scale"], **group}

    def notes(self) -> Mapping[str, Any]:
        """See ``Artefact.notes``."""
        return {"group_size": self._group}

    def changes(self, base: Checkpoint, given: Given) -> Mapping[str, Change]:
        """See ``Artefact.changes``."""
        ways = [name for name in ("scale", "scales", "fine_tune") if given.get(name) is not None]
        if len(ways) != 1:
            why = f"and {' and '.join(ways)} are given" if ways else "and holds no magnitudes"
            raise given.lacking("scale", "scales", "fine_tune", why=why)
        group = given.whole("group_size") or self._group
        if not group:
            raise given.lacking("group_size", why="and its folder does not say the group size")
        tuned = open_checkpoint(given["fine_tune"]) if ways == ["fine_tune"] else None
        scales = {} if tuned is not None else self._scales(given)
        changes: dict[str, Change] = {}
        for name in self._tensors:
            shape = base_shape(self.source, base, name)
            if tuned is not None:
                check_size(tuned.source, name, "shape", base_shape(self.source, tuned, name), shape)
            changes[name] = Delta(partial(self._add, name, group, scales.get(name), tuned))
        return changes

    def _scales(self, given: Given) -> dict[str, np.float32]:
        number = given.number("scale")
        if number is not None:
            return dict.fromkeys(self._tensors, np.float32(number))
        content = given["scales"]
        if not isinstance(content, Mapping):
            content = load_torch_file(Path(content))
        if not isinstance(content, Mapping):
            raise CheckpointError(f"{given['scales']}: the scales must be a dict, tensor -> number")
        missing = [name for name in self._tensors if name not in content]
        if missing:
            raise UnitMismatchError(
                f"the scales given for {self.source} lack tensor {missing[0]!r} and "
                f"{len(missing) - 1} more; give those of this data set"
            )
        try:
            return {name: np.float32(float(content[name])) for name in self._tensors}
        except (TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"the scales given for {self.source} are no numbers ({error}); give those that "
                "its run saved"
            ) from error

    def _add(
        self,
        name: str,
        group: int,
        scale: np.float32 | None,
        tuned: Checkpoint | None,
        base: NDArray[Any],
    ) -> NDArray[Any]:
        entries = self._entries(name, base.shape, group)
        if tuned is not None:
            scale = _norm_ratio(base, tuned.read(name), entries)
        delta = entries.astype(np.float32) * np.float32(scale or 0)
        return np.where(entries != 0, add_in_float32(base, delta), base)

    def _entries(self, name: str, shape: tuple[int, ...], group: int) -> NDArray[np.int8]:
        """+1, -1 and 0."""
        from tvbank.artefacts._groups import unpack_groups  # numba

        size = math.prod(shape)
        group = min(group, size)
        if size and size % group:
            raise UnitMismatchError(
                f"{self.source}: tensor {name!r} has {size} entries in the base, which groups of "
                f"{group} do not divide: another group size or another base"
            )
        path = self._tensors[name]
        groups = size // group if size else 0
        try:
            data = read_regular(path, -(-(groups + 2 * size) // 8))
        except OSError as error:
            raise unreadable(path, error) from error
        entries = np.zeros(size, np.uint8)  # 1 is +, 255 is -
        bits = np.unpackbits(np.frombuffer(data, np.uint8))
        used = int(unpack_groups(bits, entries, groups, group))
        if used > bits.size or -(-used // 8) != len(data) or bits[used:].any():
            raise CheckpointError(
                f"{str(path)!r} is no bit file of a tensor of {size} entries in groups of {group}: "
                "it is damaged, or the group size or base is another"
            )
        return entries.view(np.int8).reshape(shape)


def _norm_ratio(base: NDArray[Any], tuned: NDArray[Any], entries: NDArray[np.int8]) -> np.float32:
    """The magnitude as the public code has it: the norm of what was kept over that of its signs."""
    kept = entries.reshape(-1) != 0
    difference = (tuned.astype(np.float32) - base.astype(np.float32)).reshape(-1)[kept]
    count = max(1, len(difference))
    return np.float32(np.linalg.norm(difference.astype(np.float64)) / math.sqrt(count))
