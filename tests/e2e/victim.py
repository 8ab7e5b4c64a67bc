"""A process that forks children and lets each change a bank, until it dies or the disk refuses.

Reads one JSON object a line and answers each with how its children ended. Forking what has imported
and compiled everything makes a death cost milliseconds.
"""

import errno
import json
import os
import resource
import signal
import stat
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

import banks

import tvbank
from tvbank.storage import MemoryStorage

KILLED = 9
REFUSED = 3
TASKS_EACH = 6
CHANGES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link"}


#: A bank to copy from, made before any child is forked.
SOURCE = MemoryStorage()


def act(do: str, path: str) -> None:
    """Change a bank as the command line would."""
    base = banks.base_model()
    if do == "create":
        tvbank.create(path, base=base, chunk_length=8)
        return
    if do == "create once":
        with suppress(tvbank.errors.BankExistsError):
            tvbank.create(path, base=base, chunk_length=8)
        return
    if do == "copy":
        tvbank.copy(SOURCE, path, ["copied"])
        return
    if do == "patch":
        tvbank.patch(path, Path(path).parent.parent / "update.zip", in_place=True)
        return
    bank = tvbank.open(path)
    match do:
        case "add":
            bank.add("new", banks.fine_tune(7), tvbank.Exact(), {"n": 7}, base=base)
        case "replace":
            bank.add("lossy", banks.fine_tune(8), tvbank.Exact(), base=base, replace=True)
        case "remove":
            bank.remove("lossy")
        case "gc":
            bank.gc(grace=0)
        case "export":
            tvbank.export(bank, "exact", base=base, out=Path(path).parent / "out.safetensors")
        case "collect often":
            for _ in range(3 * TASKS_EACH):
                bank.gc(grace=0)
        case "read often":
            for _ in range(3 * TASKS_EACH):
                bank = tvbank.open(path)
                assert {"lossy", "exact"} <= set(bank)
                for name in set(bank) - {"fleeting"}:  # which `gc(grace=0)` takes from readers
                    assert banks.numbers(bank[name])
        case "verify often":
            for _ in range(TASKS_EACH):
                assert bank.verify() == []
        case "add and remove":
            for _ in range(TASKS_EACH):
                bank.add("fleeting", banks.fine_tune(6), tvbank.TSwitch(), base=base)
                bank.remove("fleeting")
        case writer if writer.startswith("writer "):
            for number in range(TASKS_EACH):
                name = f"{writer.split()[1]}-{number}"
                bank.add(name, banks.fine_tune(number), tvbank.Exact(), base=base)


def before_changes(path: str, act) -> None:
    """Call ``act`` with a number and what it is, before anything changes below the folder."""
    seen = 0
    folder = str(Path(path).parent)

    def hook(event, arguments):
        nonlocal seen
        if event not in CHANGES or not str(arguments[0]).startswith(folder):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        seen += 1
        act(seen - 1, event)

    os.fsync = lambda _descriptor: None  # slow, and a process that dies loses nothing written
    sys.addaudithook(hook)


def die_before_change(number: int, path: str) -> None:
    """Die before the n-th change."""

    def die(seen, _event):
        if seen == number:
            os._exit(KILLED)

    before_changes(path, die)


def refuse_changes(number: int, code: int, path: str) -> None:
    """From the n-th change on the disk refuses all; a full one lets files be removed."""

    def refuse(seen, event):
        if seen >= number and not (code == errno.ENOSPC and event in ("os.remove", "os.rmdir")):
            raise OSError(code, os.strerror(code))

    before_changes(path, refuse)


def refuse_sync(number: int) -> None:
    """What was written does not reach the disk, the n-th time."""
    seen = 0

    def refuse(_descriptor):
        nonlocal seen
        seen += 1
        if seen - 1 == number:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    os.fsync = refuse


def die_in_write(number: int) -> None:
    """Die when the n-th file is to reach the disk, with half of it lost."""
    seen = 0

    def torn(descriptor):
        nonlocal seen
        if seen == number:
            found = os.fstat(descriptor)
            if stat.S_ISREG(found.st_mode):
                os.ftruncate(descriptor, found.st_size // 2)
            os._exit(KILLED)
        seen += 1

    os.fsync = torn


def child(order: dict, do: str, answer: int) -> None:
    """Run one order in a forked process; never returns."""
    try:
        if "before" in order:
            die_before_change(order["before"], order["bank"])
        if "torn" in order:
            die_in_write(order["torn"])
        if "refuse" in order:
            refuse_changes(order["refuse"], order["errno"], order["bank"])
        if "refuse sync" in order:
            refuse_sync(order["refuse sync"])
        if "largest file" in order:
            resource.setrlimit(resource.RLIMIT_FSIZE, 2 * (order["largest file"],))
        act(do, order["bank"])
    except tvbank.errors.StorageError as error:
        os.write(answer, str(error).encode())
        os._exit(REFUSED)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> None:
    """Warm up, then fork, kill and report until the input ends."""
    warm = banks.small_bank(SOURCE)
    warm.add("copied", banks.fine_tune(5), tvbank.Exact(), {"n": 5})
    banks.all_numbers(warm)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        start = time.monotonic()
        told, answer = os.pipe()
        processes = []
        for do in order["do"] if isinstance(order["do"], list) else [order["do"]]:
            processes.append(os.fork())
            if not processes[-1]:
                child(order, do, answer)
        os.close(answer)
        if "after" in order:
            time.sleep(order["after"])
            os.kill(processes[0], signal.SIGKILL)
        ends = {os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes}
        with open(told) as pipe:
            report = {
                "killed": bool(ends & {KILLED, -signal.SIGKILL}),
                "refused": pipe.read() if REFUSED in ends else None,
                "failed": not ends <= {0, REFUSED, KILLED, -signal.SIGKILL},
                "seconds": time.monotonic() - start,
            }
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
