"""The benchmark of building compares two banks that are the same."""

from argparse import Namespace

import manifests

from tools.bench import building as bench_build


def test_figures_of_tiny_fine_tunes(tmp_path):
    manifests.write_checkpoints(tmp_path, 2)
    found = bench_build.measure(
        Namespace(
            base=tmp_path / "base.safetensors",
            tuned=[tmp_path / "t0.safetensors", tmp_path / "t1.safetensors"],
            method="exact", workers=1, scheduler=None, repeats=1,
        )
    )  # fmt: skip
    assert (found["tasks"], found["units"]) == (2, 17)
    assert found["ratio started"] > 0
