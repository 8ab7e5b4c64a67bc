"""Sweeps, frontiers, pictures."""

import math
import re
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tvbank import Budget, TSwitch
from tvbank.errors import CheckpointError, UsageError
from tvbank.reporting import Point, by_knob, draw, frontier, sweep


def point(size, score, name="one"):
    return Point({"name": name}, size, size / 100, size / 1000, score, 0.1)


def test_the_frontier_has_what_nothing_smaller_beats():
    points = [point(3, 0.5), point(1, 0.2), point(2, 0.2), point(4, 0.4), point(3, 0.6)]
    assert frontier(points) == [point(1, 0.2), point(3, 0.6)]
    assert frontier([point(1, math.nan)]) == []
    assert frontier([]) == []


def pair():
    rng = np.random.default_rng(0)
    base = {"w": rng.standard_normal((40, 50)).astype(np.float32)}
    return base, {"w": base["w"] + np.float32(0.1) * rng.standard_t(3, (40, 50)).astype(np.float32)}


def test_a_sweep_scores_what_was_read_back():
    base, tuned = pair()
    paths = []

    def likeness(path):
        paths.append(path)
        return -np.square(load_file(path)["w"] - tuned["w"]).sum()

    steps = []
    compressors = [Budget("1 KiB"), Budget("2 KiB"), TSwitch(drop=0.5)]
    found = sweep(base, tuned, likeness, compressors, lambda *step: steps.append(step))
    assert found.tuned_score == 0
    assert [each.compressor for each in found.points] == [c.describe() for c in compressors]
    assert found.points[0].score < found.points[1].score < 0
    assert found.points[0].stored_bytes <= 1024
    assert found.points[0].share == found.points[0].stored_bytes / 8000
    assert [step[:2] for step in steps] == [(number, 5) for number in range(6)]
    assert not any(path.exists() for path in paths)
    assert found.base_score == -np.square(base["w"] - tuned["w"]).sum()


def test_a_base_without_a_score_holds_up_nothing():
    base, tuned = pair()

    def picky(path):
        if (load_file(path)["w"] == base["w"]).all():
            raise KeyError("head")
        return 1

    found = sweep(base, tuned, picky, [TSwitch()])
    assert (found.base_score, found.failures) == (None, ())


def test_every_knob_is_a_line_of_its_own():
    def of(score, **compressor):
        return Point(compressor, 1, 0.1, 0.1, score, 0.1)

    points = [
        of(drop, name="tswitch", drop=drop, knob=knob, of="x")
        for drop in (0.5, 0.9)
        for knob in ("rms", "norm")
    ]
    sizes = [of(1, name="budget", budget=size) for size in ("1 %", "2 %")]
    lines = by_knob([*points, *sizes])
    assert list(lines) == ["tswitch knob=rms", "tswitch knob=norm", "budget"]
    assert lines["tswitch knob=norm"] == [points[1], points[3]]
    assert lines["budget"] == sizes


@pytest.mark.parametrize(
    ("evaluate", "message"),
    [
        (lambda path: 1 / 0, "ZeroDivisionError"),
        (lambda path: "good", "returned a str, not a number"),
        (lambda path: "0.9", "returned a str, not a number"),
        (lambda path: None, "returned a NoneType"),
        (lambda path: 10**400, "returned a int, not a number"),
        (lambda path: np.zeros(2), "returned a ndarray, not a number"),
        (lambda path: torch.zeros(2), "returned a Tensor, not a number"),
        (lambda path: 1j, "returned a complex, not a number"),
        (lambda path: math.nan, "returned nan, which is no score"),
        (lambda path: np.float32(math.inf), "returned inf, which is no score"),
        (lambda path: torch.tensor(-math.inf), "returned -inf, which is no score"),
        (lambda path: sys.exit(3), "SystemExit: 3"),
    ],
)
def test_an_evaluation_that_fails_is_named(evaluate, message):
    with pytest.raises(CheckpointError, match=f"^exact: the evaluation .*{message}"):
        sweep(*pair(), evaluate, [TSwitch()])

    # Of another than the fine-tune itself: what has a score keeps it.
    calls = []

    def once_more(path):
        calls.append(path)
        return evaluate(path) if len(calls) == 3 else len(calls)

    said = []
    compressors = [TSwitch(drop=0.5), Budget("2 KiB"), Budget("1 KiB"), Budget("1 byte")]
    found = sweep(*pair(), once_more, compressors, scored=said.append)
    assert [point.score for point in found.points] == [2, 4]
    first, second = found.failures
    assert re.match(f"budget 2 KiB.*: the evaluation .*{message}", first.error)
    assert first.compressor["budget"] == "2 KiB"
    assert second.compressor["budget"] == "1 byte"
    assert said == [found.points[0], first, found.points[1], second]


def test_an_evaluation_may_remove_the_file():
    def taken(path):
        path.unlink()
        return True

    found = sweep(*pair(), taken, [TSwitch()])
    assert (found.tuned_score, found.points[0].score) == (1.0, 1.0)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_picture_is_the_same_for_the_same_figures(tmp_path, suffix):
    points = [point(3, 0.5), point(1, 0.2, "two"), point(4, 0.6)]
    first, second = (
        draw(points, tmp_path / f"{name}{suffix}", levels={"fine-tuned": 0.7}).read_bytes()
        for name in ("a", "b")
    )
    assert first == second
    assert len(first) > 1000


def test_a_picture_takes_the_place_of_a_link_and_leaves_what_it_leads_to(tmp_path):
    (tmp_path / "weights").write_bytes(b"mine")
    (tmp_path / "a.svg").symlink_to("weights")
    draw([point(1, 0.5)], tmp_path / "a.svg")
    assert (tmp_path / "weights").read_bytes() == b"mine"


def test_what_cannot_be_drawn_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"\.png, \.svg"):
        draw([], tmp_path / "a.jpg")
    with pytest.raises(UsageError, match="no folder"):
        draw([], tmp_path / "missing" / "a.png")
