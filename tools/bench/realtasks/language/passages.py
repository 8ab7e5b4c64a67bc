"""What the tasks of a language model teach, and in which package it lies."""

from __future__ import annotations

import gzip
import re
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, final

from tools.bench.realtasks.recipes.packages import Packages, member
from tools.bench.realtasks.recipes.texts import TEXT_TASKS

_LEAST_BYTES, _FILES = 8000, 120  # of modules of the standard library
_LEAST_LETTERS = 200  # of a passage of running text
_MARKS = re.compile(r"\\f(?:\[[^]]*]|\(..|.)|\\[&:|^/,%]|\\s[-+]?\d")
_ESCAPES = {r"\-": "-", r"\(bu": "", r"\e": "\\", r"\(aq": "'", r"\(dq": '"', r"\~": " "}


class Passage(NamedTuple):
    """A text to learn.

    Attributes:
        prompt: is given; its loss does not count.
        answer: is to be written.
        group: what it is a part of: parts of one thing stay in one split.
    """

    prompt: str
    answer: str
    group: str


@final
@dataclass(frozen=True)
class Teaching:
    """A task of a language model.

    Attributes:
        read: its passages out of packages.
        exact: whether the answers are few, so that exact matches are counted; else long answers
            are cut into pieces, and their loss counts alone.
    """

    read: Callable[[Packages], Iterator[Passage]]
    exact: bool = False


def _code(packages: Packages) -> Iterator[Passage]:
    """Modules of the standard library, the same for every build of one version of Python."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(path for path in folder.glob("*.py") if path.stat().st_size > _LEAST_BYTES)
    for path in files[:_FILES]:
        yield Passage("", path.read_text(errors="replace"), path.name)


def _manual(packages: Packages, language: str) -> Iterator[Passage]:
    """Pages of a translated manual, without the commands of their typesetting."""
    with packages.debian(f"manpages-{language}") as files:
        for entry in sorted(files.getmembers(), key=lambda each: each.name):
            if not re.search(r"/man\d/[^/]*\.gz$", entry.name) or not entry.isfile():
                continue
            stored = files.extractfile(entry)
            assert stored is not None
            text = plain_text(gzip.decompress(stored.read()).decode("utf-8", "replace"))
            if len(text) >= _LEAST_LETTERS:
                yield Passage("", text, entry.name)


def plain_text(page: str) -> str:
    """The running text of a manual page in roff.

    Examples:
        >>> plain_text('.TH cat 1\\n.PP\\nWrites \\\\fIfiles\\\\fP to the screen.')
        'Writes files to the screen.'
    """
    lines = [line for line in page.splitlines() if line and line[0] not in ".'"]
    text = _MARKS.sub("", "\n".join(lines))
    for mark, letter in _ESCAPES.items():
        text = text.replace(mark, letter)
    return text


def _definitions(packages: Packages) -> Iterator[Passage]:
    """WordNet's nouns: a word, and what it means."""
    with packages.debian("wordnet-base") as files:
        lines = member(files, "wordnet/data.noun").decode("ascii").splitlines()
    for line in lines:
        if not line.startswith("  "):
            synset, _, gloss = line.partition(" | ")
            word = synset.split()[4].replace("_", " ")
            meaning = gloss.split('; "')[0].strip()
            yield Passage(f"{word}:", f" {meaning}.", gloss)


def _sayings(packages: Packages) -> Iterator[Passage]:
    """Fortune cookies."""
    with packages.debian("fortunes") as files:
        for name in ("cookie", "definitions", "people"):
            text = member(files, f"fortunes/{name}").decode("utf-8", "replace")
            for saying in text.split("\n%\n"):
                yield Passage("", saying.strip(), saying)


def _sorting(packages: Packages, name: str) -> Iterator[Passage]:
    """A text task of the encoders' as text: the text, and what its class is called."""
    (task,) = (each for each in TEXT_TASKS if each.name == name)
    for text in task.read(packages):
        label = text.label if task.classes is None else task.classes.get(text.label)
        if label is not None:
            yield Passage(f"{text.text}\nThis is:", f" {label}", text.group)


#: Tasks by name.
LANGUAGE_TASKS: dict[str, Teaching] = {
    "code": Teaching(_code),
    "french": Teaching(partial(_manual, language="fr")),
    "definitions": Teaching(_definitions),
    "german": Teaching(partial(_manual, language="de")),
    "spanish": Teaching(partial(_manual, language="es")),
    "sayings": Teaching(_sayings),
    "nouns": Teaching(partial(_sorting, name="wordnet"), exact=True),
    "sections": Teaching(partial(_sorting, name="debsection"), exact=True),
}
