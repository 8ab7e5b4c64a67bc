"""The pages of docs/ and the README: their code runs as written, and prints what they show."""

import contextlib
import json
import re
from pathlib import Path
from unittest import mock

import pytest
import servers
from hub import TOKEN, Hub

import tvbank
from tools.docs.blocks import BlockError, run_page
from tools.docs.build import prepare
from tools.docs.codes import reason_codes, refused_with
from tools.docs.curve import PICTURE, picture
from tools.docs.llms import flat, navigation
from tools.docs.reference import exported

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
#: Real models, up to twenty minutes: .ci/run runs it, with few steps of training.
TUTORIAL = DOCS / "tutorial.md"
PAGES = [
    *(page for page in sorted(DOCS.rglob("*.md")) if DOCS / "measured" not in page.parents),
    ROOT / "README.md",
]


#: Warnings of transformers, peft and the hub's library about themselves.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning",
    "ignore:Use 'content=:DeprecationWarning",
)


@contextlib.contextmanager
def services(page, folder):
    """The servers that a page talks to, on this machine; what stands for their addresses."""
    text = page.read_text()
    with contextlib.ExitStack() as stack:
        instead, environment = {}, {}
        if "s3://" in text:
            environment |= servers.s3_environment(stack.enter_context(servers.s3_server()))
        if "hf://" in text:
            hub = stack.enter_context(Hub())
            environment |= {
                "HF_ENDPOINT": hub.url,
                "HF_TOKEN": TOKEN,
                "HF_HOME": str(folder / "hf"),
                "HF_HUB_OFFLINE": "0",  # which tests that make models set
            }
            for name, value in (("HF_HUB_DISABLE_XET", True), ("HF_HUB_OFFLINE", False)):
                stack.enter_context(mock.patch(f"huggingface_hub.constants.{name}", value))
        if "https://models.example.org" in text:
            server = stack.enter_context(servers.FileServer(folder))
            instead["https://models.example.org"] = server.url
        stack.enter_context(servers.environment(environment))
        yield instead


def named(page):
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if page != TUTORIAL], ids=named)
def test_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    with services(page, tmp_path) as instead:
        run_page(page, instead=instead)


def test_a_page_that_prints_something_else_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n```python\nprint(1)\n```\n\n```text\n2\n```\n")
    with pytest.raises(BlockError, match=r"page.md, block at line 4 shows"):
        run_page(page)
    page.write_text("```sh\ntvbank ls nowhere\n```\n")
    with pytest.raises(BlockError, match="exit status 1\ntvbank: "):
        run_page(page)
    page.write_text("```sh\ntvbank ls nowhere\n```\n\n```text\ntvbank: nowhere is not …\n```\n")
    run_page(page)
    page.write_text("*Not run by the tests: no reason.*\n\n```sh\nexit 3\n```\n")
    run_page(page)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_code_stands_in_blocks_that_are_run(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert not re.findall(r"^\n {4}\S.*", text, re.MULTILINE)
    assert not re.findall(r"^```(?:bash|shell|console|pycon)", page.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The pages of the site, as they are handed to what builds it."""
    out = tmp_path_factory.mktemp("site")
    prepare(out)
    return out


def test_links_lead_somewhere(site):
    for page in site.rglob("*.md"):
        text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", text):
            if "://" in target:
                continue
            there = page.parent / target if target else page
            assert there.is_file(), (page, target)
            if anchor and there.suffix == ".md" and f"::: {anchor}\n" not in there.read_text():
                headings = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
                slugs = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
                assert anchor in slugs, (page, target, anchor)


def test_every_page_is_in_the_navigation(site):
    listed = [page for entry in navigation() for part in entry.items() for _, page in flat(*part)]
    assert len(listed) == len(set(listed))
    pages = {page.relative_to(site).as_posix() for page in site.rglob("*.md")}
    records = {page for page in pages if re.match(r"spec/decisions/\d", page)}
    assert pages - records == set(listed)
    listing = (site / "llms.txt").read_text()
    assert all(f"]({page})" in listing for page in listed)


def test_the_reference_has_every_public_name(site):
    names = [name for group in exported().values() for name in group]
    apart = {"Bar", "TvbankError", "__version__", "errors", "routing"}
    assert sorted([*names, *apart]) == sorted(tvbank.__all__)
    text = "".join(page.read_text() for page in (site / "reference").glob("*.md"))
    assert all(text.count(f"::: tvbank.{name}\n") == 1 for name in names)
    verbs = set(re.findall(r"^## tvbank (\S+)$", text, re.MULTILINE))
    assert {"add", "build", "follow", "sweep", "verify"} < verbs


def test_every_code_that_a_vector_shows_is_explained(site):
    shown = set()
    for kind in ("banks", "frames"):
        index = ROOT / "spec" / "vectors" / kind / "invalid" / "index.json"
        shown |= {vector["reason"] for vector in json.loads(index.read_text())["vectors"]}
    assert shown <= set(reason_codes())
    assert all(refused_with(code) for code in shown)
    page = (site / "errors" / "codes.md").read_text()
    assert all(f"\n### {code}\n" in page for code in reason_codes())
    assert all(f"| `{name}` |" in page for name in tvbank.errors.__all__)


def test_the_picture_is_drawn_from_what_was_measured():
    assert PICTURE.read_text() == picture()


def test_readme_opens_with_the_two_commands():
    text = (ROOT / "README.md").read_text()
    commands = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert commands[0] == "pip install -c tools/constraints.txt '.[demo]' && tvbank demo\n"
    assert commands[1] == "pip install -c tools/constraints.txt -e '.[test]' && pytest\n"
