"""A follower beside a publisher in another process, killed and started again: a disk and S3."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import chained
import pytest
import servers
from safetensors.numpy import load_file, save_file

import tvbank

LAST = 5
STATES = chained.states_of(LAST)

PUBLISHER = f"""
import sys, chained, tvbank
states = chained.states_of({LAST})
bank = tvbank.open(sys.argv[1])
for number in range(2, {LAST + 1}):
    bank.add(f"step-{{number}}", states[number], tvbank.Exact(), base=states[0],
             parent=f"step-{{number - 1}}", anchor_every=3)
"""


def process(*arguments):
    tests = str(Path(__file__).parents[1])
    paths = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip


def version_of(path):
    """Which state the file has, bit for bit."""
    found = {name: array.tobytes() for name, array in load_file(path).items()}
    states = [{n: a.tobytes() for n, a in state.items()} for state in STATES]
    return states.index(found)


@pytest.mark.parametrize("kind", ["disk", "s3"])
def test_killed_and_started_again_it_arrives(kind, tmp_path):
    save_file(STATES[0], tmp_path / "base.safetensors")
    out = tmp_path / "model.safetensors"
    with servers.s3_server() if kind == "s3" else nullcontext() as port:
        environment = servers.s3_environment(port) if kind == "s3" else {}
        with servers.environment(environment):
            place = "s3://bucket/bank" if kind == "s3" else str(tmp_path / "bank")
            bank = tvbank.create(place, tmp_path / "base.safetensors", chunk_length=8)
            bank.add("step-1", STATES[1], tvbank.Exact())
            program = ["-c", "from tvbank.cli import main; main()"]
            follow = [
                *program, "follow", place, "-o", out, "--base", tmp_path / "base.safetensors",
                "--every", "0.02", "--json",
            ]  # fmt: skip
            with process(*follow) as follower:
                first = json.loads(follower.stdout.readline())
                assert (first["version"], first["route"]) == ("step-1", "base")
                with process("-c", PUBLISHER, place) as publisher:
                    second = json.loads(follower.stdout.readline())
                    assert second["before"] == "step-1"
                    follower.kill()
                    follower.wait()
                    seen = [version_of(out)]
                    with process(*follow) as again:
                        while seen[-1] < LAST:
                            report = json.loads(again.stdout.readline())
                            seen.append(version_of(out))
                            assert seen[-1] >= int(report["version"].split("-")[1])
                        again.kill()
                assert publisher.returncode == 0
            assert seen == sorted(seen)
            assert tvbank.open(place).verify() == []
