"""Building a folder of fine-tunes of Gemma, step by step; what is there is kept."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.bench._measure import appearing
from tools.bench.realtasks.language.base import (
    BEGINNING,
    PADDING,
    UNKNOWN,
    frequent,
    trim,
    write_original,
)
from tools.bench.realtasks.language.folder import Language, load
from tools.bench.realtasks.language.passages import LANGUAGE_TASKS, Passage
from tools.bench.realtasks.language.training import WHOLE_RATES, Run, best
from tools.bench.realtasks.recipes.packages import Packages

#: Examples of each split.
SPLITS = {"test": 64, "validation": 32, "train": 512}
#: Of one long text at most so many examples, so that no text is most of a task.
_PIECES = 8
#: Passages that are tokenised of a task, at most.
_PASSAGES = 1500
#: A piece of a text is left out if it is shorter than this share of an example.
_LEAST = 0.5

Say = Callable[[str], None]


def build(
    out: Path,
    tasks: Sequence[str] | None = None,
    *,
    downloads: Path,
    words: int = 2**18,
    tokens: int = 64,
    run: Run | None = None,
    rates: Sequence[float] = WHOLE_RATES,
    seed: int = 0,
    say: Say = print,
) -> Language:
    """Write the base and every task's data, then the fine-tunes of some tasks.

    Args:
        out: the folder; files that it has are left as they are.
        tasks: which are fine-tuned; by default all.
        downloads: where packages are kept.
        words: tokens that the model shall know: the most frequent ones of the tasks' data. Fewer
            than Gemma's 262,144 make it smaller and quicker; others become ``<unk>``.
        tokens: of an example.
        run: how long to fine-tune; ``None`` writes data alone.
        rates: to choose among.
        seed: of the splits.
        say: takes progress.
    """
    folder, recipe = out / "gemma", {"words": words, "tokens": tokens, "seed": seed}
    if not (folder / "recipe.json").exists():
        say("gemma: base and data")
        write_original(folder)
        _write_data(folder, Packages(downloads), words, tokens, seed)
        with appearing(folder / "recipe.json") as coming:
            coming.write_text(json.dumps(recipe))
    kept = json.loads((folder / "recipe.json").read_text())
    if kept != recipe:
        raise SystemExit(f"{folder} was built with {kept}, not {recipe}: name another folder")
    language = load(out)
    for name in tasks or list(language.tasks):
        if run is not None:
            best(language, language.tasks[name], run, rates, say=say)
    return language


def _write_data(folder: Path, packages: Packages, words: int, tokens: int, seed: int) -> None:
    from transformers import AutoTokenizer

    loader: Any = AutoTokenizer
    tokenizer = loader.from_pretrained(folder / "tokenizer")
    made = {
        name: examples(tokenizer, teaching.read(packages), tokens, seed)
        for name, teaching in LANGUAGE_TASKS.items()
    }
    rows = [arrays[f"x_{split}"] for arrays in made.values() for split in SPLITS]
    known = frequent(rows, words, json.loads((folder / "original.json").read_text())["vocab_size"])
    trim(folder, known)
    for name, arrays in made.items():
        for split in SPLITS:
            x = arrays[f"x_{split}"] = renumbered(arrays[f"x_{split}"], known)
            arrays[f"counts_{split}"] &= x != UNKNOWN
        (folder / name).mkdir(exist_ok=True)
        with appearing(folder / name / "data.npz") as coming, coming.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def examples(
    tokenizer: Any, passages: Iterable[Passage], tokens: int, seed: int
) -> dict[str, NDArray[Any]]:
    """Tokens and which of them count, by split; no text is in two of them.

    Args:
        tokenizer: of transformers.
        passages: what to learn.
        tokens: of an example.
        seed: of the choice.
    """
    chance, groups = random.Random(seed), defaultdict(list)
    for passage in passages:
        groups[passage.group].append(passage)
    order = sorted(groups)
    chance.shuffle(order)
    made: dict[str, list[tuple[list[int], list[bool]]]] = {}
    waiting = iter(order[:_PASSAGES])
    for split, count in SPLITS.items():
        rows: list[tuple[list[int], list[bool]]] = []
        while len(rows) < count and (group := next(waiting, None)) is not None:
            for passage in groups[group]:
                rows += pieces(tokenizer, passage, tokens, chance)
        made[split] = rows[:count]
    arrays: dict[str, NDArray[Any]] = {}
    for split, some in made.items():
        arrays[f"x_{split}"] = np.full((len(some), tokens), PADDING, np.int64)
        arrays[f"counts_{split}"] = np.zeros((len(some), tokens), bool)
        for number, (ids, counts) in enumerate(some):
            arrays[f"x_{split}"][number, : len(ids)] = ids
            arrays[f"counts_{split}"][number, : len(ids)] = counts
    return arrays


def pieces(
    tokenizer: Any, passage: Passage, tokens: int, chance: random.Random
) -> list[tuple[list[int], list[bool]]]:
    """Examples of a passage: with a prompt one, whose end counts; else pieces that count whole."""
    answer = _ids(tokenizer, passage.answer)
    if passage.prompt:
        answer = answer[: tokens // 2]
        prompt = _ids(tokenizer, passage.prompt)[-(tokens - 1 - len(answer)) :]
        counts = [False] * (1 + len(prompt)) + [True] * len(answer)
        return [([BEGINNING, *prompt, *answer], counts)] if answer else []
    starts = range(0, len(answer), tokens - 1)
    cut = [answer[start : start + tokens - 1] for start in starts]
    cut = [piece for piece in cut if len(piece) >= _LEAST * tokens]
    cut = chance.sample(cut, min(len(cut), _PIECES))
    return [([BEGINNING, *piece], [False] + [True] * len(piece)) for piece in cut]


def renumbered(x: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.int32]:
    """Tokens by their number among those that are known; others become unknown."""
    places = np.minimum(np.searchsorted(known, x), len(known) - 1)
    return np.where(known[places] == x, places, UNKNOWN).astype(np.int32)


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text[:100_000], add_special_tokens=False)["input_ids"])
