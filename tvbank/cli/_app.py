"""The program: its verbs, its exit status, and one clear sentence for every error."""

from __future__ import annotations

import importlib
import io
import logging
import os
import sys
import warnings
from typing import Any, NoReturn

import typer
import typer.core
import typer.main

from tvbank._imports import shut_out_current_folder
from tvbank.cli._output import say, show_log
from tvbank.errors import InvalidNameError, TvbankError, UsageError

AT_FAULT = 1
USAGE = 2
_INTERRUPTED = 130
_DEBUG = "TVBANK_DEBUG"

#: What typer raises for arguments that it does not understand.
_COMPLAINT: Any = typer.BadParameter.__base__


class _Verbs(typer.core.TyperGroup):
    """The program's verbs, whose complaints about arguments quote no password."""

    def invoke(self, ctx: Any) -> Any:
        """Do what the arguments say."""
        try:
            return super().invoke(ctx)
        except _COMPLAINT as error:
            from tvbank.storage import redact

            error.message = redact(error.message)
            raise


app = typer.Typer(
    cls=_Verbs,
    name="tvbank",
    help="One base model, many fine-tunes: each a small compressed task vector in one bank.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from tvbank import __version__

        typer.echo(f"tvbank {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
    verbose: int = typer.Option(
        0,
        "--verbose",
        "-v",
        count=True,
        show_default=False,
        metavar="",
        help="Before the verb: say on the standard error what is done; -vv: every request, too.",
    ),
) -> None:
    """One base model, many fine-tunes: each a small compressed task vector in one bank."""
    if verbose:
        show_log(logging.INFO if verbose == 1 else logging.DEBUG)


def load_verbs() -> Any:
    """Import every verb; the whole program, as click's tree of commands."""
    for verbs in (
        "building", "build", "copying", "inspecting", "reading", "repair", "report", "routers",
        "weights", "updates", "sweep", "demo",
    ):  # fmt: skip
        importlib.import_module(f"tvbank.cli.{verbs}")
    return typer.main.get_command(app)


def main() -> NoReturn:
    """Run the program and exit: 0, 1 (bank or data at fault) or 2 (usage)."""
    shut_out_current_folder()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack the letters of a name
            stream.reconfigure(errors="backslashreplace")
    warnings.showwarning = _warn
    load_verbs()
    try:
        app()
        sys.exit(0)
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:  # typer says nothing where it is interrupted
            _fail("interrupted; what was published before stays", _INTERRUPTED)
        raise
    except TvbankError as error:
        _fail(str(error), USAGE if isinstance(error, UsageError | InvalidNameError) else AT_FAULT)
    except BrokenPipeError:  # the reader of our output has gone: nothing to report to anyone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(AT_FAULT)
    except OSError as error:  # those of the bank and of checkpoints are TvbankErrors
        _fail(f"the system refuses: {error.strerror or error}", AT_FAULT)
    except Exception as error:
        if os.environ.get(_DEBUG):
            raise
        from tvbank.storage import words_of

        what = f"{type(error).__name__}: {words_of(error)}"
        _fail(
            f"internal error: {what} (set {_DEBUG}=1 for details, and please report it)", AT_FAULT
        )


def _warn(message: Warning | str, *_where: object, **_more: object) -> None:
    """Show a warning as errors are shown: one line on standard error, without the code's place."""
    say(f"tvbank: {message}", err=True)


def _fail(message: str, status: int) -> NoReturn:
    say(f"tvbank: {message}", err=True)
    sys.exit(status)
