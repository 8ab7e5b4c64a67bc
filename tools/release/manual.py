"""The man page tvbank(1), made of the program's own help."""

from __future__ import annotations

import argparse
import inspect
import re
from pathlib import Path
from typing import Any

from tools import ROOT
from tvbank import __version__
from tvbank.cli._app import load_verbs

#: The page in the repository, which every wheel brings; a test compares it with the help.
PAGE = ROOT / "docs" / "tvbank.1"

_ENVIRONMENT = {
    "NO_COLOR": "Not empty: nothing is printed bold or coloured.",
    "NUMBA_CACHE_DIR": "Where compiled loops are kept from one process to the next.",
    "TVBANK_DEBUG": "Not empty: internal errors show where they arose.",
}
_STATUS = {
    "0": "All went well.",
    "1": "The bank or the data is at fault.",
    "2": "The command line is.",
}


def manual() -> str:
    """The page, in the language of man(7)."""
    program = load_verbs()
    about = "one base model, many fine\\-tunes, each a small compressed task vector in one bank"
    lines = [
        f'.TH TVBANK 1 "" "tvbank {__version__}" "User Commands"',
        ".SH NAME",
        f"tvbank \\- {about}",
        ".SH SYNOPSIS",
        ".B tvbank",
        ".RI [ options ] \\~ verb \\~ bank \\~ ...",
        ".SH OPTIONS",
        *_parameters(program, program.make_context("tvbank", [], resilient_parsing=True)),
        ".SH VERBS",
    ]
    for name, verb in sorted(program.commands.items()):
        if not verb.hidden:
            context = verb.make_context(name, [], resilient_parsing=True)
            usage = " ".join(verb.collect_usage_pieces(context))
            lines += [f".SS tvbank {_text(f'{name} {usage}')}"]
            for number, part in enumerate(_paragraphs(verb.help or "")):
                lines += [".PP"] * bool(number) + [_text(part)]
            lines += _parameters(verb, context)
    for head, rows in (("EXIT STATUS", _STATUS), ("ENVIRONMENT", _ENVIRONMENT)):
        lines.append(f".SH {head}")
        for term, said in rows.items():
            lines += [".TP", f".B {_text(term)}", _text(said)]
    return "\n".join(lines) + "\n"


def _parameters(verb: Any, context: Any) -> list[str]:
    lines = []
    for parameter in verb.get_params(context):
        record = getattr(parameter, "get_help_record", lambda _: None)(context)
        label = record[0] if record else parameter.human_readable_name
        said = record[1] if record else getattr(parameter, "help", None)
        if label:
            lines += [".TP", f".B {_text(label)}", _text(said or "")]
    return lines


def _paragraphs(text: str) -> list[str]:
    clean = inspect.cleandoc(text).replace("\b", "").split("\f")[0]
    return [part for part in re.split(r"\n\s*\n", clean) if part.strip()]


def _text(text: str) -> str:
    """Words on one line, none of which is taken for a request."""
    plain = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{plain}" if plain[:1] in (".", "'") else plain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=PAGE, help="the file (docs/tvbank.1)")
    parser.parse_args().output.write_text(manual())


if __name__ == "__main__":
    main()
