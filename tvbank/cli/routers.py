"""The verb ``routers``: which routers a bank holds, and taking one out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import tvbank
from tvbank.cli._app import app
from tvbank.cli._arguments import BankArgument, JsonOption, complete_router
from tvbank.cli._output import human_bytes, print_answer, print_json, say

if TYPE_CHECKING:
    from tvbank.bank.routers import StoredRouter


@app.command("routers")
def routers(
    bank: BankArgument,
    remove: Annotated[
        str | None,
        typer.Option(
            "--remove",
            metavar="NAME",
            help="Take a router out; `tvbank gc` frees its bytes.",
            autocompletion=complete_router,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List a bank's routers, or remove one."""
    opened = tvbank.open(bank)
    if remove is not None:
        opened.remove_router(remove)
        if as_json:
            print_json({"removed": remove})
            return
        say(f"removed router {remove}; `tvbank gc {bank}` frees its bytes")
        return
    stored = [opened.stored_router(name) for name in opened.routers]
    columns = ["router", "tasks", "features at", "neighbours", "stored", "revision", "remarks"]
    rows = [
        [
            router.name,
            str(len(router.tasks)),
            ", ".join(name or "(before the classifier)" for name in router.document.recipe.at),
            str(router.document.neighbours),
            human_bytes(router.stored_bytes),
            router.revision[:12],
            _remarks(router),
        ]
        for router in stored
    ]
    print_answer(as_json, [_facts(router) for router in stored], columns, rows, text=3)


def _facts(router: StoredRouter) -> dict[str, object]:
    document = router.document
    return {
        "router": router.name,
        "tasks": list(router.tasks),
        "missing": list(router.missing),
        "replaced": list(router.replaced),
        "at": list(document.recipe.at),
        "pooling": document.recipe.pooling,
        "width": document.recipe.width,
        "neighbours": document.neighbours,
        "rejects": document.rejection is not None,
        "method": document.method,
        "stored_bytes": router.stored_bytes,
        "revision": router.revision,
    }


def _remarks(router: StoredRouter) -> str:
    remarks = []
    if router.missing:
        remarks.append(f"the bank lacks {', '.join(router.missing)}")
    if router.replaced:
        remarks.append(f"replaced since: {', '.join(router.replaced)}")
    return "; ".join(remarks)
