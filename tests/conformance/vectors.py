"""The committed test vectors, as their index files list them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spec.reference.weights import exponent_bytes

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "spec" / "vectors"


@dataclass(frozen=True)
class Vector:
    name: str
    path: Path
    expected: dict[str, Any]

    @property
    def data(self) -> bytes:
        return self.path.read_bytes()

    @property
    def base(self) -> np.ndarray | None:
        """The patterns of the base's weights that a frame is given, if it is given any."""
        if "base" not in self.expected:
            return None
        kind = np.uint32 if self.expected["base_dtype"] == "float32" else np.uint16
        return np.frombuffer(bytes.fromhex(self.expected["base"]), kind)

    @property
    def exponents(self) -> list[int] | None:
        """The same as the reference decoder takes it."""
        if self.base is None:
            return None
        return exponent_bytes(self.expected["base_dtype"], self.base.tobytes())


def vectors(folder: str) -> list[Vector]:
    """All vectors of a folder; ``expected`` is the line of the index."""
    suffix = ".bin" if folder.startswith("frames") else ""
    listed = json.loads((VECTORS / folder / "index.json").read_text())["vectors"]
    found = [
        Vector(each["name"], VECTORS / folder / f"{each['name']}{suffix}", each) for each in listed
    ]
    assert {path.name for path in (VECTORS / folder).iterdir()} == {
        "index.json",
        *(vector.path.name for vector in found),
    }
    return found


def name_of(vector: Vector) -> str:
    return vector.name
