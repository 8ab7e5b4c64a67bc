"""Artefacts that others wrote, whose readers are ours: wdelta, GGUF, numpy's pickled dicts.

Whatever the bytes are: a fine-tune that can be read whole, or one error of tvbank's. The digest at
the end of a wdelta is made right, so that more than it is read.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tvbank.artefacts import Contents, open_fine_tune
from tvbank.checkpoint import open_checkpoint
from tvbank.errors import TvbankError

_BASE = {"a": np.arange(24, dtype=np.float32).reshape(4, 6), "b": np.ones(5, np.float32)}
_FILE = Path(tempfile.mkdtemp(prefix="tvbank-fuzz-"), "artefact.gguf")
_DIGEST_BYTES = 32


def seeds() -> Iterator[bytes]:
    yield _wdelta("sparse", indices=np.array([1, 3]), values=np.ones(2, np.float32))
    yield _wdelta(
        "quantized", n_cols=6, scales=np.ones(4, np.float16), packed_signs=np.ones(3, np.uint8)
    )
    yield _wdelta(
        "int4", outlier_idx=np.array([5]), outlier_vals=np.ones(1, np.float16),
        scale=np.ones(1, np.float16), zero_point=np.ones(1, np.float16),
        packed=np.arange(12, dtype=np.uint8),
    )  # fmt: skip
    yield _gguf()
    for names in (["cats"], ["cats", "dogs"]):
        stream = io.BytesIO()
        masks: Any = {name: np.arange(4, dtype=np.uint8) for name in names}
        np.save(stream, masks)
        yield stream.getvalue()


def check(data: bytes) -> None:
    _FILE.write_bytes(_proved(data))
    contents = Contents(_FILE)
    if contents.kind not in ("wdelta", "gguf", "numpy"):
        return
    given = {"vector": _BASE, "dataset": "cats"} if contents.kind == "numpy" else {}
    try:
        with (
            open_checkpoint(_BASE) as base,
            open_fine_tune(_FILE, base, given) as tuned,
        ):
            for name, spec in tuned.tensors.items():
                assert tuned.read(name).shape == spec.shape
    except TvbankError:
        pass


def _proved(data: bytes) -> bytes:
    if not data.startswith(b"wdelta\0") or len(data) < _DIGEST_BYTES:
        return data
    body = data[:-_DIGEST_BYTES]
    return body + hashlib.sha256(body).digest()


def _wdelta(strategy: str, **parts: Any) -> bytes:
    """A file that changes the tensor ``a``, as deltatensors lays it out."""
    arrays = {name: part for name, part in parts.items() if isinstance(part, np.ndarray)}
    entry = {"strategy": strategy, "shape": [4, 6], "dtype": "float32"} | {
        name: {"_ref": name} if name in arrays else part for name, part in parts.items()
    }
    digest = hashlib.sha256(b"".join(n.encode() + w.tobytes() for n, w in sorted(_BASE.items())))
    header = {"parent_hash": digest.hexdigest(), "strategy": strategy, "tensors": {"a": entry}}
    text = json.dumps(header).encode()
    data = b"wdelta\0" + struct.pack("<II", 1, len(text)) + text
    for name, array in arrays.items():
        for word in ("a", name, str(array.dtype)):
            data += struct.pack("<I", len(word)) + word.encode()
        data += struct.pack("<I", array.ndim)
        data += b"".join(struct.pack("<Q", side) for side in array.shape)
        data += struct.pack("<Q", array.nbytes) + array.tobytes()
    return data + hashlib.sha256(data).digest()


def _gguf() -> bytes:
    def text(word: str) -> bytes:
        return struct.pack("<Q", len(word)) + word.encode()

    members = text("general.architecture") + struct.pack("<I", 8) + text("llama")
    members += text("tokens") + struct.pack("<IIQ", 9, 8, 2) + text("x") + text("yz")
    members += text("numbers") + struct.pack("<IIQ3i", 9, 5, 3, 1, 2, 3)
    described = text("a") + struct.pack("<IQQIQ", 2, 6, 4, 0, 0)
    described += text("b") + struct.pack("<IQIQ", 1, 5, 1, 96)
    data = b"GGUF" + struct.pack("<IQQ", 3, 2, 3) + members + described
    data += bytes(-len(data) % 32) + _BASE["a"].tobytes()
    return data + _BASE["b"].astype(np.float16).tobytes()
