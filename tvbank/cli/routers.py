"""The verb ``routers``: which routers a bank holds, and taking one out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import tvbank
from tvbank.cli._app import app
from tvbank.cli._arguments import BankArgument, JsonOption
from tvbank.cli._output import human_bytes, print_json, print_table

if TYPE_CHECKING:
    from tvbank.bank.routers import StoredRouter


@app.command("routers")
def routers(
    bank: BankArgument,
    remove: Annotated[
        str | None,
        typer.Option(
            "--remove", metavar="NAME", help="Take a router out; `tvbank gc` frees its bytes."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List a bank's routers, or remove one."""
    opened = tvbank.open(bank)
    if remove is not None:
        opened.remove_router(remove)
        typer.echo(f"removed router {remove}; `tvbank gc {bank}` frees its bytes")
        return
    stored = [opened.stored_router(name) for name in opened.routers]
    if as_json:
        print_json([_router_facts(each) for each in stored])
        return
    print_table(
        ["router", "tasks", "features at", "neighbours", "stored", "revision", "remarks"],
        [
            [
                each.name,
                str(len(each.tasks)),
                ", ".join(name or "(before the classifier)" for name in each.document.recipe.at),
                str(each.document.neighbours),
                human_bytes(each.stored_bytes),
                each.revision[:12],
                _remarks(each),
            ]
            for each in stored
        ],
        text=3,
    )


def _router_facts(router: StoredRouter) -> dict[str, object]:
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
    found = []
    if router.missing:
        found.append(f"the bank lacks {', '.join(router.missing)}")
    if router.replaced:
        found.append(f"replaced since: {', '.join(router.replaced)}")
    return "; ".join(found)
