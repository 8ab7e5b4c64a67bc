"""Every Python block of the README runs, in order, in an empty folder."""

import re
import runpy
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_readme_blocks_run(tmp_path, monkeypatch):
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 3
    monkeypatch.chdir(tmp_path)
    (tmp_path / "blocks.py").write_text("\n".join(blocks))
    names = runpy.run_path("blocks.py")
    assert (tmp_path / "cats.safetensors").exists()
    assert set(names["state"]) == {"encoder.weight"}


def test_readme_opens_with_the_two_commands():
    commands = re.findall(r"^```sh\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    assert commands[0] == "pip install -c tools/constraints.txt '.[demo]' && tvbank demo\n"
    assert commands[1] == "pip install -c tools/constraints.txt -e '.[test]' && pytest\n"
