"""What is learned: scalars of every unit, the weights they make, and what they cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch

from tvbank.compress import Compressor
from tvbank.flexswitch._state import State

#: The loss on all examples under some weights, by name of the unit.
Distance = Callable[[dict[str, torch.Tensor]], float]


@final
@dataclass(frozen=True)
class Outlook:
    """What would be stored if learning ended now.

    Attributes:
        density: share of entries that are kept.
        bits: mean bits of a kept entry.
        bytes: of the task in the bank, estimated.
    """

    density: float
    bits: float
    bytes: int


class Relaxation(ABC):
    """One way to compress units whose scalars can be learned by gradients.

    A step asks for ``weights``, hands every gradient in them to ``take`` as soon as it is there,
    and ends with ``move``.

    Attributes:
        names: of the units.
        state: their scalars, and where the optimiser is.
    """

    names: Sequence[str]
    state: State

    @abstractmethod
    def tuned(self) -> dict[str, torch.Tensor]:
        """The fine-tuned weights, by name of the unit."""

    @abstractmethod
    def weights(self) -> dict[str, torch.Tensor]:
        """The weights of this step, by name of the unit."""

    @abstractmethod
    def take(self, number: int, slopes: torch.Tensor) -> None:
        """Add to the gradient in a unit's scalars.

        Args:
            number: of the unit.
            slopes: the gradient of the loss in its weights.
        """

    @abstractmethod
    def move(self) -> None:
        """Step down the gradient of the objective, which is then forgotten.

        Raises:
            UsageError: it is not finite; names the unit.
        """

    @abstractmethod
    def outlook(self) -> Outlook:
        """What would be stored, estimated."""

    @abstractmethod
    def outcome(self, distance: Distance) -> Compressor:
        """What was learned, to be applied.

        Args:
            distance: tells outcomes apart, where chance makes several.
        """
