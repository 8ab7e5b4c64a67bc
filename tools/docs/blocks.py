"""The code blocks of a page, run one after another in one folder and one namespace.

- ``python`` and ``py`` blocks run in this process; of ``sh`` blocks the commands of ``tvbank``,
  too, unless real ones are asked for, and all else in bash.
- A ``text`` block right after one is what it printed, ``…`` standing for anything; where it shows
  an error of the program (``tvbank: …``), the command must fail. One with a title is an example
  of what may be printed.
- What installs something runs with real commands only.
- A line ``*Not run by the tests: why.*`` before a block says that it is not run, on the page, too.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import shlex
import subprocess
import sys
import types
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NOT_RUN = re.compile(r"^\*Not run by the tests: (.+)\*$")
_OPERATORS = re.compile(r"[|;&<>$`*(){}]")
RUN = ("python", "py", "sh")


class BlockError(AssertionError):
    """A block failed, or printed something else than its page shows; says where."""


@dataclass(frozen=True)
class Block:
    """One block of code.

    Attributes:
        page: whose it is.
        line: of the page on which its code begins, from 1.
        language: as the page says it.
        text: the code.
        shown: what the page says that it prints, if it does.
        reason: why it is not run, if it is not.
    """

    page: Path
    line: int
    language: str
    text: str
    shown: str | None
    reason: str | None


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page that are code, in order."""
    text = page.read_text()
    found = list(_BLOCK.finditer(text))
    blocks = []
    for match, after in zip(found, [*found[1:], None], strict=False):
        if match[1] not in RUN:
            continue
        before = text[: match.start()]
        last = before.rstrip().rsplit("\n", 1)[-1]
        reason = _NOT_RUN.match(last)
        shown = None
        if (
            after
            and after[1] == "text"
            and not after[2]
            and not text[match.end() : after.start()].strip()
        ):
            shown = after[3]
        line = before.count("\n") + 2
        blocks.append(Block(page, line, match[1], match[3], shown, reason and reason[1]))
    return blocks


def run_page(page: Path, *, instead: Mapping[str, str] | None = None, real: bool = False) -> None:
    """Run the blocks of a page in the current folder.

    Args:
        page: a Markdown file.
        instead: texts in its code, and what stands for them here: addresses of test servers.
        real: run ``tvbank`` as a process of its own, as a reader of the page does.

    Raises:
        BlockError: the first block that failed or that prints something else.
    """
    module = types.ModuleType("__page__")  # where classes of the page say that they are defined
    sys.modules[module.__name__] = module
    with _own_logging():
        _run_blocks(page, vars(module), instead or {}, real)


@contextlib.contextmanager
def _own_logging() -> Iterator[None]:
    """What a page sets of logging is undone after it."""
    loggers = [logging.getLogger(), logging.getLogger("tvbank")]
    before = [(logger.level, list(logger.handlers)) for logger in loggers]
    try:
        yield
    finally:
        for logger, (level, handlers) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.handlers = handlers


def _run_blocks(page: Path, names: dict[str, Any], instead: Mapping[str, str], real: bool) -> None:
    for block in blocks_of(page):
        if block.reason is not None or (not real and block.text.startswith("pip install ")):
            continue
        text = block.text
        for old, new in instead.items():
            text = text.replace(old, new)
        try:
            printed = _shell(text, block, real) if block.language == "sh" else _python(
                text, block, names
            )  # fmt: skip
        except BlockError:
            raise
        except BaseException as error:
            where = f"{block.page.name}, block at line {block.line}"
            raise BlockError(f"{where}: {type(error).__name__}: {error}") from error
        for old, new in instead.items():
            printed = printed.replace(new, old)
        if real:
            print(text + "\n" + printed, flush=True)
        if block.shown is not None and not _fits(printed, block.shown):
            raise BlockError(
                f"{block.page.name}, block at line {block.line} shows\n{block.shown}\n"
                f"and printed\n{printed}"
            )


def _python(text: str, block: Block, names: dict[str, Any]) -> str:
    code = compile("\n" * (block.line - 1) + text, str(block.page), "exec")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, names)
    return printed.getvalue()


def _shell(text: str, block: Block, real: bool) -> str:
    """Run the lines of a block; what they printed, errors included."""
    printed, status = "", 0
    for script in [text] if real else _scripts(text):
        ours = not real and _is_ours(script)
        status, out = _tvbank(shlex.split(script, comments=True)) if ours else _bash(script)
        printed += out
        if status:
            break
    failing = block.shown is not None and re.search(r"^tvbank: ", block.shown, re.MULTILINE)
    if bool(status) != bool(failing):
        where = f"{block.page.name}, block at line {block.line}"
        raise BlockError(f"{where}: exit status {status}\n{printed}")
    return printed


def _scripts(text: str) -> list[str]:
    """The commands of a block: each of ours alone, what stands between them together."""
    scripts, other, ending = [], "", ""
    for line in text.replace("\\\n", " ").splitlines(keepends=True):
        if not ending and _is_ours(line):
            scripts += [other, line]
            other = ""
        elif line.strip() and not line.startswith("#"):
            other += line
            here = re.search(r"<<'?(\w+)", line)
            ending = here[1] if here else "" if line.strip() == ending else ending
    return [script for script in [*scripts, other] if script]


def _is_ours(line: str) -> bool:
    unquoted = re.sub(r"'[^']*'|\"[^\"$`]*\"", "", line.split(" #")[0])
    return line.startswith("tvbank ") and not _OPERATORS.search(unquoted)


def _bash(script: str) -> tuple[int, str]:
    scripts = os.path.dirname(sys.executable)
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    return ended.returncode, ended.stdout


def _tvbank(words: list[str]) -> tuple[int, str]:
    """Run the program in this process; its exit status and what it printed."""
    from tvbank.cli import main

    before, shown = sys.argv, warnings.showwarning
    sys.argv = words
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            main()
    except SystemExit as ended:
        return int(ended.code or 0), printed.getvalue()
    finally:
        sys.argv, warnings.showwarning = before, shown


def _fits(printed: str, shown: str) -> bool:
    """Whether a text is what is shown, white space apart, ``…`` standing for anything."""
    words = " ".join(shown.split())
    pattern = "".join(".*" if part == "…" else re.escape(part) for part in re.split("(…)", words))
    return re.fullmatch(pattern, " ".join(printed.split()), re.DOTALL) is not None
