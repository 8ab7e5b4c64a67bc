"""What every compressor does: turn two versions of a unit into sparse entries.

``Compressor`` is what to implement, ``Pairs`` the whole task vector, for those that must see all
units before they take one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self, TypeVar, final

from numpy.typing import NDArray

from tvbank._progress import Listener, Progress
from tvbank.checkpoint import TensorSpec

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

#: Makes the entries from one position to another of a flattened unit.
Entries = Callable[[int, int], NDArray[Any]]


class Each(Protocol):
    """Spreads work: ``map`` is one, ``ThreadPoolExecutor.map`` another; results come in order."""

    def __call__(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item], /
    ) -> Iterable[_Result]:
        """Apply the function to each item."""


@final
@dataclass(frozen=True)
class PairedUnit:
    """A unit of the task vector.

    Attributes:
        name: as the bank calls it.
        shape: of both versions.
    """

    name: str
    shape: tuple[int, ...]


@final
@dataclass(frozen=True)
class PackedProduct:
    """The entries of a unit as a product of two thin matrices of few bits (spec/products.md).

    Attributes:
        data: both factors, as ``coding.packed`` packs them.
        rank: components that they have at most.
    """

    data: bytes
    rank: int


class Pairs(ABC):
    """Both versions of every unit, to be read in any order and as often as needed.

    Attributes:
        units: those that the compressor will be asked for, in their order.
        aliases: further names of units that are tied in the base, by the unit's name.
        whole: names of the fine-tune's tensors that are kept whole: heads, changed buffers.
        each: spreads work over cores, as ``map`` does.
        progress: to which a compressor reports that takes its time.
        fixed_bytes: what the task takes in the bank beside its frames: indices, documents, what is
            kept whole. Exact but for a few bytes, as sizes are written in decimal digits.
        parameters: entries of all units, those that are kept whole included.
        chunk_length: entries of a frame.
        base_bytes: bytes of the base's weights in their own element types.
        products_bytes: what the task takes beside its products if it has any: further documents.
    """

    units: Sequence[PairedUnit]
    aliases: Mapping[str, Sequence[str]]
    whole: Sequence[str]
    each: Each
    progress: Progress
    fixed_bytes: int
    parameters: int
    chunk_length: int
    base_bytes: int
    products_bytes: int

    @abstractmethod
    def read(self, unit: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """A unit's weights in the base and after fine-tuning, of the same shape."""

    @abstractmethod
    def read_whole(self, name: str) -> NDArray[Any]:
        """One of the tensors that are kept whole."""

    @abstractmethod
    def frame_bytes(self, unit: str, entries: Entries, *, of_chunks: int | None = None) -> int:
        """Bytes that entries of a unit would take in the bank: frames and their checksums.

        Args:
            unit: its name.
            entries: of it.
            of_chunks: how many chunks are encoded, evenly spread; of the others as many bytes an
                entry are expected. By default all are.
        """

    @abstractmethod
    def spared_bytes(self, units: Collection[str]) -> int:
        """Bytes of ``fixed_bytes`` that are not taken if only such units have entries: indices."""

    @abstractmethod
    def product_bytes(self, unit: str, product: PackedProduct) -> int:
        """Bytes that a unit's product would take in the bank: factors, checksum, its record."""


class Compressor(ABC):
    """Decides what to keep of a task vector; the codec then stores that without loss."""

    #: Element type of the entries: float32 differences, or int32 steps between floats.
    element: ClassVar[Literal["float32", "int32"]]
    #: Newest version of frames that the entries are stored in: 2 needs a bank of format 1.1.
    frame_version: ClassVar[int] = 1

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Name and parameters as JSON, recorded with the task."""

    @abstractmethod
    def accepts(self, base: TensorSpec, tuned: TensorSpec) -> bool:
        """Whether a unit with these element types can be stored as entries, or is kept whole."""

    @property
    def given_base(self) -> bool:
        """Whether frames may be given the weights that the entries, int32, start from."""
        return False

    @property
    def packed_products(self) -> Mapping[str, PackedProduct]:
        """Units that are kept as products, by name; all of their entries are 0."""
        return {}

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the user who adds a task should know, in sentences."""
        return ()

    def settled(
        self,
        base: Any,
        tuned: Any,
        *,
        chunk_length: int,
        options: Mapping[str, Any],
        progress: Listener = None,
    ) -> Self:
        """Find out what depends on how good the outcome is; called once, before anything is read.

        Args:
            base: where the base's weights are.
            tuned: the fine-tune's.
            chunk_length: of the bank.
            options: further ones of ``Bank.add``, for the fine-tune.
            progress: as of ``Bank.add``.

        Returns:
            What then compresses: by default the compressor itself.
        """
        return self

    def plan(self, pairs: Pairs) -> Compressor:
        """Look at the whole task vector; called once, before any unit is prepared.

        Args:
            pairs: the task vector.

        Returns:
            What then prepares the units and describes the task: by default the compressor itself.
        """
        return self

    @abstractmethod
    def prepare(
        self, unit: str, base: NDArray[Any], tuned: NDArray[Any], each: Each = map
    ) -> Entries:
        """Survey one unit; then make its entries in pieces, in any order and on any thread.

        Args:
            unit: its name, for messages.
            base: its weights in the base, any shape, float32, float16 or bfloat16.
            tuned: its weights after fine-tuning, the same shape, a dtype that was accepted.
            each: spreads the work; what is returned does not depend on it.

        Returns:
            A function from start and stop, 0 <= start <= stop <= size, to those entries of the
            flattened unit, of type ``element``; zero where nothing is kept.

        Raises:
            NonFiniteError: if a lossy compressor meets NaN or infinity.
        """

    @final
    def compress(self, unit: str, base: NDArray[Any], tuned: NDArray[Any]) -> NDArray[Any]:
        """All entries of one unit, flat, [size]; see ``prepare``."""
        return self.prepare(unit, base, tuned)(0, base.size)
