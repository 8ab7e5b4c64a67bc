"""Python objects that an option names as ``module:name``."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from tvbank._imports import importing_from
from tvbank.errors import UsageError
from tvbank.storage import words_of


def find_named(option: str, name: str, example: str) -> Any:
    """Import an object; for this import alone, modules are looked for in the current folder too.

    Args:
        option: of the command line, for messages.
        name: ``module:name``, where the name may have dots.
        example: of such a name, for messages.

    Raises:
        UsageError: the name has another form, or the import failed.
    """
    module, _, attribute = name.partition(":")
    if not (module and attribute):
        raise UsageError(f"{option} takes MODULE:NAME, for instance {example}; got {name!r}")
    try:
        with importing_from(str(Path.cwd())):
            found: Any = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
    except Exception as error:
        what = f"{type(error).__name__}: {words_of(error)}"
        raise UsageError(f"{option} {name} cannot be imported ({what})") from error
    return found
