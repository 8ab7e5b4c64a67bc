"""libFuzzer's own mutations, for targets that have some of theirs."""

from __future__ import annotations


def mutate_bytes(data: bytes, most: int) -> bytes:
    """Change some bytes of some data, which must not be empty; at most ``most`` come of it."""
    import atheris  # only here: seeds can be checked without it

    return bytes(atheris.Mutate(data, max(1, most)))
