"""The digest of all tensors of a checkpoint: what proves a state, and tells one from another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import Executor, Future
from typing import Any, final

from numpy.typing import NDArray

from tvbank.checkpoint import Checkpoint, TensorSpec
from tvbank.layout import Layout, fingerprint
from tvbank.vector.pairing import Pairing

#: Tensors whose digests are computed while further ones are read.
_AHEAD = 4


@final
class Proof:
    """Collects the tensors of one state, in any order, and makes one digest of them.

    It is the SHA-256 of a line for each tensor, in the order of their names: name, element type,
    sides, SHA-256 of the raw bytes, joined by NUL.

    Attributes:
        sha256: of the raw bytes of each tensor by name, once there was a ``digest``.
    """

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self.sha256: dict[str, str] = {}
        self._lines: dict[str, str] = {}
        self._open: list[tuple[TensorSpec, Future[str]]] = []

    def add(self, spec: TensorSpec, array: NDArray[Any]) -> None:
        """Take a tensor of the state; a few may be in memory until their digests are known."""
        self._open.append((spec, self._pool.submit(fingerprint, array)))
        while len(self._open) > _AHEAD:
            self._close_first()

    def add_known(self, spec: TensorSpec, sha256: str) -> None:
        """Take a tensor of which the SHA-256 is known."""
        self.sha256[spec.name] = sha256
        sides = "x".join(map(str, spec.shape))
        self._lines[spec.name] = f"{spec.name}\0{spec.dtype}\0{sides}\0{sha256}\n"

    def digest(self) -> str:
        """SHA-256 of the state, in hexadecimal."""
        while self._open:
            self._close_first()
        text = "".join(self._lines[name] for name in sorted(self._lines))
        return hashlib.sha256(text.encode()).hexdigest()

    def _close_first(self) -> None:
        spec, seen = self._open.pop(0)
        self.add_known(spec, seen.result())


def is_state(
    checkpoint: Checkpoint, layout: Layout, further: Iterable[str], digest: str, pool: Executor
) -> bool:
    """Whether a checkpoint is the state of some digest; reads it, unless its names tell.

    Args:
        checkpoint: any.
        layout: of the base from which the state was made.
        further: names of the tensors that the state has besides those of the layout.
        digest: of the state.
        pool: threads to work on.
    """
    pairing = Pairing(layout, checkpoint)
    extra = set(further)
    names = [*(record.name for record in layout.records), *sorted(extra)]
    if any(name not in pairing for name in names) or set(pairing.further()) - extra:
        return False
    proof = Proof(pool)
    for name in names:
        spec = pairing.spec(name)
        proof.add(TensorSpec(name, spec.dtype, spec.shape), pairing.read(name))
    return proof.digest() == digest
