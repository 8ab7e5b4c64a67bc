"""Rice symbols at their limits, and the count of their bits for all parameters at once."""

import numpy as np
import pytest

from tvbank.coding import decode_frame, encode_frame
from tvbank.coding.decoding.positions import stream_code
from tvbank.coding.faults import PADDING, VALID
from tvbank.coding.streams import encode_stream, stream_bits

EDGES = [
    value
    for k in range(32)
    for quotient in (1, 23, 24)
    for value in ((quotient << k) - 1, quotient << k, (quotient << k) + 1)
    if value < 2**32
]


def symbol(value, k):
    """The symbol as the spec words it, in the order of the stream."""
    quotient, low = divmod(value, 1 << k)
    if quotient < 24:
        return "0" * quotient + "1" + f"{low:0{k}b}"[::-1] * bool(k)
    return "0" * 24 + f"{value:032b}"[::-1]


@pytest.mark.parametrize("k", range(32))
def test_streams_are_what_the_spec_says(k):
    values = np.array([*EDGES, 2**32 - 1], np.uint32)
    expected = "".join(symbol(int(value), k) for value in values)
    assert stream_bits(values)[k] == len(expected)
    stream = encode_stream(values, len(expected), k)
    read = np.unpackbits(stream, bitorder="little")
    assert "".join(map(str, read[: len(expected)])) == expected
    assert not read[len(expected) :].any()


def test_parameters_alternate():
    stream = encode_stream(np.array([5, 5, 5], np.uint32), 9 + 5, 1, k_odd=2)
    bits = "".join(map(str, np.unpackbits(stream, bitorder="little")))
    assert bits.startswith(symbol(5, 1) + symbol(5, 2) + symbol(5, 1))


def test_no_symbol_is_longer_than_56_bits():
    lengths = [len(symbol(value, k)) for k in range(32) for value in (*EDGES, 2**32 - 1)]
    assert max(lengths) == 56


def test_steps_at_the_ends_of_int32():
    steps = np.array([2**31 - 1, -(2**31), 1, -1, 2**31 - 2, -(2**31) + 1], np.int32)
    assert np.array_equal(decode_frame(encode_frame(steps, values="rice")), steps)


def test_the_end_of_a_stream_is_checked_to_the_bit():
    short, long = 98, 99

    def code(section, bits):
        data = np.frombuffer(section, np.uint8)
        return stream_code(np.uint64(data.ctypes.data), len(section), bits, short, long)

    assert code(b"\xff\x01", 9) == code(b"\xff\x01", 16) == VALID
    assert [code(b"\xff\x01", bits) for bits in (17, 8, 0)] == [short, long, long]
    assert code(b"\xff\x03", 9) == PADDING
