"""A process that forks children, lets each change a bank, and kills it at the moment asked for.

Reads one JSON object a line and answers each with how its child ended. Forking what has imported
and compiled everything makes a kill cost milliseconds.
"""

import json
import os
import signal
import stat
import sys
import time
import traceback
from pathlib import Path

import banks

import tvbank
from tvbank.bank.storage import MemoryStorage

KILLED = 9
CHANGES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link"}


def act(do: str, path: str) -> None:
    """Change a bank as the command line would."""
    base = banks.base_model()
    if do == "create":
        tvbank.create(path, base=base, chunk_length=8)
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
            bank.gc()
        case "export":
            tvbank.export(bank, "exact", base=base, out=Path(path).parent / "out.safetensors")


def die_before_change(number: int, path: str) -> None:
    """Die before the n-th time that anything below the bank's folder changes."""
    seen = 0
    folder = str(Path(path).parent)

    def hook(event, arguments):
        nonlocal seen
        if event not in CHANGES or not str(arguments[0]).startswith(folder):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        if seen == number:
            os._exit(KILLED)
        seen += 1

    os.fsync = lambda _descriptor: None  # slow, and a process that dies loses nothing written
    sys.addaudithook(hook)


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


def child(order: dict) -> None:
    """Run one order in a forked process; never returns."""
    try:
        if "before" in order:
            die_before_change(order["before"], order["bank"])
        if "torn" in order:
            die_in_write(order["torn"])
        act(order["do"], order["bank"])
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> None:
    """Warm up, then fork, kill and report until the input ends."""
    warm = banks.small_bank(MemoryStorage())
    banks.all_numbers(warm)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        start = time.monotonic()
        process = os.fork()
        if not process:
            child(order)
        if "after" in order:
            time.sleep(order["after"])
            os.kill(process, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        answer = {"killed": status in (KILLED, -signal.SIGKILL), "failed": status == 1}
        print(json.dumps(answer | {"seconds": time.monotonic() - start}), flush=True)


if __name__ == "__main__":
    main()
