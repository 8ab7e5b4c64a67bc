"""Sizes as a person writes them."""

import pytest

from tvbank import Budget
from tvbank.compress.budget.target import Target
from tvbank.errors import UsageError

PARAMETERS, BASE_BYTES = 10_000, 40_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.3 bits/param", 375),
        ("0.3bits/parameter", 375),
        (".3 bits per parameter", 375),
        ("1 Bit / Param", 1250),
        ("1.5 KiB", 1536),
        ("1.5 KB", 1500),
        ("300 bytes", 300),
        ("2e3 B", 2000),
        ("1 %", 400),
        ("0.25%", 100),
    ],
)
def test_sizes_are_read(text, expected):
    assert Target.parse(text).in_bytes(PARAMETERS, BASE_BYTES) == expected


@pytest.mark.parametrize(
    "text", ["", "1", "%", "0 %", "-1 %", "nan %", "inf %", "1e999 %", "1 apple", "1 % 2", 3]
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError, match=r"0\.3 bits/param"):
        Budget(text)
