"""One page of HTML: nothing is fetched, its style, script and pictures are in it.

What comes from a bank is text: every name passes ``text``. The page allows itself no other script
than its own, by digest.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from string import Template

from tvbank.reporting._sections import sections_of
from tvbank.reporting._svg import figure, table, text
from tvbank.reporting.facts import Facts, Report
from tvbank.reporting.figures import Section


def page_of(facts: Facts) -> str:
    """The page of a report on a bank, or on two checkpoints."""
    title = "a bank" if isinstance(facts, Report) else "a fine-tune"
    sections = sections_of(facts)
    script = template("script.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    links = "".join(
        f'<li><a href="#{_id(section)}">{text(section.title)}</a></li>' for section in sections
    )
    return Template(template("page.html")).substitute(
        title=text(f"tvbank report on {title}"),
        digest=digest,
        style=template("style.css"),
        script=script,
        links=links,
        body="\n".join(map(_section, sections)),
        version=text(facts.version),
    )


@cache
def template(name: str) -> str:
    """A file of the folder ``templates``."""
    return (files("tvbank.reporting") / "templates" / name).read_text("utf-8")


def _id(section: Section) -> str:
    return section.title.lower().replace(" ", "-")


def _section(section: Section) -> str:
    lines = "".join(f"<p>{text(line)}</p>" for line in section.lines)
    figures = "".join(map(figure, section.figures))
    tables = "".join(table(t.title, t.columns, t.rows, t.text) for t in section.tables)
    name = _id(section)
    return (
        f'<section id="{name}" aria-labelledby="h-{name}"><h2 id="h-{name}">{text(section.title)}'
        f"</h2>{lines}{figures}{tables}</section>"
    )
