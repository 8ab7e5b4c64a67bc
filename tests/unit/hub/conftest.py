"""A hub of this process, which tvbank and the hub's own library take for the hub."""

import hub as hubs
import huggingface_hub.constants
import pytest


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with hubs.Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"):
            monkeypatch.delenv(name, raising=False)
        for name, value in (("HF_HUB_OFFLINE", False), ("HF_HUB_DISABLE_XET", True),
                            ("HF_TOKEN_PATH", str(tmp_path / "home" / "token"))):  # fmt: skip
            monkeypatch.setattr(huggingface_hub.constants, name, value)
        yield server
        assert not server.tokens_elsewhere
