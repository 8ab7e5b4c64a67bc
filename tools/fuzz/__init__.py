"""Fuzzing with coverage: every reader of bytes that may come from a stranger.

    python -m tools.fuzz [TARGET…] [--seconds 60] [--corpus FOLDER] [--json]

Needs the extra ``fuzz`` (atheris, which brings libFuzzer; Linux). Each target runs in a process of
its own, from the vectors of spec/vectors as seeds; the seconds are shared out among the targets. A
crash, a hang, memory out of proportion, or a disagreement between tvbank's reader and
spec/reference is reported with a file that holds the input, which becomes a vector.

- ``targets``       one module a target: ``seeds``, ``check`` and, if it has one, ``mutate``
- ``_child``        one target under atheris
- ``_sources``      which modules can carry the counters of coverage
- ``_agreement``    two readers on one input
- ``_frames``       frames: seeds, mutations, and the fused loops between guarded pages
- ``_documents``    JSON documents: seeds and mutations that keep them JSON
- ``_mutate``       libFuzzer's own mutations, or plain ones where it does not run
- ``_interpreted``  the compiled loops as plain Python, with every load and store checked

``against_javascript`` is a command of its own, without coverage: the reader in TypeScript against
the reference reader.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Target(NamedTuple):
    """What a target is about; ``interpreted``: whether compiled loops run as plain Python."""

    about: str
    interpreted: bool = False


TARGETS: Final = {
    "frame": Target("frames: compiled, fused and reference decoders, verdict and every bit"),
    "kernels": Target("frames: the same loops as Python, loads and stores checked", True),
    "switch": Target("a frame applied to live weights, and taken back"),
    "shard": Target("a shard's index and its frames' checksums"),
    "catalog": Target("the root document"),
    "layout": Target("the layout document"),
    "revision": Target("a revision document and the objects that its extras call for"),
    "router": Target("a router's document and the objects that its arrays call for"),
    "extra": Target("the chunk of an extra: zstd"),
    "packed": Target("packed factors of a product"),
    "zip": Target("the directory of a zip file that holds a bank"),
    "artefact": Target("files that others wrote for a fine-tune: wdelta, GGUF, numpy's dicts"),
    "bank": Target("a whole bank with one object forged: open, verify, read everything"),
}
