"""Merging eight tasks against the same task arithmetic in mergekit, both writing the output.

    python -m tools.bench merging [--base FILE --tuned FILE...] [--json]

mergekit is one of the peers that the extra ``bench`` brings. Neither finds a file in its place: to
replace one that is still on its way to the disk, a file system may wait for the new one to be there
first, which took longer than the merge.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
from safetensors.numpy import load_file

import tvbank
from tools.bench._checkpoints import Checkpoints, compare, eight
from tools.bench._measure import Job, Row, in_turns
from tvbank.merging import export_merged

WEIGHT = 0.3
AGAINST = "mergekit, task_arithmetic on CPU"
_NOTE = "reading (warm), merging, writing one safetensors file"


def rows(given: Checkpoints, folder: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    """Both read the base from its file; mergekit eight fine-tunes, tvbank eight tasks of a bank."""
    tuned = eight(given, folder)
    jobs: dict[str, Job] = {}
    for compressor in (tvbank.TSwitch(drop=0.9), tvbank.Exact()):
        name = compressor.describe()["name"]
        bank = tvbank.create(folder / f"bank-merging-{name}", base=given.base)
        for number, path in enumerate(tuned):
            bank.add(f"task-{number}", path, compressor)
        weights = dict.fromkeys(bank, WEIGHT)
        out = folder / f"merged-{name}.safetensors"
        jobs[name] = lambda bank=bank, weights=weights, out=out: export_merged(
            bank, weights, base=given.base, out=out
        )
    try:
        jobs["mergekit"] = _mergekit(given, tuned, folder)
    except ImportError as error:
        yield Row("merge of 8", AGAINST, note=f"not installed ({error})")
        return
    outputs = [folder / "merged-tswitch.safetensors", folder / "merged-exact.safetensors"]
    outputs.append(folder / "mergekit" / "model.safetensors")

    def remove() -> None:
        for path in outputs:
            path.unlink(missing_ok=True)

    os.sync()  # what was written just now would go to the disk meanwhile
    jobs_synced = {**jobs, "mergekit": _synced(jobs["mergekit"], folder)}
    synced = in_turns(jobs_synced, arguments.rounds, remove)
    with patch("os.fsync"):
        written = in_turns(jobs, arguments.rounds, remove)
    for job in jobs.values():
        job()
    _compare(folder / "merged-exact.safetensors", folder / "mergekit" / "model.safetensors")
    for name, target in (("tswitch", 0.10), ("exact", None)):
        what, note = f"merge of 8 tasks, {name}", f"{_NOTE}; tvbank also checks the base's digests"
        yield Row.timed(what, written[name], AGAINST, written["mergekit"], target, note)
        note = "the same, and both sync the file to the disk"
        yield Row.timed(what, synced[name], AGAINST, synced["mergekit"], note=note)


def _synced(merge: Job, folder: Path) -> Job:
    """mergekit leaves its file to the page cache; tvbank's is on the disk when it returns."""

    def job() -> None:
        merge()
        with (folder / "mergekit" / "model.safetensors").open("rb") as file:
            os.fsync(file.fileno())

    return job


def _mergekit(given: Checkpoints, tuned: list[Path], folder: Path) -> Job:
    """Its library's ``run_merge`` on folders, without tokenizer, model card or progress bars."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import mergekit.architecture.auto as architectures
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    # It asks transformers for the names of a known architecture's tensors, and falls back on the
    # names that the files have. These checkpoints need be of no known architecture.
    architectures.get_transformers_info = lambda *_, **__: (None, None, None, None)

    def model(name: str, weights: Path) -> str:
        path = folder / f"model-{name}"
        path.mkdir()
        (path / "model.safetensors").symlink_to(weights.absolute())
        config = {"model_type": "bert", "architectures": ["Benchmark"]}
        (path / "config.json").write_text(json.dumps(config))
        return str(path)

    dtypes = {array.dtype.name for array in load_file(given.base).values()}
    config = MergeConfiguration.model_validate(
        {
            "merge_method": "task_arithmetic",
            "base_model": model("base", given.base),
            "models": [
                {"model": model(str(k), path), "parameters": {"weight": WEIGHT}}
                for k, path in enumerate(tuned)
            ],
            "parameters": {"normalize": False},
            "dtype": dtypes.pop() if len(dtypes) == 1 else "float32",
        }
    )
    options = MergeOptions(copy_tokenizer=False, write_model_card=False, quiet=True)
    return lambda: run_merge(config, str(folder / "mergekit"), options)


def _compare(ours: Path, theirs: Path) -> None:
    """Both must have computed the same thing."""
    mine, other = load_file(ours), load_file(theirs)
    assert mine.keys() == other.keys()
    for name, weights in mine.items():
        if weights.dtype.kind == "f":
            np.testing.assert_allclose(weights, other[name], rtol=1e-3, atol=1e-5)


if __name__ == "__main__":
    compare(__doc__, rows)
