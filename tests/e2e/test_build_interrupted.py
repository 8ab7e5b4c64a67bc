"""Building on this machine while processes are killed, and from checkpoints in object storage."""

import os
import signal
import subprocess
import sys
import threading
import time

import banks
import manifests
import numpy as np
import psutil
import pytest
import servers

import tvbank
from tvbank.building import _task

TASKS = {
    "half": {"checkpoint": "t0.safetensors", **manifests.HALF},
    "exact": {"checkpoint": "t1.safetensors", **manifests.EXACT},
}


#: In a worker process: a job of the second task ends the process as it looks at its checkpoint.
DYING = """
import importlib.machinery, os, sys

class Dying:
    def find_spec(self, name, path=None, target=None):
        if name != "tvbank.building._jobs":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module
        def run_and_change(module):
            run(module)
            check = module.Tuned.check_identity
            def die(self):
                if "t1" in self.checkpoint:
                    os._exit(7)
                check(self)
            module.Tuned.check_identity = die
        spec.loader.exec_module = run_and_change
        return spec

if "_worker" in " ".join(sys.orig_argv):
    sys.meta_path.insert(0, Dying())
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(_task, "_GRAIN", 100)
    manifests.write_checkpoints(tmp_path, 2)
    return tmp_path


class Hanging:
    """A plan of a proxy: from the first request for some weights on, there are no answers."""

    def __init__(self, path: str, *, once: bool) -> None:
        self._path, self._once, self._seen = path, once, 0
        self.hung = threading.Event()
        self.over = False

    def __call__(self, _number: int, _method: str, path: str) -> str | None:
        if self.over or self._path not in path:
            return None
        self._seen += 1
        if self._seen < 16 or (self._once and self.hung.is_set()):  # those that only look at it
            return None
        self.hung.set()
        return "hang"


def through(url: str, tasks: dict) -> dict:
    return {
        name: task | {"checkpoint": f"{url}/{task['checkpoint']}"} for name, task in tasks.items()
    }


def worker_processes(parent: int) -> list[psutil.Process]:
    return [
        each
        for each in psutil.Process(parent).children(recursive=True)
        if "tvbank.building._worker" in each.cmdline()
    ]


def test_a_worker_process_that_is_killed_in_mid_job(folder):
    plan = Hanging("t1", once=True)
    with servers.FileServer(folder) as files, servers.Proxy(files.port, plan) as proxy:
        path = manifests.write(folder, through(proxy.url, TASKS))
        killed = []

        def kill() -> None:
            plan.hung.wait(300)
            for process in worker_processes(os.getpid()):
                killed.append(process.pid)
                process.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        report = tvbank.build(path, workers=1)
        killer.join()
    assert killed
    assert report.built == ("half", "exact")
    manifests.assert_same(folder / "bank", manifests.added(folder, TASKS, folder / "added"))


def test_a_worker_that_dies_of_a_job_every_time(folder, monkeypatch):
    """It fails its task, after so many tries; the other task is built."""
    monkeypatch.syspath_prepend(str(folder))  # which workers get; the system may have its own hook
    (folder / "sitecustomize.py").write_text(DYING)
    report = tvbank.build(manifests.write(folder, TASKS), workers=1)
    assert report.built == ("half",)
    assert "its worker process ended with status 7" in report.failed["exact"]
    assert "build again" in report.failed["exact"]


def test_a_build_that_is_killed_goes_on_where_it_was(folder):
    plan = Hanging("t1", once=False)
    script = (
        "import sys, tvbank\nfrom tvbank.building import _task\n_task._GRAIN = 100\n"
        "tvbank.build(sys.argv[1], workers=1)\n"
    )
    with servers.FileServer(folder) as files, servers.Proxy(files.port, plan) as proxy:
        path = manifests.write(folder, through(proxy.url, TASKS))
        with subprocess.Popen([sys.executable, "-c", script, path]) as client:
            assert plan.hung.wait(300)
            bank = wait_for_task(folder, "half")
            assert set(bank) == {"half"}  # published while the other was under way
            orphans = worker_processes(client.pid)
            client.send_signal(signal.SIGKILL)
        plan.over = True
        report = tvbank.build(path, workers=1)
    assert report.built == ("exact",)
    assert report.present == ("half",)
    assert report.resumed > 0
    assert report.units > 0
    manifests.assert_same(folder / "bank", manifests.added(folder, TASKS, folder / "added"))
    assert orphans
    assert not psutil.wait_procs(orphans, 20)[1]  # workers end with their client


def wait_for_task(folder, name):
    for _ in range(1000):
        bank = tvbank.open(folder / "bank")
        if name in bank:
            return bank
        time.sleep(0.02)
    raise AssertionError(f"{name} was never published")


@pytest.fixture(scope="module")
def s3():
    """A proxy that counts, before an S3 server; clients and workers are told of it."""
    with (
        servers.s3_server() as port,
        servers.Proxy(port) as proxy,
        servers.environment(servers.s3_environment(proxy.port)),
    ):
        yield proxy


def test_checkpoints_in_object_storage_are_read_by_range(s3, tmp_path):
    """Base, fine-tunes and bank in S3: no byte of a checkpoint is read twice, bar a few."""
    from obstore.store import S3Store

    rng = np.random.default_rng(0)
    base = {f"unit {n}": rng.standard_normal((50, 400)).astype(np.float32) for n in range(5)}
    names = ("a", "b", "c")
    manifests.save(tmp_path / "base.safetensors", base)
    for step, name in enumerate(names, 1):
        tuned = {unit: array + np.float32(0.01 * step) for unit, array in base.items()}
        tuned["head"] = rng.standard_normal((10, 400)).astype(np.float32)
        manifests.save(tmp_path / f"{name}.safetensors", tuned)
    store = S3Store("bucket")
    sizes = {}
    for path in tmp_path.glob("*.safetensors"):
        store.put(f"models/{path.name}", path.read_bytes())
        sizes[path.name] = path.stat().st_size
    tasks = {name: {"checkpoint": f"{name}.safetensors", **manifests.HALF} for name in names}
    place = "s3://bucket/models"
    path = manifests.write(
        tmp_path, through(place, tasks), bank="s3://bucket/bank", base=f"{place}/base.safetensors",
        chunk_length=4096,
    )  # fmt: skip
    s3.requests.clear()
    report = tvbank.build(path, workers=1)
    assert report.built == names
    reads = {name: [seen for seen in s3.gets() if name in seen.path] for name in sizes}
    for name, seen in reads.items():
        assert all(each.range for each in seen), name
        read = sum(each.bytes for each in seen)
        # The base is read to make the bank, and once by the worker; a header is 64 KiB at most.
        assert read <= (2 if name.startswith("base") else 1) * (sizes[name] + 2**16 + 100)
        assert len(seen) <= 12
    own = manifests.added(tmp_path, tasks, tmp_path / "added", chunk_length=4096)
    manifests.assert_same("s3://bucket/bank", own)
    again = tvbank.build(path, workers=1)
    assert again.present == names


def test_a_checkpoint_written_anew_meanwhile(folder):
    class Rewriting(Hanging):
        def __call__(self, number, method, path):
            if super().__call__(number, method, path):
                manifests.save(folder / "t1.safetensors", banks.fine_tune(7))
                os.utime(folder / "t1.safetensors", (1, 1))

    plan = Rewriting("t1", once=True)
    with servers.FileServer(folder) as files, servers.Proxy(files.port, plan) as proxy:
        path = manifests.write(folder, through(proxy.url, TASKS))
        report = tvbank.build(path, workers=1)
    assert plan.hung.is_set()
    assert report.built == ("half",)
    assert report.failed["exact"]
