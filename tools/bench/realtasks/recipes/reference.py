"""More text tasks, of reference works: dictionaries, manuals, sayings, source code.

They were made when the settings of every compressor and router were fixed, so that there are tasks
on which nothing was tuned.
"""

from __future__ import annotations

import gzip
import re
import tarfile
from collections.abc import Iterator
from typing import Final

from tools.bench.realtasks.recipes.packages import Packages, member
from tools.bench.realtasks.recipes.texts import Text, TextTask, whole

#: WordNet's fields of verbs, in the order of their numbers, which start at 29.
_ACTIONS: Final = (
    *("body", "change", "cognition", "communication", "competition", "consumption", "contact"),
    *("creation", "emotion", "motion", "perception", "possession", "social", "stative", "weather"),
)
_FOLDOC: Final = {
    "language": "programming language",
    "networking": "networking",
    "hardware": "hardware",
    "programming": "programming",
    "mathematics": "mathematics",
    "communications": "communications",
    "operating system": "operating system",
    "company": "company",
    "person": "person",
    "storage": "storage",
    "jargon": "jargon",
    "database": "database",
    "processor": "processor",
    "web": "world wide web",
}
_PARTS_OF_SPEECH: Final = {
    "n": "noun",
    "a": "adjective",
    "v": "verb",
    "adv": "adverb",
}
_SECTIONS: Final = {
    "2": "system call",
    "3": "library function",
    "4": "device",
    "5": "file format",
    "7": "overview",
}
_LANGUAGES: Final = {
    "de": "German",
    "es": "Spanish",
    "fr": "French",
    "it": "Italian",
    "pl": "Polish",
}
_SAYINGS: Final = {
    "people": "people",
    "definitions": "definitions",
    "computers": "computers",
    "songs-poems": "songs and poems",
    "politics": "politics",
    "work": "work",
    "science": "science",
    "men-women": "men and women",
    "zippy": "nonsense",
    "art": "art",
}
#: Language -> a package of Debian, and how its source files end.
_SOURCES: Final = {
    "c": ("libc6-dev", ".h"),
    "perl": ("perl-modules-5.36", ".pm"),
    "python": ("libpython3.11-stdlib", ".py"),
    "ruby": ("libruby3.1", ".rb"),
    "tcl": ("libtcl8.6", ".tcl"),
}
_JAVASCRIPT: Final = ("lodash", "4.17.21")
_LINES = 4  # of source code that make a text
_LICENCE = 24  # lines at the start of a file that are left out
_MOST = 40  # texts of one file


def _files(archive: tarfile.TarFile, pattern: str) -> Iterator[tuple[str, str]]:
    """Paths that match a pattern from their start, sorted, and the texts there, unpacked."""
    found = {each.name: each for each in archive if each.isfile() and re.match(pattern, each.name)}
    for name in sorted(found):
        if (file := archive.extractfile(found[name])) is not None:
            data = file.read()
            data = gzip.decompress(data) if name.endswith(".gz") else data
            yield name, data.decode("utf-8", "replace")


def _dictionary(packages: Packages, name: str) -> list[str]:
    """The entries of a dictionary of dictd: a headword alone on its line, then what it means."""
    packed = member(packages.debian(f"dict-{name}"), f"dictd/{name}.dict.dz")
    return re.split(r"\n(?=\S)", gzip.decompress(packed).decode("utf-8", "replace"))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _verbs(packages: Packages) -> Iterator[Text]:
    lines = member(packages.debian("wordnet-base"), "wordnet/data.verb").decode("ascii")
    for line in lines.splitlines():
        if not line.startswith("  "):
            synset, _, gloss = line.partition(" | ")
            yield whole(gloss.split('; "')[0].strip(), _ACTIONS[int(synset.split()[1]) - 29])


def _foldoc(packages: Packages) -> Iterator[Text]:
    for entry in _dictionary(packages, "foldoc"):
        if found := re.match(r"[^\n]*\n\s+<([a-z ]+)>\s+([^<]+?)(?:\n\s*\n|$)", entry):
            yield whole(re.sub(r"[{}]", "", _one_line(found[2])), found[1])


def _speech(packages: Packages) -> Iterator[Text]:
    """What a word of a dictionary means: which part of speech is it?"""
    for entry in _dictionary(packages, "gcide"):
        kind = re.match(r"[^\n]*\\, (n|a|v|adv)\.(?=[ \n\[(])", entry)
        meaning = re.search(r"\n   (?:1\. )?([A-Z][^\n\[{}]*(?:\n +[^\n\[{}]+)*)", entry)
        if kind and meaning and len(meaning[1].split()) >= 3:
            yield whole(_one_line(meaning[1]), kind[1])


def _paragraphs(page: str) -> Iterator[str]:
    """The running text of a manual page in roff: no headings, no lists of files, no code."""
    page = re.sub(r"\\f[A-Z]|\\&|\\%|\\\|", "", page).replace("\\-", "-").replace("\\(aq", "'")
    page = re.sub(r"(?m)^\.(?:BR?|IR?|[BIR]{2}) ", "", page)
    for paragraph in re.split(r"(?m)^\..*\n", page):
        text = _one_line(paragraph.replace('"', ""))
        if 8 <= len(text.split()) <= 80 and "\\" not in text:
            yield text


def _manuals(packages: Packages) -> Iterator[Text]:
    """A paragraph of a manual: which section is its page in?"""
    for package in ("manpages", "manpages-dev"):
        for name, page in _files(packages.debian(package), r"\./usr/share/man/man\d/"):
            section = name.split("/man/man")[1][0]
            yield from (Text(each, section, name) for each in list(_paragraphs(page))[:5])


def _languages(packages: Packages) -> Iterator[Text]:
    for code in _LANGUAGES:
        archive = packages.debian(f"manpages-{code}")
        for name, page in _files(archive, rf"\./usr/share/man/{code}/man\d/"):
            yield from (Text(each, code, name) for each in list(_paragraphs(page))[:5])


def _sayings(packages: Packages) -> Iterator[Text]:
    for name, file in _files(packages.debian("fortunes"), r".*/fortunes/[a-z-]+$"):
        kind = name.rpartition("/")[2]
        yield from (whole(_one_line(each), kind) for each in file.split("\n%\n"))


def _snippets(packages: Packages) -> Iterator[Text]:
    """Some lines of a program: in which language?"""
    archives = {name: (packages.debian(each), end) for name, (each, end) in _SOURCES.items()}
    archives["javascript"] = packages.npm(*_JAVASCRIPT), ".js"
    for language, (archive, ending) in archives.items():
        for name, file in _files(archive, rf".*{re.escape(ending)}$"):
            lines = [line.strip() for line in file.splitlines() if len(line.strip()) > 3]
            for first in range(_LICENCE, len(lines), _LINES)[:_MOST]:
                yield Text(" ".join(lines[first : first + _LINES])[:400], language, name)


#: In the order in which they are trained.
REFERENCE_TASKS: Final = (
    TextTask("verbs", _verbs, {name: name for name in _ACTIONS if name != "weather"}),
    TextTask("foldoc", _foldoc, _FOLDOC),
    TextTask("manuals", _manuals, _SECTIONS),
    TextTask("sayings", _sayings, _SAYINGS),
    TextTask("snippets", _snippets, {name: name for name in (*_SOURCES, "javascript")}),
    TextTask("speech", _speech, _PARTS_OF_SPEECH),
    TextTask("languages", _languages, _LANGUAGES),
)
