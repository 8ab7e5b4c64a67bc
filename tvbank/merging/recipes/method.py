"""What a method of a recipe is: its parameters, what it needs, and how it merges one tensor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, final

if TYPE_CHECKING:
    import torch

#: Stands for the default of a parameter that a recipe must give.
REQUIRED: Final = object()

Scalar = bool | float


@final
@dataclass(frozen=True)
class Parameter:
    """A parameter of a method.

    Attributes:
        name: as recipes write it.
        default: what it is if nothing in the recipe applies; ``REQUIRED`` if there must be.
        of: whether it is one for the whole merge, one for each model, or one for each model but
            the base.
        kind: ``float`` or ``bool``.
    """

    name: str
    default: Any = REQUIRED
    of: Literal["merge", "model", "others"] = "merge"
    kind: type[Scalar] = float


@final
@dataclass(frozen=True)
class Input:
    """The tensor of one model.

    Attributes:
        model: name of its task, or ``base``.
        unit: name of the tensor there.
        weights: float, in the type that is calculated in; not to be changed.
        settings: what the recipe says of this model, by parameter.
    """

    model: str
    unit: str
    weights: torch.Tensor
    settings: Mapping[str, Any] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Group:
    """What becomes one tensor: those of all models, equal in shape and type.

    Attributes:
        inputs: in the order of the recipe.
        base: which of them is the recipe's base; None if it has none.
        settings: what the recipe says of the merge, by parameter.
        seed: of methods that draw.
    """

    inputs: tuple[Input, ...]
    base: Input | None
    settings: Mapping[str, Any]
    seed: int = 0

    @property
    def others(self) -> tuple[Input, ...]:
        """All inputs but the base."""
        return tuple(each for each in self.inputs if each is not self.base)


class RecipeMethod(ABC):
    """Makes one tensor of those of several models.

    Attributes:
        parameters: what recipes may say.
        base: whether one of the models must be the base, may be, or whether there is none.
        least, most: how many models there must be, the base among them; None for any number.
        least_others: how many models other than the base there must be.
    """

    parameters: ClassVar[tuple[Parameter, ...]] = ()
    base: ClassVar[Literal["needed", "allowed", "ignored"]] = "needed"
    least: ClassVar[int] = 1
    most: ClassVar[int | None] = None
    least_others: ClassVar[int] = 0

    @abstractmethod
    def merge(self, group: Group) -> torch.Tensor:
        """The merged tensor, in the shape and type of the inputs; it runs without gradients."""
