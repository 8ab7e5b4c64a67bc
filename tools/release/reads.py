"""What works where torch is not installed: run by a Python whose environment lacks it.

Imports nothing but the standard library, numpy and tvbank. Prints JSON: what was read.
"""

import argparse
import contextlib
import io
import json
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import tvbank
from tvbank.cli import main


def block(package: str) -> None:
    """Refuse imports of a package, as if it were not installed."""

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name.partition(".")[0] == package:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Finder())


def run(*arguments: str) -> tuple[int, str, str]:
    """The command line in this process: exit status, output, errors."""
    sys.argv = ["tvbank", *arguments]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0), out.getvalue(), err.getvalue()
    raise AssertionError("the command line does not return")


def check(folder: Path) -> dict[str, object]:
    """Write, list, show, read, export and verify a bank, and ask for what needs torch."""
    rng = np.random.default_rng(0)
    base = {"a.weight": rng.standard_normal((300, 200)).astype(np.float32)}
    tuned = {
        "a.weight": base["a.weight"] + 0.01 * rng.standard_normal((300, 200)).astype(np.float32),
        "head.bias": np.ones(3, np.float32),
    }
    place, restored = str(folder / "bank"), str(folder / "restored.safetensors")
    bank = tvbank.create(place, base=base)
    bank.add("small", tuned)
    bank.add("whole", tuned, compressor=tvbank.Exact())
    task = tvbank.open(place)["small"]
    np.testing.assert_array_equal(task.extras["head.bias"], tuned["head.bias"])
    dense, (positions, values) = task["a.weight"].to_dense(), task["a.weight"].to_sparse()
    assert 0 < np.count_nonzero(dense) == positions.size < dense.size
    np.testing.assert_array_equal(dense.reshape(-1)[positions], values)
    tvbank.export(bank, "whole", out=restored)
    from safetensors.numpy import load_file

    for name, weights in load_file(restored).items():
        np.testing.assert_array_equal(weights.view(np.uint32), tuned[name].view(np.uint32))
    verbs = (["ls"], ["ls", "--json"], ["show"], ["show", "whole"], ["verify"], ["routers"])
    for verb, *rest in verbs:
        status, out, err = run(verb, place, *rest)
        assert (status, err) == (0, ""), (verb, status, err)
        assert out
    asked = {
        "attach": lambda: tvbank.attach(None, bank),
        "AutoSwitch": lambda: tvbank.AutoSwitch,
        "FlexSwitch": lambda: tvbank.FlexSwitch,
        "features": lambda: tvbank.routing.features,
        "state_dict": lambda: bank.state_dict("whole", base=base),
        "merge": lambda: tvbank.merge(bank, {"small": 1.0}, base=base),
        "patches": lambda: tvbank.patches,
    }
    refused = {}
    for name, ask in asked.items():
        try:
            ask()
        except tvbank.errors.MissingPackageError as error:
            refused[name] = str(error)
    assert refused.keys() == asked.keys(), asked.keys() - refused.keys()
    assert all("pip install 'tvbank[torch]'" in text for text in refused.values()), refused
    assert "torch" not in sys.modules
    return {"tvbank": tvbank.__version__, "file": tvbank.__file__, "refused": refused}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--block", action="store_true", help="refuse imports of torch")
    if parser.parse_args().block:
        block("torch")
    else:
        assert find_spec("torch") is None, "torch is installed here: give --block"
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(check(Path(folder)), indent=2))
