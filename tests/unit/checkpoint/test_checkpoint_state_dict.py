"""State dicts and modules: ties, strides, element types, and what is no plain tensor."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from tvbank.checkpoint import TensorSpec, open_checkpoint
from tvbank.dtypes import DTYPES
from tvbank.errors import CheckpointError, UnitNotFoundError


def torch_bytes(tensor: torch.Tensor) -> bytes:
    flat = tensor.detach().clone().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()


class TestTorch:
    @pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (5,), (3, 4)])
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_every_element_type_and_shape(self, dtype: str, shape: tuple[int, ...]) -> None:
        size = int(np.prod(shape))
        raw = torch.arange(size * DTYPES[dtype].itemsize).to(torch.uint8) % 2
        tensor = raw.view(getattr(torch, dtype)).reshape(shape)
        checkpoint = open_checkpoint({"x": tensor})
        assert checkpoint.tensors["x"] == TensorSpec("x", dtype, shape)
        array = checkpoint.read("x")
        assert (array.dtype, array.shape) == (DTYPES[dtype], shape)
        assert array.tobytes() == torch_bytes(tensor)

    def test_first_name_owns_shared_storage(self) -> None:
        weight = torch.randn(3, 4)
        checkpoint = open_checkpoint(
            {"a": weight, "b": torch.nn.Parameter(weight), "c": weight.view(3, 4), "d": weight + 0}
        )
        assert list(checkpoint.tensors) == ["a", "d"]
        assert checkpoint.tied == {"b": "a", "c": "a"}
        np.testing.assert_array_equal(checkpoint.read("b"), weight.numpy())

    def test_overlapping_views_are_tensors_of_their_own(self) -> None:
        weight = torch.randn(4, 4)
        views = {
            "whole": weight,
            "transposed": weight.t(),
            "rows": weight[:2],
            "shifted": weight[2:],
            "bits": weight.view(torch.int32),
            "spread": weight[:, ::2],
            "expanded": weight[:1].expand(4, 4),
        }
        checkpoint = open_checkpoint(views)
        assert not checkpoint.tied
        for name, view in views.items():
            array = checkpoint.read(name)
            assert array.flags.c_contiguous
            np.testing.assert_array_equal(array, view.numpy())

    def test_lazy_conjugates_and_negatives_are_resolved_and_not_tied(self) -> None:
        values = torch.randn(3, dtype=torch.complex64)
        entries = {"x": values, "conjugate": values.conj(), "negative": values.conj().imag}
        checkpoint = open_checkpoint(entries)
        assert not checkpoint.tied
        np.testing.assert_array_equal(checkpoint.read("conjugate"), values.numpy().conj())
        np.testing.assert_array_equal(checkpoint.read("negative"), -values.numpy().imag)

    def test_empty_tensors_are_never_tied(self) -> None:
        empty = torch.empty(0, 3)
        assert not open_checkpoint({"a": empty, "b": empty}).tied

    def test_nothing_is_copied_and_nothing_can_be_changed(self) -> None:
        weight = torch.zeros(3, requires_grad=True)
        array = open_checkpoint({"a": weight}).read("a")
        assert not array.flags.writeable
        with torch.no_grad():
            weight += 1
        np.testing.assert_array_equal(array, [1, 1, 1])

    def test_nan_payloads_survive(self) -> None:
        bits = torch.tensor([0x7FC00001, -1, 0x7F800001, -0x80000000], dtype=torch.int32)
        array = open_checkpoint({"a": bits.view(torch.float32)}).read("a")
        np.testing.assert_array_equal(array.view(np.int32), bits.numpy())

    def test_resized_while_open(self) -> None:
        weight = torch.zeros(3)
        checkpoint = open_checkpoint({"a": weight})
        weight.resize_(5)
        with pytest.raises(CheckpointError, match=r"'a' was float32 \[3\].* is float32 \[5\] now"):
            checkpoint.read("a")

    def test_module(self) -> None:
        layer = torch.nn.Linear(2, 2)
        checkpoint = open_checkpoint(torch.nn.Sequential(layer, torch.nn.BatchNorm1d(2), layer))
        assert checkpoint.source == "the module Sequential"
        assert checkpoint.tied == {"2.weight": "0.weight", "2.bias": "0.bias"}
        assert checkpoint.tensors["1.num_batches_tracked"] == TensorSpec(
            "1.num_batches_tracked", "int64", ()
        )


class Wrapper(torch.Tensor):
    """A tensor that wraps others and has no storage, as quantisation libraries make them."""

    @staticmethod
    def __new__(cls) -> Wrapper:
        return torch.Tensor._make_wrapper_subclass(cls, (2,))

    @classmethod
    def __torch_dispatch__(cls, *call: Any) -> Any:
        raise NotImplementedError


def quantised() -> torch.Tensor:
    return torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)


def nested() -> torch.Tensor:
    return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.ones(2, device="meta"), "meta device"),
        (lambda: torch.ones(2).to_sparse(), "sparse"),
        (quantised, "quantised (qint8)"),
        (nested, "nested"),
        (lambda: torch.nn.LazyLinear(2).weight, "uninitialised"),
        (lambda: torch.ones(2, dtype=torch.complex128), "complex128"),
        (Wrapper, "Wrapper without storage"),
        (lambda: 3, "type int"),
        (lambda: {"nested": torch.ones(2)}, "type dict"),
        (lambda: None, "type NoneType"),
        (lambda: np.float32(3), "type float32"),
        (lambda: np.array([None]), "object"),
        (lambda: np.array(["text"]), "str"),
        (lambda: np.zeros(2, np.complex128), "complex128"),
        (lambda: np.zeros(2, [("field", "f4")]), "void"),
        (lambda: np.zeros(2, ml_dtypes.int4), "int4"),
        (lambda: np.zeros(2, ml_dtypes.float8_e4m3fnuz), "float8_e4m3fnuz"),
    ],
)
def test_refused_entries_are_named(
    make: Callable[[], Any], words: str, refusal: Callable[[Any], str]
) -> None:
    with warnings.catch_warnings():  # torch says that some of these are about to disappear
        warnings.simplefilter("ignore")
        entry = make()
    message = refusal({"fine": np.zeros(2), "layer.odd": entry})
    assert "'layer.odd'" in message
    assert words in message


def test_keys_that_are_no_strings(refusal: Callable[[Any], str]) -> None:
    assert "the key 7 is not a string" in refusal({7: np.zeros(2)})


def test_extra_state_of_a_module(refusal: Callable[[Any], str]) -> None:
    class Counting(torch.nn.Linear):
        def get_extra_state(self) -> int:
            return 3

    assert "'_extra_state' is not a tensor" in refusal(Counting(2, 2))


class TestNumpy:
    def test_big_endian_and_strides(self) -> None:
        plain = np.arange(12, dtype="<f4").reshape(3, 4)
        entries = {"big": plain.astype(">f4"), "turned": plain.T, "half": plain[:, ::2]}
        checkpoint = open_checkpoint(entries)
        for name, entry in entries.items():
            array = checkpoint.read(name)
            assert array.dtype == np.dtype("<f4")
            assert array.flags.c_contiguous
            np.testing.assert_array_equal(array, entry)

    def test_misaligned(self) -> None:
        array = np.frombuffer(bytes(range(17)), "<f4", 4, 1)
        read = open_checkpoint({"a": array}).read("a")
        assert read.flags.aligned
        assert read.tobytes() == array.tobytes()

    def test_scalars_stay_scalars(self) -> None:
        checkpoint = open_checkpoint({"little": np.array(3.0), "big": np.array(3.0, ">f8")})
        assert checkpoint.read("little").shape == checkpoint.read("big").shape == ()

    def test_ties(self) -> None:
        weight = np.ones((2, 3), np.float32)
        entries = {"a": weight, "b": weight, "turned": weight.T, "bits": weight.view(np.int32)}
        assert open_checkpoint(entries).tied == {"b": "a"}

    def test_subclasses_come_back_plain(self) -> None:
        array = np.ones((2, 2)).view(np.matrix)
        assert type(open_checkpoint({"a": array}).read("a")) is np.ndarray


def test_torch_and_numpy_side_by_side() -> None:
    checkpoint = open_checkpoint({"a": torch.ones(2), "b": np.ones(2, np.float32)})
    np.testing.assert_array_equal(checkpoint.read("a"), checkpoint.read("b"))


def test_unknown_name() -> None:
    with pytest.raises(UnitNotFoundError, match="the state dict has no tensor 'b'"):
        open_checkpoint({"a": np.ones(2)}).read("b")


def test_closed() -> None:
    with open_checkpoint({"a": np.ones(2)}) as checkpoint:
        array = checkpoint.read("a")
    checkpoint.close()
    np.testing.assert_array_equal(array, [1, 1])
    with pytest.raises(CheckpointError, match="is closed: open it again to read 'a'"):
        checkpoint.read("a")


def test_sizes_are_exact_beyond_64_bits() -> None:
    spec = TensorSpec("a", "float64", (2**40, 2**30))
    assert (spec.size, spec.nbytes) == (2**70, 2**73)
