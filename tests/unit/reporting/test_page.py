"""The page without a browser: every number is in it, no name becomes markup, nothing is fetched."""

import base64
import dataclasses
import hashlib
import re
from html.parser import HTMLParser
from itertools import combinations, pairwise

import pytest
import reported

import tvbank
from tvbank.errors import UsageError
from tvbank.reporting import compare, draw_pictures
from tvbank.reporting._maps import unit_map
from tvbank.reporting._places import place_of
from tvbank.reporting._sections import sections_of
from tvbank.reporting.facts import UnitFacts
from tvbank.reporting.figures import Bars, Heat, shown
from tvbank.storage import MemoryStorage


class Page(HTMLParser):
    """What a page holds: its elements, and the text of its tables by their captions."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.tables, self.text = [], {}, []
        self._rows, self._cell, self._caption = [], None, False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("th", "td", "caption"):
            self._cell = ""

    def handle_data(self, data):
        self.text.append(data)
        if self._cell is not None:
            self._cell += data

    def handle_endtag(self, tag):
        if tag == "caption":
            self.tables.setdefault(self._cell, self._rows)
        if tag in ("th", "td"):
            self._rows[-1].append(self._cell)
        if tag in ("th", "td", "caption"):
            self._cell = None


@pytest.fixture(scope="module")
def report():
    bank = reported.full_bank(MemoryStorage())
    return tvbank.report(bank, tuned={"cats": reported.fine_tune(1)})


@pytest.fixture(scope="module")
def page(report):
    return Page(report.html())


def named(page, tag):
    return [attributes for name, attributes in page.elements if name == tag]


def test_every_number_of_every_picture_stands_in_the_table_behind_it(report, page):
    count = 0
    for section in sections_of(report):
        for picture in section.figures:
            rows = page.tables[tvbank.errors.escaped(picture.title)][1:]
            numbers = [[each] for each in picture.values]
            if isinstance(picture, Heat):
                numbers = picture.values
            expected = [[shown(value, picture.form) for value in row] for row in numbers]
            assert [row[1:] for row in rows] == expected
            assert len(rows) == len(picture.rows)
            count += 1
    assert count > 30
    assert count == len(named(page, "figure")) == len(named(page, "svg"))


def test_tables_have_what_the_report_says(report, page):
    tasks = {row[0]: row for row in page.tables["Tasks"][1:]}
    for task in report.tasks:
        assert tasks[task.name][1] == shown(task.stored_bytes, "bytes")
        assert tasks[task.name][6:] == [shown(task.norm, "number"), shown(task.error, "percent")]
    origin = {row[0]: row for row in page.tables["Where tasks come from"][1:]}
    assert origin["next"][2] == "base → exact → next"
    assert "tswitch" in origin["cats"][1]
    assert origin["cats"][6] == report.tasks[0].revision
    kept = page.tables["Kept whole: heads, buffers, replaced units"][1:]
    assert ["cats", "steps", "buffer", "int64", "scalar"] in [row[:5] for row in kept]
    frames = page.tables["Frames by encoding"][1:]
    assert sum(int(row[3]) for row in frames if row[:2] == ["cats", "masks"]) == sum(
        report.tasks[0].masks.frames.values()
    )
    assert len(page.tables["Routers"]) == 3
    assert page.tables["examples: where examples go."][0][-1] == "rejected"


def test_every_map_of_units_has_a_column_a_layer_and_a_row_a_module(page):
    first = page.tables["cats: density."]
    assert first[0] == ["module \\ layer", "0", "1", "none"]
    names = [row[0] for row in first[1:]]
    assert "model.layers.*.mlp.weight" in names
    assert first[names.index("model.embed.weight") + 1][1:3] == ["-", "-"]


def test_names_are_text(report, page):
    """The one script is the page's own, and its policy allows no other."""
    html = report.html()
    assert len(named(page, "script")) == html.count("<script") == 1
    assert "alert" in html
    assert "\u202e" not in html
    allowed = {"html", "head", "meta", "link", "title", "style", "body", "a", "header", "h1", "h2",
               "button", "nav", "ul", "li", "main", "section", "p", "figure", "figcaption", "b",
               "div", "svg", "text", "path", "rect", "output", "details", "summary", "table",
               "caption", "thead", "tbody", "tr", "th", "td", "footer", "script"}  # fmt: skip
    assert {tag for tag, _ in page.elements} <= allowed
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
    script = re.search("<script>(.*?)</script>", html, re.S)[1]
    assert len(script.encode()) < 30 * 1024
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [m["content"] for m in named(page, "meta") if "http-equiv" in m]
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_nothing_is_fetched(report, page):
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "xlink:href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, value)
    assert "url(" not in report.html()
    assert "@import" not in report.html()


