"""What a folder holds: the base, the tasks' tokens, and how a model does on them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tools.bench.realtasks.language.base import PADDING, build_model

#: Examples that are scored at a time.
_BATCH = 8


class Score(NamedTuple):
    """How a model does on some examples.

    Attributes:
        loss: nats of a token that counts, mean over tokens.
        exact: share of examples of which every token that counts is the likeliest one.
    """

    loss: float
    exact: float


@final
@dataclass(frozen=True)
class TextTask:
    """A task.

    Attributes:
        name: of it.
        folder: what it has.
        exact: whether its score is exact matches.
    """

    name: str
    folder: Path
    exact: bool

    @cached_property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """What ``data.npz`` holds."""
        with np.load(self.folder / "data.npz") as stored:
            return dict(stored)

    def rows(self, split: str, limit: int | None = None) -> tuple[Tensor, Tensor]:
        """Tokens, int64 [n, tokens], and which of them count, bool.

        Args:
            split: train, validation or test.
            limit: how many at most.
        """
        x, counts = self.arrays[f"x_{split}"][:limit], self.arrays[f"counts_{split}"][:limit]
        return torch.from_numpy(x).long(), torch.from_numpy(counts)


@final
@dataclass(frozen=True)
class Language:
    """A folder: one base, many tasks.

    Attributes:
        folder: of the family.
        tasks: by name.
    """

    folder: Path
    tasks: Mapping[str, TextTask]

    @property
    def base(self) -> Path:
        """The base's weights."""
        return self.folder / "base.safetensors"

    @property
    def tokens(self) -> int:
        """Tokens of an example."""
        return int(json.loads((self.folder / "recipe.json").read_text())["tokens"])

    def model(self) -> Any:
        """The base, bfloat16, on a GPU if there is one."""
        return build_model(self.folder).to(device())


def load(out: Path) -> Language:
    """What was built in a folder."""
    from tools.bench.realtasks.language.passages import LANGUAGE_TASKS

    folder = out / "gemma"
    found = {
        name: TextTask(name, folder / name, teaching.exact)
        for name, teaching in LANGUAGE_TASKS.items()
        if (folder / name / "data.npz").exists()
    }
    return Language(folder, found)


def device() -> torch.device:
    """Where models run."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def inputs(x: Tensor) -> dict[str, Tensor]:
    """``input_ids`` and ``attention_mask``, int64 [n, longest], without common padding."""
    mask = (x != PADDING).long()
    longest = int(mask.sum(1).max()) if len(x) else 1
    return {"input_ids": x[:, :longest], "attention_mask": mask[:, :longest]}


def token_logits(model: Any, x: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [n, words] of the tokens that count, and what they are, int64 [n].

    The head, which is most of the work where there are many words, runs on those tokens alone.
    """
    here = next(iter(model.parameters())).device
    given = {name: each.to(here) for name, each in inputs(x).items()}
    longest = given["input_ids"].shape[1]
    counted = counts[:, 1:longest].to(here)
    inner, head = model.get_decoder(), model.get_output_embeddings()
    states = inner(**given, use_cache=False).last_hidden_state[:, :-1]
    return head(states[counted]), given["input_ids"][:, 1:][counted]


def loss_of(model: Any, x: Tensor, counts: Tensor) -> Tensor:
    """Nats of a token that counts, mean over tokens."""
    logits, wanted = token_logits(model, x, counts)
    return functional.cross_entropy(logits.float(), wanted)


def score(model: Any, task: TextTask, split: str = "test", limit: int | None = None) -> Score:
    """Loss and exact matches on a split; see ``score_rows``."""
    return score_rows(model, *task.rows(split, limit))


@torch.no_grad()
def score_rows(model: Any, x: Tensor, counts: Tensor) -> Score:
    """Loss and exact matches on examples.

    Args:
        model: in evaluation mode.
        x: tokens, int64 [n, tokens].
        counts: which of them count, bool [n, tokens].
    """
    total, tokens, right = 0.0, 0, 0
    for some, counted in batches(x, counts):
        logits, wanted = token_logits(model, some, counted)
        total += float(functional.cross_entropy(logits.float(), wanted, reduction="sum"))
        wrong = (logits.argmax(-1) != wanted).cpu()
        owners = counted[:, 1:].nonzero()[:, 0]
        tokens += len(wanted)
        right += len(some) - len(owners[wrong].unique())
    return Score(total / tokens, right / len(x))


def batches(x: Tensor, counts: Tensor, size: int = _BATCH) -> Iterator[tuple[Tensor, Tensor]]:
    """Examples, some at a time."""
    yield from zip(x.split(size), counts.split(size), strict=True)
