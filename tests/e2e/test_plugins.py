"""Compressors and merge methods of other packages, installed as packages are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import manifests
import pytest

ROOT = Path(__file__).parents[2]

MODULE = '''
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tvbank.compress import Compressor, Difference
from tvbank.merging import MergeMethod
from tvbank.merging.recipes import Parameter, RecipeMethod


@dataclass(frozen=True)
class Largest(Compressor):
    """The largest entries, as they are."""

    share: float
    sign: Literal["both", "positive"] = "both"
    element = "float32"

    def describe(self):
        return {"name": "largest", "share": self.share, "sign": self.sign}

    def accepts(self, base, tuned):
        return "float" in tuned.dtype

    def prepare(self, unit, base, tuned, each=map):
        delta = Difference(unit, base, tuned)
        every = delta.block(0, delta.size)
        order = np.abs(every).argsort()[: delta.size - int(self.share * delta.size)]
        every[order] = 0
        return lambda start, stop: every[start:stop]


@dataclass(frozen=True)
class First(MergeMethod):
    """The base."""

    times: int = 1

    def describe(self):
        return {"name": "first", "times": self.times}

    def plan(self, merge):
        return lambda name, block, frames: block.copy()


class Nearer(RecipeMethod):
    """A share of the way from the base to a model."""

    parameters = (Parameter("share"),)
    least = most = 2

    def merge(self, group):
        base, (other,) = group.base.weights, group.others
        return base + group.settings["share"] * (other.weights - base)
'''


def install(site, name, entries, module=""):
    """What an installer leaves: a module, and a dist-info folder beside it."""
    information = site / f"{name}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(entries)
    (site / f"{name.replace('-', '_')}.py").write_text(module)


@pytest.fixture
def site(tmp_path):
    """A folder on the path with a package of a compressor and a merge method, and a broken one."""
    site = tmp_path / "site"
    own = "[tvbank.compressors]\nlargest = tv_largest:Largest\nfirst-of = tv_largest:First\n"
    own += "[tvbank.merge_methods]\nfirst = tv_largest:First\n"
    own += "[tvbank.recipe_methods]\nnearer = tv_largest:Nearer\n"
    install(site, "tv-largest", own, MODULE)
    install(
        site, "tv-broken", "[tvbank.compressors]\nbroken = tv_broken:Gone\n", "import nowhere\n"
    )
    clash = "[tvbank.compressors]\nlargest-too = tv_clash:Gone\ntswitch = tv_clash:Gone\n"
    install(site, "tv-clash", clash)
    install(site, "tv-clash2", "[tvbank.compressors]\nlargest-too = tv_clash2:Gone\n")
    manifests.write_checkpoints(tmp_path, 2)
    python(tmp_path, "import tvbank; tvbank.create('bank', base='base.safetensors')")
    return tmp_path


def ran(folder, *command):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder / "site"), str(ROOT)])}
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=folder, env=environment, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip


def python(folder, code):
    done = ran(folder, "-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout


def tvbank(folder, *arguments):
    done = ran(folder, "-c", "from tvbank.cli import main; main()", *arguments)
    return done.returncode, done.stdout, done.stderr


def shown(folder, task):
    return json.loads(tvbank(folder, "show", "bank", task, "--json")[1])["compressor"]


WANTED = {"name": "largest", "share": 0.25, "sign": "both"}


def test_the_library_the_command_line_and_a_manifest_use_it(site):
    status, out, error = tvbank(
        site, "add", "bank", "a", "t0.safetensors", "--method", "largest", "--set", "share=0.25"
    )
    assert (status, error) == (0, "")
    assert "largest share=0.25 sign=both" in out
    python(
        site,
        "import tvbank\nfrom tv_largest import Largest\n"
        "tvbank.open('bank').add('b', 't0.safetensors', Largest(0.25))\n",
    )
    task = {"checkpoint": "t0.safetensors", "method": "largest", "options": {"share": 0.25}}
    path = manifests.write(site, {"c": task})
    content = json.loads(path.read_text())
    del content["chunk_length"]
    path.write_text(json.dumps(content))
    status, out, error = tvbank(site, "build", path, "--workers", "1")
    assert (status, error) == (0, "")
    assert [shown(site, name) for name in "abc"] == [WANTED] * 3


def test_a_merge_method_too(site):
    tvbank(site, "add", "bank", "a", "t0.safetensors", "--method", "exact")
    options = ("--method", "first", "--set", "times=3", "--json")
    status, out, error = tvbank(site, "merge", "bank", "a=1", "-o", "out.safetensors", *options)
    assert (status, error) == (0, "")
    assert json.loads(out)["method"] == {"name": "first", "times": 3}


def test_a_method_of_recipes_too(site):
    tvbank(site, "add", "bank", "a", "t0.safetensors", "--method", "exact")
    recipe = site / "recipe.yaml"
    recipe.write_text(
        "merge_method: nearer\nbase_model: base\nmodels: [{model: a}]\nparameters: {share: 1}\n"
    )
    status, _, error = tvbank(site, "merge", "bank", "recipe.yaml", "-o", "out.safetensors")
    assert (status, error) == (0, "")
    recipe.write_text(recipe.read_text().replace("share", "part"))
    status, _, error = tvbank(site, "merge", "bank", "recipe.yaml", "-o", "other.safetensors")
    assert (status, "nearer has no parameter 'part'; it has share" in error) == (2, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["zip"], "must be one of budget, tswitch, exact, flexswitch, broken, first-of, largest"),
        (["broken"], "'broken' of the package tv-broken cannot be loaded (ModuleNotFoundError"),
        (["first-of"], "'first-of' of the package tv-largest is no Compressor"),
        (["largest-too"], "is brought by tv-clash and by tv-clash2: say which, as in tv-clash:lar"),
        (["tv-clash2:largest-too"], "of the package tv-clash2 cannot be loaded"),
        (["tv-clash:tswitch"], "'tswitch' of the package tv-clash has the name of one of tvbank's"),
        (["tv-largest:tswitch"], "must be one of budget, tswitch, exact, flexswitch, broken"),
        (["largest"], "needs a value for share"),
        (["largest", "--set", "share=much"], "--share: Expected `float`, got `str`"),
        (["largest", "--set", "sign=no"], "needs a value for share"),
        (["largest", "--set", "share=1", "--set", "sign=no"], "--sign: Invalid enum value 'no'"),
        (["largest", "--set", "share=1", "--set", "x=1"], "has no option 'x'; it has share, sign"),
        (["largest", "--set", "share=1", "--drop", "0.5"], "has no option 'drop'"),
        (["largest", "--set", "share"], "--set takes KEY=VALUE"),
    ],
)
def test_what_is_wrong_is_said(site, options, words):
    status, out, error = tvbank(site, "add", "bank", "a", "t0.safetensors", "--method", *options)
    assert status in (1, 2)
    assert words in " ".join(error.replace("│", "").split())  # the parser folds its lines
    assert out == ""


@pytest.mark.parametrize("method", ["exact", "tswitch"])
def test_tvbanks_own_are_not_broken_by_it(site, method):
    status, _, error = tvbank(site, "add", "bank", "a", "t0.safetensors", "--method", method)
    assert (status, error) == (0, "")
    assert shown(site, "a")["name"] == method


def test_one_of_two_of_a_name_is_chosen_by_its_package(site):
    options = ("--method", "tv-largest:largest", "--set", "share=0.25")
    status, _, error = tvbank(site, "add", "bank", "a", "t0.safetensors", *options)
    assert (status, error) == (0, "")
    assert shown(site, "a") == WANTED


def test_nothing_of_the_current_folder_is_looked_at(site, tmp_path):
    install(site, "tv-here", "[tvbank.compressors]\nhere = tv_here:Here\n", "raise SystemExit(9)\n")
    status, _, error = tvbank(site, "add", "bank", "a", "t0.safetensors", "--method", "here")
    assert status == 2
    assert "must be one of" in " ".join(error.replace("│", "").split())
