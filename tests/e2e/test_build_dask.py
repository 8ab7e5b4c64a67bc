"""Building on a real dask.distributed cluster: spread over workers, and one killed in mid-job."""

import contextlib
import os
import signal
import subprocess
import sys
import threading

import distributed
import manifests
import pytest
import servers

import tvbank
from tvbank.building import _task
from tvbank.building._dask import DaskWorkers
from tvbank.building._jobs import Failed, MeasureBase
from tvbank.errors import StorageError, UsageError

TASKS = {
    "half": {"checkpoint": "t0.safetensors", **manifests.HALF},
    "exact": {"checkpoint": "t1.safetensors", **manifests.EXACT},
    "small": {"checkpoint": "t2.safetensors", "method": "budget", "budget": "2 KiB"},
}


@pytest.fixture(scope="module")
def cluster():
    """Two workers, each a process of its own."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as cluster:
        yield cluster


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(_task, "_GRAIN", 100)
    manifests.write_checkpoints(tmp_path, 3)
    return tmp_path


def test_the_bytes_of_add(cluster, folder):
    step = {"step": {"checkpoint": "t0.safetensors", "parent": "exact"}}  # before its parent
    tasks = step | TASKS | {"missing": {"checkpoint": "nothing.safetensors"}}
    report = tvbank.build(manifests.write(folder, tasks), scheduler=cluster.scheduler_address)
    assert report.built == ("step", *TASKS)
    assert report.parents == {"step": "exact"}
    assert "nothing.safetensors" in report.failed["missing"]
    manifests.assert_same(folder / "bank", manifests.added(folder, TASKS | step, folder / "added"))
    again = tvbank.build(folder / "manifest.json", scheduler=cluster.scheduler_address)
    assert again.present == ("step", *TASKS)


def test_a_result_is_of_its_own_job_however_late_the_one_before_is_forgotten(
    cluster, folder, monkeypatch
):
    monkeypatch.setattr(distributed.Future, "release", lambda self: None)
    places = [str(folder / f"{name}.safetensors") for name in ("t0", "nothing")]
    workers = DaskWorkers(cluster.scheduler_address)
    outcomes = []
    for place in places:
        workers.submit(-1, MeasureBase(place, 8))
        outcomes.append(workers.wait())
    workers.close()
    assert isinstance(outcomes[0][1], bytes)
    assert isinstance(outcomes[1][1], Failed)


def test_a_worker_that_is_killed_in_mid_job(cluster, folder):
    """The first worker that reads weights hangs there, and is killed; the rest goes its way."""
    hung = threading.Event()

    def plan(number, method, path):
        if "t1" in path and number > 4 and not hung.is_set():
            hung.set()
            return "hang"
        return None

    tasks = {name: TASKS[name] | {} for name in ("half", "exact")}
    with servers.FileServer(folder) as files, servers.Proxy(files.port, plan) as proxy:
        for task in tasks.values():
            task["checkpoint"] = f"{proxy.url}/{task['checkpoint']}"
        path = manifests.write(folder, tasks)
        killed = []

        def kill() -> None:
            hung.wait(300)
            with distributed.Client(cluster, set_as_default=False) as client:
                processing = client.processing()
                pids = client.run(os.getpid)
            busy = [address for address, keys in processing.items() if any(keys)]
            killed.append(pids[busy[0]])
            for address in busy:
                os.kill(pids[address], signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        report = tvbank.build(path, scheduler=cluster.scheduler_address)
        killer.join()
    assert killed
    assert report.built == ("half", "exact")
    own = {name: TASKS[name] for name in tasks}
    manifests.assert_same(folder / "bank", manifests.added(folder, own, folder / "added"))


def test_schedulers_that_are_not_there(folder, monkeypatch):
    monkeypatch.setattr("tvbank.building._dask._PATIENCE", 0.5)
    path = manifests.write(folder, TASKS)
    with pytest.raises(StorageError, match="no scheduler answers at tcp"):
        tvbank.build(path, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(UsageError, match="no address of a scheduler"):
        tvbank.build(path, scheduler="nonsense://x")


def test_a_scheduler_without_workers(folder, monkeypatch):
    monkeypatch.setattr("tvbank.building._dask._PATIENCE", 1)
    path = manifests.write(folder, TASKS)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0") as empty,
        pytest.raises(StorageError, match="has no workers"),
    ):
        tvbank.build(path, scheduler=empty.scheduler_address)


def test_a_scheduler_that_is_killed_in_mid_job(folder):
    """The build ends with an error; started again with another scheduler, it goes on."""
    hung = threading.Event()

    def plan(number, method, path):
        if "t1" in path and number > 12:  # once it has been looked at
            hung.set()
            return "hang"
        return None

    with servers.FileServer(folder) as files, servers.Proxy(files.port, plan) as proxy:
        tasks = {name: dict(TASKS[name]) for name in ("half", "exact")}
        tasks["exact"]["checkpoint"] = f"{proxy.url}/t1.safetensors"
        path = manifests.write(folder, tasks)
        with lone_cluster() as (address, scheduler):

            def kill() -> None:
                hung.wait(300)
                scheduler.kill()

            killer = threading.Thread(target=kill)
            killer.start()
            with pytest.raises(StorageError, match="the scheduler at tcp:"):
                tvbank.build(path, scheduler=address)
            killer.join()
        proxy.plan = lambda *_request: None
        report = tvbank.build(path, workers=1)  # whoever does it
    assert "exact" in report.built
    assert report.resumed + len(report.present) > 0
    own = {name: TASKS[name] for name in tasks}
    manifests.assert_same(folder / "bank", manifests.added(folder, own, folder / "added"))


@contextlib.contextmanager
def lone_cluster():
    """A scheduler and a worker, each a process of its own; the scheduler's address and process."""
    address = f"tcp://127.0.0.1:{servers.free_port()}"
    run = [sys.executable, "-m", "dask"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    place = ["--host", address, "--no-dashboard"]
    with subprocess.Popen([*run, "scheduler", *place], **quiet) as scheduler:
        options = ["--no-nanny", "--nthreads", "1", "--no-dashboard", "--death-timeout", "20"]
        with subprocess.Popen([*run, "worker", address, *options], **quiet) as worker:
            try:
                yield address, scheduler
            finally:
                worker.kill()
                scheduler.kill()
