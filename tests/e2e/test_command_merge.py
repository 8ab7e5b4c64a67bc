"""``tvbank merge`` by every method."""

import json

import pytest
from safetensors.torch import load_file

import tvbank

WEIGHTS = {"cats": 0.5, "exact": 0.25}


@pytest.mark.parametrize(
    ("options", "method"),
    [
        ([], tvbank.TaskArithmetic()),
        (["--method", "ties"], tvbank.Ties()),
        (
            ["--method", "ties", "--density", "0.5", "--across", "unit"],
            tvbank.Ties(0.5, across="unit"),
        ),
        (["--method", "ties", "--divide-by", "weights"], tvbank.Ties(divide_by="weights")),
        (["--method", "dare"], tvbank.Dare()),
        (["--method", "dare", "--drop", "0.3", "--seed", "-7"], tvbank.Dare(0.3, seed=-7)),
    ],
)
def test_methods_write_what_the_library_merges(shell, options, method):
    out = shell.folder / "merged.safetensors"
    asked = [f"{task}={weight}" for task, weight in WEIGHTS.items()]
    ended = shell("merge", shell.bank, *asked, "-o", out, "--json", *options)
    assert (ended.status, ended.err) == (0, "")
    report = json.loads(ended.out)
    assert report == {
        "output": str(out),
        "bytes": out.stat().st_size,
        "method": method.describe(),
        "weights": WEIGHTS,
    }
    expected = tvbank.merge(tvbank.open(shell.bank), WEIGHTS, base=shell.base, method=method)
    found = load_file(out)
    assert set(found) == set(expected)
    assert all((found[name] == tensor).all() for name, tensor in expected.items())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--density", "0.5"], "--density belongs to --method ties"),
        (["--method", "dare", "--across", "unit"], "--across belongs to --method ties"),
        (["--divide-by", "weights"], "--divide-by belongs to --method ties"),
        (["--method", "ties", "--drop", "0.5"], "--drop belongs to --method dare"),
        (["--method", "ties", "--density", "0"], "density must be greater than 0"),
        (["--method", "dare", "--drop", "1"], "drop must be at least 0 and less than 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(shell, options, words):
    out = shell.folder / "merged.safetensors"
    ended = shell("merge", shell.bank, "cats=1", "-o", out, *options)
    assert ended.status == 2
    assert words in ended.err
    assert not out.exists()
