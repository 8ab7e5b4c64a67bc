"""What a worker keeps open between jobs: bases, whose units are read once, and fine-tunes."""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from tvbank.bank.documents import decode_layout
from tvbank.checkpoint import identify_checkpoint, open_checkpoint
from tvbank.compress import Compressor
from tvbank.errors import CheckpointError
from tvbank.layout import Layout
from tvbank.vector import BaseModel, TaskVector

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

#: Bytes of the base's units that a worker keeps, so that most bases are read and checked once.
_KEPT_BASE = 2**28

#: Fine-tunes that a worker keeps open; jobs of one task come together.
_KEPT_VECTORS = 4

_lock = threading.Lock()
_bases: OrderedDict[tuple[str, str, str], tuple[Layout, BaseModel]] = OrderedDict()
_vectors: OrderedDict[tuple[Any, ...], TaskVector] = OrderedDict()


@dataclass(frozen=True)
class Base:
    """A base as every job carries it.

    Attributes:
        location: path or URL of its weights.
        layout: the layout document, compressed by zlib.
        sha256: digest of the layout document.
        identity: of the weights' files when the build was begun; empty before that.
    """

    location: str
    layout: bytes
    sha256: str
    identity: str = ""

    @staticmethod
    def of(location: str, document: bytes, sha256: str) -> Base:
        """Compress the layout document."""
        return Base(location, zlib.compress(document), sha256)

    def open(self) -> tuple[Layout, BaseModel]:
        """The layout, and the base's weights beside it.

        Raises:
            CheckpointError: the weights cannot be read here.
            BaseMismatchError: other names, shapes or element types; names the units.
        """

        def make() -> tuple[Layout, BaseModel]:
            layout = decode_layout(zlib.decompress(self.layout))
            return layout, BaseModel(layout, open_checkpoint(self.location), _KEPT_BASE)

        return _kept(_bases, (self.location, self.sha256, self.identity), 1, make)


@dataclass(frozen=True)
class Tuned:
    """A fine-tune as every job of its task carries it.

    Attributes:
        checkpoint: path or URL of its weights.
        base: what it was tuned from.
        compressor: what to keep of it.
        replace_mismatched: whether units of another shape than the base's are kept whole.
        identity: of the checkpoint when its task was begun; empty before that.
    """

    checkpoint: str
    base: Base
    compressor: Compressor
    replace_mismatched: bool
    identity: str = ""

    def open(self) -> TaskVector:
        """The fine-tune beside the base's layout.

        Raises:
            CheckpointError, UnitMismatchError: as ``TaskVector``.
        """

        def make() -> TaskVector:
            layout, base = self.base.open()
            return TaskVector(
                layout, base, open_checkpoint(self.checkpoint), self.compressor.accepts,
                replace_mismatched=self.replace_mismatched,
            )  # fmt: skip

        key: tuple[Any, ...] = (
            self.checkpoint, self.base.location, self.base.sha256, self.base.identity,
            self.replace_mismatched, type(self.compressor), self.identity,
        )  # fmt: skip
        return _kept(_vectors, key, _KEPT_VECTORS, make)

    def check_identity(self) -> None:
        """Compare the checkpoint with what it was when its task was begun.

        Raises:
            CheckpointError: it was written anew meanwhile.
        """
        if identify_checkpoint(self.checkpoint) != self.identity:
            raise CheckpointError(
                f"{self.checkpoint!r} was written anew while its task was built: leave it alone, "
                "and build again"
            )


def _kept(
    opened: OrderedDict[_Key, _Value], key: _Key, room: int, make: Callable[[], _Value]
) -> _Value:
    """What is open under a key; those that were not used for longest are let go."""
    with _lock:
        if key in opened:
            opened.move_to_end(key)
            return opened[key]
    made = make()
    with _lock:
        opened[key] = made
        while len(opened) > room:
            opened.popitem(last=False)
    return made
