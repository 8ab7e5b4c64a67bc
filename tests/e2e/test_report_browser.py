"""The page of a report in headless Chromium: what keys, lists and the button do, and no complaint.

Skipped where playwright or Chromium is not installed; CONTRIBUTING.md says how to run it.
"""

import pytest
import reported

import tvbank
from tools import chromium
from tvbank.reporting import compare
from tvbank.storage import MemoryStorage

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install playwright"
)
CHROMIUM = chromium.find()
if CHROMIUM is None:
    pytest.skip(chromium.NONE, allow_module_level=True)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    report = tvbank.report(
        reported.full_bank(MemoryStorage()), tuned={"cats": reported.fine_tune(1)}
    )
    change = compare(reported.base_model(), reported.fine_tune(1))
    for name, facts in (("bank", report), ("change", change)):
        (folder / f"{name}.html").write_text(facts.html(), "utf-8")
    return folder


@pytest.fixture
def opened(browser, files):
    """Opens a page; at the end nothing was said on its console, and nothing was asked for."""
    said, asked, pages = [], [], []

    def visit(name="bank", **how):
        page = browser.new_page(**how)
        pages.append(page)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message) or dialog.dismiss())
        page.on("request", lambda request: asked.append(request.url))
        page.goto((files / f"{name}.html").as_uri())
        return page

    yield visit
    for page in pages:
        page.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def shown_of(page, group):
    return page.locator(f"figure[data-group={group}]:visible")


def test_lists_choose_what_is_shown(opened):
    page = opened()
    assert shown_of(page, "units").count() == 1
    assert shown_of(page, "units").locator("b").inner_text() == "cats: density."
    lists = page.locator("#choose-units select")
    lists.nth(0).select_option("exact")
    assert shown_of(page, "units").locator("b").inner_text() == "exact: density."
    lists.nth(1).select_option("relative norm")
    assert shown_of(page, "units").locator("b").inner_text() == "exact: relative norm."
    lists.nth(0).select_option("cats")
    lists.nth(1).select_option("error")
    lists.nth(0).select_option("dogs")  # of which the error is not known
    assert shown_of(page, "units").locator("b").inner_text().startswith("dogs: ")
    assert lists.nth(1).input_value() != "error"


def test_arrow_keys_read_every_value(opened):
    page = opened()
    figure = shown_of(page, "units")
    figure.locator("svg").focus()
    said = figure.locator("output")
    cells = figure.locator("tbody tr").nth(0).locator("th, td").all_text_contents()
    assert said.inner_text() == f"{cells[0]}, 0: {cells[1]}"
    page.keyboard.press("ArrowRight")
    assert said.inner_text() == f"{cells[0]}, 1: {cells[2]}"
    page.keyboard.press("ArrowDown")
    below = figure.locator("tbody tr").nth(1).locator("th, td").all_text_contents()
    assert said.inner_text() == f"{below[0]}, 1: {below[2]}"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowUp")  # there is nothing above
    assert said.inner_text() == f"{cells[0]}, 0: {cells[1]}"
    page.keyboard.press("End")
    last = figure.locator("tbody tr").last.locator("th, td").all_text_contents()
    assert said.inner_text() == f"{last[0]}, none: {last[-1]}"
    assert float(figure.locator(".cursor").get_attribute("width")) > 0


def test_the_pointer_reads_what_is_under_it(opened):
    page = opened()
    figure = page.locator("#stored")
    figure.scroll_into_view_if_needed()
    bar = figure.locator("svg rect.bar").nth(1)
    bar.hover()
    row = figure.locator("tbody tr").nth(1).locator("th, td").all_text_contents()
    assert figure.locator("output").inner_text() == f"{row[0]}: {row[1]}"


def test_the_keyboard_reaches_everything(opened):
    page = opened()
    reached = []
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.tagName.toLowerCase()"))
        if reached[-1] == "body":
            break
    assert reached[0] == "a"
    assert page.evaluate("document.querySelector('.skip').textContent") == "To the content"
    assert {"a", "button", "select", "svg", "summary", "div"} <= set(reached)
    summary = page.locator("#stored summary")
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("#stored table").is_visible()


def test_light_and_dark(opened):
    for scheme in ("light", "dark"):
        page = opened(color_scheme=scheme)
        paper = "getComputedStyle(document.body).backgroundColor"
        colours = [page.evaluate(paper)]
        for _ in range(3):
            page.locator("#theme").click()
            colours.append(page.evaluate(paper))
        light, dark = "rgb(255, 255, 255)", "rgb(23, 23, 27)"
        system = light if scheme == "light" else dark
        assert colours == [system, light, dark, system]


@pytest.mark.parametrize("name", ["bank", "change"])
def test_a_phone_shows_it_without_moving_sideways(opened, name):
    page = opened(name, viewport={"width": 360, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("figure:visible").count() > 0


def test_without_its_script_all_pictures_stand_there(browser, files):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((files / "bank.html").as_uri())
    assert page.locator("figure:visible").count() == page.locator("figure").count() > 30
    context.close()


def test_names_run_nothing(opened):
    page = opened()
    assert page.evaluate("document.scripts.length") == 1
    assert page.locator("main script, main img, main iframe").count() == 0
