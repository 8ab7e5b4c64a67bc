"""What the tests of checkpoints share: hand-made files, and how a refusal reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tvbank.checkpoint import open_checkpoint
from tvbank.errors import CheckpointError

Header = dict[str, Any] | bytes


@pytest.fixture
def make_safetensors(tmp_path: Path) -> Callable[..., Path]:
    """Write a safetensors file by hand: any header, any data."""

    def make(header: Header, data: bytes = b"", name: str = "model.safetensors") -> Path:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        path = tmp_path / name
        path.write_bytes(len(text).to_bytes(8, "little") + text + data)
        return path

    return make


@pytest.fixture
def refusal() -> Callable[[Any], str]:
    """Open what must be refused; the message, which is one sentence of one line with a remedy."""

    def message(source: Any) -> str:
        with pytest.raises(CheckpointError) as caught:
            open_checkpoint(source)
        text = str(caught.value)
        assert "\n" not in text
        assert "; " in text
        return text

    return message