def test_the_page_can_be_read_out(page):
    """Every picture has words and a table, every table a caption and heads, every link a target."""
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for picture in named(page, "svg"):
        assert picture["role"] == "img"
        assert picture["tabindex"] == "0"
        assert len(picture["aria-label"]) > 20
    assert named(page, "html")[0]["lang"] == "en"
    assert len(named(page, "caption")) == len(named(page, "table"))
    assert all(head["scope"] in ("row", "col") for head in named(page, "th"))
    assert all(each["aria-live"] == "polite" for each in named(page, "output"))
    for link in named(page, "a"):
        assert link["href"][1:] in ids
    assert {each["aria-labelledby"] for each in named(page, "section")} <= set(ids)


def test_colours_are_told_apart_by_those_who_see_few(report):
    """Every step of the scale is lighter than the one before, by more than can be missed."""
    style = re.search("<style>(.*?)</style>", report.html(), re.S)[1]
    colours = re.findall(r"\.q\d \{ fill: #(\w{6})", style)
    assert len(colours) == 9

    def lightness(colour):
        parts = (int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4))
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        luminance = sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
        return 116 * luminance ** (1 / 3) - 16

    assert all(lightness(two) - lightness(one) > 5 for one, two in pairwise(colours))


def test_the_page_of_two_checkpoints():
    change = compare(reported.base_model(), reported.fine_tune(1))
    page = Page(change.html())
    assert change.sentence in "".join(page.text)
    rows = page.tables["Largest changes first"][1:]
    assert len(rows) == len(change.units)
    largest = max(change.units, key=lambda unit: unit.change)
    assert rows[0][0] == tvbank.errors.escaped(largest.unit)
    assert rows[0][3] == shown(largest.relative, "percent")
    assert {"Relative change.", "Entries changed.", "Effective rank."} <= set(page.tables)
    assert len(named(page, "script")) == 1


def test_of_hundreds_of_tasks_the_largest_are_drawn_and_the_mean_of_all(report):
    one = report.tasks[0]
    halved = tuple(dataclasses.replace(unit, density=unit.density / 2) for unit in one.units)
    tasks = tuple(
        dataclasses.replace(
            one, name=f"t{n:03}", stored_bytes=1000 + n, units=halved if n % 2 else one.units
        )
        for n in range(100)
    )
    names = [task.name for task in tasks]
    router = next(each for each in report.routers if each.confusion)
    confusion = [[10 * (at == to) for to in range(101)] for at in range(100)]
    confusion[3][7] = 4
    confusion[5][100] = 2
    router = dataclasses.replace(
        router, tasks=tuple(names), confusion=tuple(map(tuple, confusion)), missing=()
    )
    pairs = tuple(
        dataclasses.replace(report.pairs[0], first=a, second=b, cosine=0.5 / (1 + n))
        for n, (a, b) in enumerate(combinations(names[:8], 2))
    )
    many = dataclasses.replace(report, tasks=tasks, routers=(router,), pairs=pairs)
    html = many.html()
    page = Page(html)
    assert "Drawn are the 16 tasks of 100 that take the most bytes" in html
    assert "t099: density." in page.tables
    assert "t083: density." not in page.tables
    mean = page.tables["mean of all 100: density."]
    first = one.units[0]
    assert shown(0.75 * first.density, "percent") in [cell for row in mean for cell in row]
    assert len(page.tables["Tasks"]) == 101
    title = "Confused most, of routers of more than 64 tasks"
    assert page.tables[title][1:] == [
        [router.name, "t003", "t007", "4", "14"], [router.name, "t005", "rejected", "2", "12"]
    ]  # fmt: skip
    closest = page.tables["The closest pairs, by the cosine"][1:]
    assert len(closest) == 20
    assert closest[0][:2] == ["t000", "t001"]
    assert closest[0][-1] == "0.5"
    # A page of a hundred tasks is no more than twice that of sixteen, but for its tables of tasks.
    fewer = dataclasses.replace(many, tasks=tasks[-16:], routers=())
    assert len(html) < 2 * len(fewer.html())


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_pictures_for_papers(report, tmp_path, kind):
    change = compare(reported.base_model(), reported.fine_tune(1))
    files = draw_pictures(change, tmp_path / "deep" / "er", kind)
    assert [file.suffix for file in files] == [f".{kind}"] * 4
    assert all(file.stat().st_size > 1000 for file in files)
    before = files[0].read_bytes()
    draw_pictures(change, tmp_path / "deep" / "er", kind)
    assert files[0].read_bytes() == before


