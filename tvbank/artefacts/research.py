"""Dicts that research code saves and that are no weights: masks, signs, unified vectors alone.

They are recognised so that the refusal says what they are; nothing makes a fine-tune of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn, final

from tvbank.artefacts._artefact import Artefact, Stored
from tvbank.artefacts._contents import Contents
from tvbank.artefacts._given import Given
from tvbank.checkpoint import Checkpoint, is_torch_tensor
from tvbank.dtypes import ELEMENT_TYPES
from tvbank.errors import CheckpointError, name_some

#: Keys under which merging code keeps what is no model: vectors, masks, scales, statistics.
_KEYS = frozenset({
    "unified", "unified_task_vector", "tau_unified", "masks", "mask", "signs", "rescalers",
    "task_vector", "task_vectors", "fisher", "merged_tv", "multi_task_vector",
})  # fmt: skip


@final
class ResearchDict(Artefact):
    """Masks, signs or vectors by themselves."""

    kind: ClassVar[str] = "research"
    title: ClassVar[str] = "a dict of masks, signs or vectors"

    def __init__(self, path: Path, what: str, tensors: Sequence[Stored]) -> None:
        self.source, self.files, self._what, self._tensors = str(path), [path], what, tensors

    @staticmethod
    def recognise(contents: Contents) -> ResearchDict | None:
        """A dict of truth values or small integers alone, or with a key that tells."""
        content = contents.loaded
        if not isinstance(content, Mapping) or not content:
            return None
        named = sorted(key for key in content if isinstance(key, str) and key in _KEYS)
        if named and any(isinstance(content[key], Mapping | list | tuple) for key in named):
            what = f"holds {name_some(named)}"
            return ResearchDict(contents.path, what, _tensors_in(content))
        kinds = {_dtype(value) for value in content.values()}
        if kinds <= {"bool"} or kinds <= {"int8"}:
            what = "holds masks" if kinds == {"bool"} else "holds signs or codes"
            return ResearchDict(contents.path, what, _tensors_in(content))
        return None

    def stored(self) -> Sequence[Stored]:
        """See ``Artefact.stored``."""
        return self._tensors

    def notes(self) -> Mapping[str, Any]:
        """See ``Artefact.notes``."""
        return {"refused": self.refusal}

    @property
    def refusal(self) -> str:
        """Why it is no fine-tune, and what to do."""
        return (
            f"{self.source!r} {self._what} and no weights: it is no fine-tune by itself; add what "
            "it stands for to the base, and give the sum"
        )

    def changes(self, base: Checkpoint, given: Given) -> NoReturn:
        """Refuse.

        Raises:
            CheckpointError: always.
        """
        raise CheckpointError(self.refusal)


def _dtype(value: object) -> str:
    return str(value.dtype).removeprefix("torch.") if is_torch_tensor(value) else ""


def _tensors_in(content: Mapping[Any, Any], prefix: str = "") -> list[Stored]:
    """The tensors of a dict, and of the dicts in it."""
    found = []
    for key, value in content.items():
        if is_torch_tensor(value):
            dtype, shape = _dtype(value), tuple(value.shape)
            size = value.numel() * value.element_size() if dtype in ELEMENT_TYPES else 0
            found.append(Stored(f"{prefix}{key}", dtype, shape, size, "other"))
        elif isinstance(value, Mapping) and not prefix:
            found += _tensors_in(value, f"{key}/")
    return found
