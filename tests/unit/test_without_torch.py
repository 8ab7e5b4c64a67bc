"""Where torch is not installed, banks are read and written; what needs it names the extra.

``python -m tools.release reading`` runs the same in an environment that really lacks it.
"""

import json
import subprocess
import sys
from pathlib import Path

from tvbank._imports import missing_package

CHECK = Path(__file__).parents[2] / "tools" / "release" / "reads.py"


def test_banks_are_read_where_torch_is_blocked():
    command = [sys.executable, str(CHECK), "write", "read", "--block", "torch"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    refused = json.loads(done.stdout)["torch"]
    assert refused["attach"] == (
        "tvbank.switching.attach needs torch, which is not installed: pip install 'tvbank[torch]'"
    )
    assert refused["state_dict"].startswith("giving weights as torch tensors needs torch")


def test_a_file_that_torch_wrote_says_that_torch_is_needed(tmp_path):
    import torch

    torch.save({"w": torch.zeros(2)}, tmp_path / "model.pt")
    script = (
        f"import sys; sys.path.insert(0, {str(CHECK.parent)!r})\n"
        "import reads, tvbank\n"
        "reads.block('torch')\n"
        f"print(reads.run('init', 'bank', '--base', {str(tmp_path / 'model.pt')!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    status, _, error = eval(done.stdout)
    assert status == 1
    assert "model.pt', which torch.save wrote, needs torch, which is not installed" in error
    assert "pip install 'tvbank[torch]'" in error


def test_a_recipe_says_that_torch_is_needed(tmp_path):
    recipe = "merge_method: ties\nbase_model: base\nmodels: [{model: cats}]\n"
    (tmp_path / "recipe.yaml").write_text(recipe)
    script = (
        f"import sys; sys.path.insert(0, {str(CHECK.parent)!r})\n"
        "import reads, numpy, tvbank\n"
        "reads.block('torch')\n"
        "base = {'w': numpy.zeros((2, 2), numpy.float32)}\n"
        "tvbank.create('bank', base=base).add('cats', base)\n"
        "print(reads.run('merge', 'bank', 'recipe.yaml', '-o', 'out.safetensors'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    status, _, error = eval(done.stdout)
    assert status in (1, 2)
    assert "the method of recipes 'ties' needs torch, which is not installed" in error
    assert "pip install 'tvbank[torch]'" in error


def test_other_modules_that_are_missing_are_not_put_down_to_an_extra():
    assert missing_package(ModuleNotFoundError("no", name="nowhere"), "it") is None
    assert missing_package(ModuleNotFoundError("no"), "it") is None
    assert "it needs torch" in str(
        missing_package(ModuleNotFoundError("no", name="torch.nn"), "it")
    )
