"""The pages of the spec: their Python runs, their links lead somewhere, their tables are true."""

import re
import subprocess
import sys

import pytest
from vectors import ROOT

SPEC = ROOT / "spec"
PAGES = sorted(SPEC.rglob("*.md"))
DOCS = sorted((ROOT / "docs").rglob("*.md"))  # their code and links: tests/unit/test_pages.py
COMMANDS = [*PAGES, *DOCS, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_blocks_run(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        exec(compile(block, str(page), "exec"), {"__name__": "page"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]*)(#[^)]*)?\)", page.read_text()):
        path, anchor = target
        if path.startswith("https://"):
            continue
        there = page.parent / path if path else page
        assert there.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor[1:] in slugs, target


@pytest.mark.parametrize("page", COMMANDS, ids=lambda page: page.name)
def test_commands_that_pages_name_exist(page):
    for group, name in re.findall(r"python -m tools\.(bench|soak) ([a-z_]+)", page.read_text()):
        folder = ROOT / "tools" / group
        assert (folder / f"{name}.py").exists() or (folder / name / "__main__.py").exists(), name
    assert not re.findall(r"python tools/\S+|tools\.(?:bench|realtasks)[_.]\w+", page.read_text())


def test_decisions_are_all_listed():
    listed = re.findall(r"\]\((\d{4}-[a-z0-9-]+\.md)\)", (SPEC / "decisions/README.md").read_text())
    assert listed == sorted(path.name for path in (SPEC / "decisions").glob("0*.md"))


def test_hex_dump_is_the_vector():
    dump = re.search(r"```text\n(0{8} .*?)```", (SPEC / "frame.md").read_text(), re.DOTALL)
    assert dump is not None
    rows = [row.split(maxsplit=1)[1] for row in dump[1].splitlines()]
    worked = SPEC / "vectors" / "frames" / "valid" / "worked-example.bin"
    assert bytes.fromhex(" ".join(rows)) == worked.read_bytes()


@pytest.mark.parametrize("which", ["delta", "extras/0"])
def test_zarr_documents_are_the_vectors(which):
    mixed = SPEC / "vectors" / "banks" / "valid" / "mixed" / "tasks" / "lossy"
    (document,) = mixed.glob(f"*/{which}/zarr.json")
    page = (SPEC / "container.md").read_text().replace("\n", "")
    assert document.read_text() in page


def test_committed_vectors_are_what_the_generator_makes():
    command = [sys.executable, "-m", "tools.vectors", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
