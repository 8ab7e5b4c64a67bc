"""A worker process of this machine: jobs come through its standard input, results leave its output.

Each message is its length, 8 bytes, little-endian, and a pickle; both ends are the same user's
processes. When the input ends, whether the build is done or was killed, so does the worker.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from contextlib import nullcontext
from typing import IO, Any

from tvbank._imports import importing_from, shut_out_current_folder

_LENGTH_BYTES = 8


def send(stream: IO[bytes], message: Any) -> None:
    """Write a message.

    Raises:
        OSError: nobody reads any more.
    """
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    stream.write(len(data).to_bytes(_LENGTH_BYTES, "little"))
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read a message.

    Raises:
        EOFError: the stream ended, before or within it.
    """
    head = stream.read(_LENGTH_BYTES)
    length = int.from_bytes(head, "little")
    data = stream.read(length) if len(head) == _LENGTH_BYTES else b""
    if len(head) < _LENGTH_BYTES or len(data) < length:
        raise EOFError
    return pickle.loads(data)


def main() -> None:
    """Do jobs until there are none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started the workers ends them
    results = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(
        sys.stderr.fileno(), sys.stdout.fileno()
    )  # text that is printed must not get between messages
    shut_out_current_folder()
    from tvbank.building._jobs import run_job

    while True:
        try:
            home, packed, threads, version = receive(sys.stdin.buffer)
        except EOFError:
            return
        outcome: Any
        try:
            with importing_from(home) if home else nullcontext():
                job = pickle.loads(packed)
            outcome = run_job(job, threads, version)
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        try:
            send(results, outcome)
        except OSError:
            return


if __name__ == "__main__":
    main()
