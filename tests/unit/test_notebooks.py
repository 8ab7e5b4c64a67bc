"""What a notebook shows of a bank, a task, a switch, a router, and of how far work has come."""

import sys
import types
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

import tvbank
from tvbank._shown import ROWS, html_table


class Reader(HTMLParser):
    """The text of each cell; fails for tags that do not close."""

    def __init__(self, html):
        super().__init__()
        self.open, self.cells, self.tags = [], [], set()
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag != "br":
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


@pytest.fixture
def bank(tmp_path):
    base = {"weight": torch.zeros(4, 4), "bias": torch.zeros(4)}
    made = tvbank.create(tmp_path / "<script>", base=base)
    made.add("cats", {name: value + 1 for name, value in base.items()})
    made.add("step", {name: value + 2 for name, value in base.items()}, tvbank.Exact())
    return made


def test_a_bank_lists_its_tasks(bank):
    html = bank._repr_html_()
    read = Reader(html)
    assert read.cells[0] == "task"
    assert {"cats", "step"} < set(read.cells)
    assert "script" not in read.tags
    assert "&lt;script&gt;" in html


def test_a_task_lists_its_units(bank):
    shapes = [(unit.name, "x".join(map(str, unit.shape))) for unit in bank.layout.units]
    read = Reader(bank["cats"]._repr_html_())
    assert read.cells == ["unit", "shape", *(text for row in shapes for text in row)]


def test_a_switch_says_what_the_model_is(bank):
    model = torch.nn.Linear(4, 4)
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)
    switch = tvbank.attach(model, bank)
    assert "active: the base" in switch._repr_html_()
    switch.to("cats")
    assert "active: cats" in switch._repr_html_()
    assert "cats" in Reader(switch._repr_html_()).cells
    switch.to({"cats": 0.5})
    assert "active: cats=0.5" in switch._repr_html_()
    switch.close()


def test_a_router_lists_its_tasks():
    rng = np.random.default_rng(0)
    examples = {name: rng.standard_normal((20, 3)) + at for at, name in enumerate(("a&b", "c"))}
    router = tvbank.Router.fit(examples, neighbours=3)
    read = Reader(router._repr_html_())
    assert read.cells == ["task", "keys", "a&b", "20", "c", "20"]


def test_long_tables_are_cut_and_controls_are_shown():
    html = html_table("t\x1b[1m", {}, ["n"], [[n] for n in range(ROWS + 3)])
    assert len(Reader(html).cells) == ROWS + 1
    assert "and 3 more" in html
    assert "\x1b" not in html


@pytest.fixture
def cell(monkeypatch):
    """What a notebook's cell shows, one text a change."""
    shown = []

    class Shown:
        def update(self, html):
            shown.append(html)

    def display(html, display_id):
        assert display_id
        shown.append(html)
        return Shown()

    module = types.ModuleType("IPython.display")
    module.HTML, module.display = str, display
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    return shown


def test_a_bar_in_a_notebook_is_a_row_of_the_cell_and_gone_at_the_end(cell, bank):
    with tvbank.Bar("adding <cats>") as bar:
        bank.add("more", {"weight": torch.ones(4, 4), "bias": torch.ones(4)}, progress=bar)
    *during, last = cell
    assert "adding &lt;cats&gt;" in during[-1]
    assert "80 of 80 bytes" in during[-1]
    assert "<progress" in during[-1]
    assert last == ""


def test_a_bar_in_a_notebook_without_work_shows_nothing(cell):
    with tvbank.Bar("nothing"):
        pass
    assert cell == []
