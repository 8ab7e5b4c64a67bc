"""What works where only some of what tvbank can use is installed: run by a Python that lacks it.

Imports nothing but the standard library, numpy and tvbank. ``write`` makes a bank, for which numba
is needed; ``read`` reads one, for which nothing is. Prints JSON: what was refused.
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


def is_there(package: str) -> bool:
    """Whether a package can be imported."""
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


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


def paths(folder: Path, *names: str) -> list[str]:
    """Files of a folder."""
    return [str(folder / name) for name in names]


def write(folder: Path) -> None:
    """Make a bank of a lossy and an exact task, beside what it was made of; then an update."""
    rng = np.random.default_rng(0)
    base = {"a.weight": rng.standard_normal((40, 50)).astype(np.float32)}
    tuned = {
        "a.weight": base["a.weight"] + 0.01 * rng.standard_normal((40, 50)).astype(np.float32),
        "head.bias": np.ones(3, np.float32),
    }
    bank = tvbank.create(str(folder / "bank"), base=base)
    bank.add("small", tuned)
    bank.add("whole", tuned, compressor=tvbank.Exact(standalone=True))
    bank.add("given", tuned, compressor=tvbank.Exact())
    from safetensors.numpy import save_file

    save_file(base, folder / "base.safetensors")
    save_file(tuned, folder / "tuned.safetensors")
    dense = {"small": bank["small"]["a.weight"].to_dense()}
    save_file(dense, folder / "dense.safetensors")
    old, new, update = (
        str(folder / name) for name in ("base.safetensors", "tuned.safetensors", "update.zip")
    )
    assert run("diff", old, new, "-o", update)[0] == 0


def read(folder: Path) -> None:
    """List, show, read, export, verify and copy that bank, and apply the update."""
    from safetensors.numpy import load_file

    place, old, update = paths(folder, "bank", "base.safetensors", "update.zip")
    base, tuned = load_file(old), load_file(folder / "tuned.safetensors")
    bank = tvbank.open(place)
    task = bank["small"]
    np.testing.assert_array_equal(task.extras["head.bias"], tuned["head.bias"])
    dense, (positions, values) = task["a.weight"].to_dense(), task["a.weight"].to_sparse()
    np.testing.assert_array_equal(dense, load_file(folder / "dense.safetensors")["small"])
    assert 0 < np.count_nonzero(dense) == positions.size < dense.size
    np.testing.assert_array_equal(dense.reshape(-1)[positions], values)
    with tempfile.TemporaryDirectory() as other:
        for name in ("whole", "given"):
            restored = str(Path(other) / f"{name}.safetensors")
            tvbank.export(bank, name, base=base, out=restored)
            assert_equal(load_file(restored), tuned)
        new, copy, zipped = (
            str(Path(other) / name) for name in ("new.safetensors", "copy", "b.zip")
        )
        verbs = (
            ["ls", place], ["ls", place, "--json"], ["show", place], ["show", place, "whole"],
            ["verify", place, "--base", old, "--prove"], ["routers", place], ["inspect", old],
            ["cp", place, copy, "whole"], ["pack", place, zipped], ["verify", zipped],
            ["patch", old, update, "-o", new],
        )  # fmt: skip
        for verb in verbs:
            status, out, err = run(*verb)
            assert (status, err) == (0, ""), (verb, status, err)
            assert out, verb
        assert_equal(load_file(new), tuned)


def assert_equal(weights: dict, wanted: dict) -> None:
    """Compare checkpoints bit for bit."""
    assert weights.keys() == wanted.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(array.view(np.uint32), wanted[name].view(np.uint32))


def refused(asked: dict, extra: str) -> dict[str, str]:
    """What each function says, all of which need an extra of tvbank."""
    said = {}
    for name, ask in asked.items():
        try:
            ask()
        except tvbank.errors.MissingPackageError as error:
            said[name] = str(error)
    assert said.keys() == asked.keys(), asked.keys() - said.keys()
    assert all(f"pip install 'tvbank[{extra}]'" in text for text in said.values()), said
    return said


def ask_for_torch(folder: Path) -> dict[str, str]:
    """Ask for all that needs torch."""
    bank, base = tvbank.open(str(folder / "bank")), {"a.weight": np.zeros((40, 50), np.float32)}
    asked = {
        "attach": lambda: tvbank.attach(None, bank),
        "AutoSwitch": lambda: tvbank.AutoSwitch,
        "FlexSwitch": lambda: tvbank.FlexSwitch,
        "features": lambda: tvbank.routing.features,
        "state_dict": lambda: bank.state_dict("whole", base=base),
        "merge": lambda: tvbank.merge(bank, {"small": 1.0}, base=base),
        "patches": lambda: tvbank.patches,
    }
    assert "torch" not in sys.modules
    return refused(asked, "torch")


def ask_for_numba(folder: Path) -> dict[str, str]:
    """Ask for what needs compiled loops; the bank stays as it was."""
    from safetensors.numpy import load_file

    place, old, new = (
        str(folder / name) for name in ("bank", "base.safetensors", "tuned.safetensors")
    )
    bank, base, tuned = tvbank.open(place), load_file(old), load_file(new)
    asked = {
        "add": lambda: bank.add("more", tuned, base=base),
        "add exactly": lambda: bank.add("more", tuned, base=base, compressor=tvbank.Exact()),
    }
    said = refused(asked, "fast")
    for verb in (
        ["merge", place, "small=1", "--base", old, "-o", "made.safetensors"],
        ["diff", old, new, "-o", "made.zip"],
    ):
        with tempfile.TemporaryDirectory() as other:
            status, _, err = run(*verb[:-1], str(Path(other) / verb[-1]))
            assert status == 1, (verb, status, err)
            assert "pip install 'tvbank[fast]'" in err, err
            assert not list(Path(other).iterdir())
            said[verb[0]] = err
    assert list(tvbank.open(place)) == list(bank) == ["given", "small", "whole"]
    assert not {"numba", "llvmlite"} & sys.modules.keys()
    return said


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="+", choices=["write", "read"])
    parser.add_argument("--folder", type=Path, help="where the bank is, or is made")
    parser.add_argument("--block", nargs="*", default=[], help="refuse imports of these packages")
    asked = parser.parse_args()
    for package in asked.block:
        block(package)
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        for what in asked.what:
            (write if what == "write" else read)(folder)
        found = {"tvbank": tvbank.__version__, "file": tvbank.__file__, "torch": {}, "numba": {}}
        if not is_there("torch"):
            found["torch"] = ask_for_torch(folder)
        if not is_there("numba"):
            found["numba"] = ask_for_numba(folder)
        print(json.dumps(found, indent=2))