def test_pictures_of_a_bank_are_those_of_its_page(tmp_path):
    bank = tvbank.create(MemoryStorage(), base=reported.base_model())
    for seed in (1, 2):
        bank.add(f"t{seed}", reported.fine_tune(seed), tvbank.TSwitch(drop=0.5))
    report = tvbank.report(bank)
    files = draw_pictures(report, tmp_path)
    keys = [each.key for section in sections_of(report) for each in section.figures]
    assert [file.stem for file in files] == keys
    assert len(set(keys)) == len(keys)
    drawn = (tmp_path / "stored.svg").read_text()
    assert shown(report.tasks[0].stored_bytes, "bytes") in drawn


def test_pictures_that_cannot_be_written(report, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="folder"):
        draw_pictures(report, tmp_path / "file")
    with pytest.raises(UsageError, match="svg"):
        draw_pictures(report, tmp_path, "gif")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("model.layers.12.mlp.w.weight", (12, "model.layers.*.mlp.w.weight")),
        ("h.3.experts.7.w", (3, "h.*.experts.7.w")),
        ("embed.weight", (None, "embed.weight")),
        ("q4.weight", (None, "q4.weight")),
        ("0", (0, "*")),
        ("", (None, "")),
        ("a.\u0663.b", (None, "a.\u0663.b")),
    ],
)
def test_places(name, place):
    assert place_of(name) == place


def test_a_map_leaves_out_what_all_names_begin_with():
    units = [
        UnitFacts(name, (1,), *place_of(name), 1, 1.0, 1.0)
        for name in ("m.l.0.a.w", "m.l.1.a.w", "m.l.0.b.w", "m.embed")
    ]
    drawn = unit_map("k", "T.", "N.", [(unit, 1.0) for unit in units], "number")
    assert drawn.rows == ["l.*.a.w", "l.*.b.w", "embed"]
    assert drawn.columns == ["0", "1", "none"]
    assert drawn.values == [[1, 1, None], [1, None, None], [None, None, 1]]
    assert "'m.'" in drawn.note
    assert unit_map("k", "T.", "N.", [(unit, None) for unit in units], "number") is None


def test_scales():
    def heat(values, **how):
        return Heat("k", "T", "N", "r", "c", ["a"], ["b"] * len(values), [values], **how)

    assert heat([1.0, None, 2.0]).scale == (1, 2, False)
    assert heat([0.0, 1e-3, 1.0]).scale == (1e-3, 1, True)
    assert heat([1e-3, 1.0]).shade(1.0) == 1
    assert heat([0.0, 1e-3, 1.0]).shade(0.0) == 0
    assert heat([-1.0, 1.0]).scale == (-1, 1, False)
    assert heat([0.4, 0.6], bounds=(0, 1)).scale == (0, 1, False)
    assert heat([None]).scale == (0, 0, False)
    assert heat([3.0]).shade(3.0) == 0
    assert Bars("k", "T", "N", "r", [], []).rows == []


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (None, "number", "-"), (0.0, "percent", "0 %"), (0.1234, "percent", "12.3 %"),
        (1536, "bytes", "1.5 KiB"), (12, "bytes", "12 B"), (3 * 2**40, "bytes", "3 TiB"),
        (1234567, "count", "1,234,567"), (1e-9, "number", "1.00e-09"),
        (123456.0, "number", "123,456"),
    ],
)  # fmt: skip
def test_numbers(value, form, text):
    assert shown(value, form) == text
