"""The version of this package; that of the format is another (spec/README.md)."""

from __future__ import annotations

__version__ = "0.1.0"
