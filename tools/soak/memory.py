"""The memory of every verb on a synthetic bf16 pair of 3 billion parameters.

    python -m tools.soak memory [--parameters 3e9] [--folder DIR] [--json]

Writes two files of 6 GB each with the shapes of a Llama model, unit by unit (an embedding of
128,256 rows is the largest), and beside them what the verbs make: 30 GB at most, all of which it
removes. Every verb runs in a process of its own, whose private memory the kernel limits to 2 GB,
and is watched: its peak of memory beside the page cache, and its time against reading both files
once, from start to end, just before it. Linux only.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from tools.bench._measure import options, report, timed
from tvbank.checkpoint import TensorSpec, open_checkpoint, write_safetensors

LIMIT = 2_000_000_000
_VERB = "from tvbank.cli import main; main()"
#: Of the size of one file: both, one output, exact task in the bank and once more on its way.
_ROOM = 5

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

VOCABULARY = 128_256
HIDDEN = 3072
#: Standard deviation of the base's weights, and of the fine-tune's steps.
WEIGHTS, STEPS = 0.02, 1e-4

#: Entries that one core draws at once.
_BLOCK = 2**22


def shapes(parameters: int) -> dict[str, tuple[int, ...]]:
    """Units of about so many parameters: one embedding and as many layers as it takes."""
    hidden = HIDDEN
    while hidden > 64 and 2 * VOCABULARY * hidden > parameters:
        hidden //= 2
    layer = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (hidden // 3, hidden),
        "self_attn.v_proj": (hidden // 3, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (8 * hidden // 3, hidden),
        "mlp.up_proj": (8 * hidden // 3, hidden),
        "mlp.down_proj": (hidden, 8 * hidden // 3),
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
    }
    size = sum(int(np.prod(shape)) for shape in layer.values())
    units: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, hidden)}
    for number in range(max(1, round((parameters - VOCABULARY * hidden) / size))):
        units |= {f"model.layers.{number}.{name}.weight": side for name, side in layer.items()}
    return units | {"model.norm.weight": (hidden,)}


def make_pair(parameters: int, base: Path, tuned: Path) -> list[TensorSpec]:
    """Write both files; every weight of the fine-tune is a small Gaussian step away."""
    specs = [TensorSpec(name, "bfloat16", shape) for name, shape in shapes(parameters).items()]

    def drawn() -> Iterator[np.ndarray]:
        for number, spec in enumerate(specs):
            yield _filled(spec, lambda _part, noise: noise * np.float32(WEIGHTS), number)

    write_safetensors(base, specs, drawn())
    with open_checkpoint(base) as weights:

        def stepped() -> Iterator[np.ndarray]:
            for number, spec in enumerate(specs):
                old = weights.read(spec.name).reshape(-1)

                def step(part: slice, noise: np.ndarray, old: np.ndarray = old) -> np.ndarray:
                    return old[part].astype(np.float32) + noise * np.float32(STEPS)

                yield _filled(spec, step, len(specs) + number)

        write_safetensors(tuned, specs, stepped())
    return specs


def _filled(
    spec: TensorSpec, weights: Callable[[slice, np.ndarray], np.ndarray], seed: int
) -> np.ndarray:
    """An array of a spec, made on all cores from blocks of standard normal numbers."""
    array = np.empty(spec.size, BFLOAT16)

    def fill(start: int) -> None:
        part = slice(start, min(start + _BLOCK, spec.size))
        random = np.random.default_rng([seed, start])
        noise = random.standard_normal(part.stop - part.start, dtype=np.float32)
        array[part] = weights(part, noise).astype(BFLOAT16)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(fill, range(0, spec.size, _BLOCK)))
    return array.reshape(spec.shape)


#: Between two looks at a process, in seconds.
INTERVAL = 0.005


@dataclass(frozen=True)
class Watched:
    """What a command took.

    Attributes:
        seconds: of wall-clock time.
        cpu_seconds: of all cores together.
        anonymous: the most bytes of memory of its own seen at any look (``RssAnon`` and
            ``RssShmem`` of /proc/PID/status). Everything else that is resident, ``RssFile``, are
            pages of files: the page cache, which the system takes back when it needs them.
        resident: the most bytes resident at any moment, pages of files included, as the kernel
            counts it (``VmHWM``).
    """

    seconds: float
    cpu_seconds: float
    anonymous: int
    resident: int


def watch(command: list[str], environment: dict[str, str], limit: int | None) -> Watched:
    """Run a command to its end.

    Args:
        command: the program and its arguments.
        environment: added to this process's own.
        limit: bytes of private writable memory after which the kernel refuses more
            (``RLIMIT_DATA``): a command that ends well under it needed no look to be believed.

    Raises:
        RuntimeError: it failed; with what it wrote to standard error.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    with subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=None if limit is None else _limiter(limit),
    ) as process:
        anonymous = resident = 0
        while process.poll() is None:
            status = _status(process.pid)
            anonymous = max(anonymous, status.get("RssAnon", 0) + status.get("RssShmem", 0))
            resident = max(resident, status.get("VmHWM", 0))
            time.sleep(INTERVAL)
        seconds = time.perf_counter() - start
        assert process.stderr is not None
        errors = process.stderr.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {errors.strip()[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Watched(seconds, cpu, anonymous, resident)


def _limiter(limit: int) -> Callable[[], None]:
    def apply() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    return apply


def _status(process: int) -> dict[str, int]:
    """The figures in kB of /proc/PID/status, as bytes; none once the process has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    fields = (line.split() for line in lines)
    return {f[0].rstrip(":"): int(f[1]) * 1024 for f in fields if f[-1:] == ["kB"]}


def read_once(*files: Path) -> float:
    """Seconds to read files from start to end."""
    buffer = bytearray(2**24)

    def read() -> None:
        for path in files:
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass

    return timed(read)[0]


def forget(*files: Path) -> None:
    """Write files to the disk and drop their pages from the page cache."""
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def same_weights(one: Path, other: Path) -> bool:
    """Whether two checkpoints hold the same units, bit for bit."""
    with open_checkpoint(one) as first, open_checkpoint(other) as second:
        return dict(first.tensors) == dict(second.tensors) and all(
            np.array_equal(*(each.read(name).view(np.uint16) for each in (first, second)))
            for name in first.tensors
        )


def run(folder: Path, base: Path, tuned: Path) -> Iterator[tuple[str, Watched, float]]:
    """Each verb, what it took, and the seconds of reading both files just before."""
    bank, out = str(folder / "bank"), folder / "out.safetensors"
    verbs = {
        "init": ["init", bank, "--base", str(base)],
        "add, T-Switch drop 0.9": ["add", bank, "switched", str(tuned), "--drop", "0.9"],
        "add, Exact": ["add", bank, "exact", str(tuned), "--method", "exact"],
        "export, T-Switch": ["export", bank, "switched", "-o", str(out)],
        "merge, both": ["merge", bank, "switched=0.5", "exact=0.5", "-o", str(out), "--force"],
        "export, Exact": ["export", bank, "exact", "-o", str(out), "--force"],
        "verify": ["verify", bank],
    }
    environment = {"TMPDIR": str(folder)}
    for name, arguments in verbs.items():
        reading = read_once(base, tuned)
        command = [sys.executable, "-c", _VERB, *arguments]
        yield name, watch(command, environment, LIMIT), reading
        if name == "export, Exact" and not same_weights(out, tuned):
            raise SystemExit("the exported exact task is not the fine-tune bit for bit")


def measure(parameters: int, folder: Path) -> tuple[dict[str, object], list[dict[str, Any]]]:
    """Facts, and a row for each verb; whatever is written goes away again."""
    size = 2 * sum(int(np.prod(shape)) for shape in shapes(parameters).values())
    if (free := shutil.disk_usage(folder).free) < _ROOM * size:
        raise SystemExit(
            f"{folder} has {free / 1e9:.0f} GB free, this takes {_ROOM * size / 1e9:.0f}"
        )
    with tempfile.TemporaryDirectory(dir=folder, prefix="tvbank-memory-") as name:
        inner = Path(name)
        base, tuned = inner / "base.safetensors", inner / "tuned.safetensors"
        written, specs = timed(lambda: make_pair(parameters, base, tuned))
        forget(base, tuned)
        from_disk = read_once(base, tuned)
        rows = []
        for verb, took, reading in run(inner, base, tuned):
            rows.append({
                "verb": verb,
                "peak beside page cache, GB": took.anonymous / 1e9,
                "peak with page cache, GB": took.resident / 1e9,
                "seconds": took.seconds,
                "CPU seconds": took.cpu_seconds,
                "reading both, s": reading,
                "ratio": took.seconds / reading,
            })  # fmt: skip
            print(f"{verb} done", file=sys.stderr)
        stored = sum(path.stat().st_size for path in (inner / "bank").rglob("*") if path.is_file())
    facts = {
        "parameters": sum(spec.size for spec in specs),
        "units": len(specs),
        "largest unit, GB": max(spec.nbytes for spec in specs) / 1e9,
        "both files, GB": 2 * size / 1e9,
        "the bank, GB": stored / 1e9,
        "seconds to make both files": written,
        "seconds to read both files from the disk": from_disk,
        "limit of private memory, GB": LIMIT / 1e9,
    }
    return facts, rows


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--parameters", type=lambda text: int(float(text)), default=3_000_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    arguments = parser.parse_args()
    facts, rows = measure(arguments.parameters, arguments.folder)
    report(arguments, facts, {"reading is from the page cache, just before each verb": rows})
    if any(row["peak beside page cache, GB"] >= LIMIT / 1e9 for row in rows):
        raise SystemExit("a verb went over the limit")


if __name__ == "__main__":
    main()
