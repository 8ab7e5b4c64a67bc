"""New tasks out of what a user has: a table of labelled texts, a folder of images by class."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from tools.bench.realtasks._families import SIDE
from tools.bench.realtasks.recipes.images import Chance, ImageTask, Labelled
from tools.bench.realtasks.recipes.packages import Packages
from tools.bench.realtasks.recipes.texts import Text, TextTask

#: Tests and training examples at most; of fewer examples a fifth are tests.
TESTS: Final = 600
TRAINING: Final = 2400

_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"})


def shares(count: int) -> tuple[int, int]:
    """How many examples of some to test on and to train on."""
    test = min(TESTS, count // 5)
    return test, min(TRAINING, count - test)


def table_task(name: str, table: Path, text: str, label: str) -> TextTask:
    """A task of a table's rows; each label by its own name, the thirty most frequent of more.

    Args:
        name: of the task.
        table: CSV with a line of names, or TSV by its ending.
        text: the column of the texts.
        label: the column of the labels.

    Raises:
        ValueError: the table lacks a column, or has fewer than ten rows.
    """
    comma = "\t" if table.suffix.lower() in (".tsv", ".tab") else ","
    with table.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, delimiter=comma)
        missing = {text, label} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{table} has no column {', '.join(sorted(missing))}")
        rows = [(row[text] or "", row[label] or "") for row in reader]
    texts = [Text(each, known, each) for each, known in rows if each.strip() and known.strip()]
    if len(texts) < 10:
        raise ValueError(f"{table} has {len(texts)} labelled texts: ten are the least")

    def read(_: Packages) -> Iterator[Text]:
        yield from texts

    test, train = shares(len(set(texts)))
    return TextTask(name, read, test=test, train=train)


def folder_task(name: str, folder: Path) -> ImageTask:
    """A task of a folder that has a folder of images for each class.

    Images become grey, and as wide and high as the family's.

    Raises:
        ValueError: fewer than two classes, or fewer than ten images.
    """
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    found = [
        (path, number)
        for number, place in enumerate(classes)
        for path in sorted(place.rglob("*"))
        if path.suffix.lower() in _PICTURES
    ]
    if len({number for _, number in found}) < len(classes) or len(classes) < 2 or len(found) < 10:
        raise ValueError(
            f"{folder} needs a folder of images for each of two classes or more, ten images in all"
        )

    def read(_: Packages, chance: Chance) -> Labelled:
        from PIL import Image

        images = []
        for path, _number in found:
            with Image.open(path) as image:
                images.append(np.asarray(image.convert("L").resize((SIDE, SIDE)), np.uint8))
        order = chance.permutation(len(found))
        labels = np.array([number for _, number in found], np.int64)
        return np.stack(images)[order], labels[order]

    test, train = shares(len(found))
    return ImageTask(name, read, test, train)
