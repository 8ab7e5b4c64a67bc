"""Labelled examples to ``data.npz``: shares of classes, splits, token ids."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.bench._measure import appearing
from tools.bench.realtasks.recipes.texts import Text, TextTask

LENGTH = 32
_LARGEST_SHARE = 1.5  # of a class, against an even share
_MOST_CLASSES = 30  # where a task takes all labels: the most frequent ones


def chosen_texts(
    task: TextTask, texts: Iterable[Text], classes: Iterable[str], seed: int
) -> dict[str, list[Text]]:
    """Training and test texts: no text is in both, nor are parts of one text.

    No class has more than 1.5 times its even share, so rare classes are not drowned.

    Args:
        task: how many it wants.
        texts: to choose from, distinct.
        classes: labels to keep.
        seed: of the choice.

    Returns:
        ``train`` and ``test``.
    """
    wanted, chance = task.test + task.train, random.Random(seed)
    shares = dict.fromkeys(classes, 0)
    cap = _LARGEST_SHARE * wanted / len(shares)
    pool = sorted(texts)
    chance.shuffle(pool)
    groups: dict[str, list[Text]] = defaultdict(list)
    for text in pool:
        if shares.get(text.label, cap) < cap and sum(shares.values()) < wanted:
            shares[text.label] += 1
            groups[text.group].append(text)
    order = sorted(groups)
    chance.shuffle(order)
    splits: dict[str, list[Text]] = {"test": [], "train": []}
    for group in order:
        splits["test" if len(splits["test"]) < task.test else "train"] += groups[group]
    return {split: texts[: getattr(task, split)] for split, texts in splits.items()}


def class_names(task: TextTask, texts: Iterable[Text]) -> dict[str, str]:
    """Label -> name for the head, in the order of the labels' numbers."""
    if task.classes is not None:
        return task.classes
    counts = Counter(text.label for text in texts)
    return {label: label for label in sorted(dict(counts.most_common(_MOST_CLASSES)))}


def distinct(tokenizer: Any, texts: list[Text]) -> list[Text]:
    """Texts that the model can tell apart: one of those with the same token ids; none empty."""
    ids = token_ids(tokenizer, [text.text for text in texts])
    pairs = zip(ids, texts, strict=True)
    return list({row.tobytes(): text for row, text in pairs if text.text.strip()}.values())


def token_ids(tokenizer: Any, texts: list[str]) -> NDArray[np.int32]:
    """Token ids [n, 32], cut or padded with 0."""
    ids = np.zeros((len(texts), LENGTH), np.int32)
    for row, encoding in zip(ids, tokenizer.encode_batch(texts), strict=True):
        row[: len(encoding.ids)] = encoding.ids
    return ids


def write_texts(
    path: Path, splits: dict[str, list[Text]], classes: dict[str, str], tokenizer: Any
) -> None:
    """Write ``data.npz`` of a text task."""
    number = {label: index for index, label in enumerate(classes)}
    arrays: dict[str, NDArray[Any]] = {"classes": np.array(list(classes))}
    for split, texts in splits.items():
        arrays[f"x_{split}"] = token_ids(tokenizer, [text.text for text in texts])
        arrays[f"y_{split}"] = np.array([number[text.label] for text in texts], np.int64)
    write_arrays(path, arrays)


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write arrays to a file that appears when it is complete."""
    with appearing(path) as coming:
        np.savez_compressed(coming, **arrays)  # type: ignore[arg-type]
