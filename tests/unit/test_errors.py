"""The tree of errors: one root, each class also a built-in, messages as they were given."""

import builtins
import copy
import importlib
import inspect
import pickle
import pkgutil

import pytest

import tvbank
from tvbank import errors
from tvbank.errors import CorruptionError, FormatError, TvbankError

BUILT_IN = tuple(
    kind
    for kind in vars(builtins).values()
    if isinstance(kind, type)
    and issubclass(kind, Exception)
    and kind not in (Exception, TvbankError)
)
CLASSES = [getattr(errors, name) for name in errors.__all__]


def made(kind):
    if issubclass(kind, CorruptionError):
        return kind("reason", "message", key="k", task="t", unit="u", start=1, stop=2)
    return kind("reason", "message") if issubclass(kind, FormatError) else kind("message")


def exceptions_of_tvbank():
    """Every exception class that any module of tvbank defines."""
    found = set()
    for module in pkgutil.walk_packages(tvbank.__path__, "tvbank."):
        if module.name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(value) and issubclass(value, BaseException):
                found |= {value} if value.__module__.startswith("tvbank.") else set()
    return found


def test_all_lists_every_class():
    defined = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert set(errors.__all__) == {
        name for name in defined if issubclass(getattr(errors, name), Exception)
    }
    assert errors.__all__ == sorted(errors.__all__)


def test_every_exception_of_the_package_is_of_the_tree():
    for kind in exceptions_of_tvbank():
        assert issubclass(kind, TvbankError)
        assert kind is TvbankError or issubclass(kind, BUILT_IN)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_message_reads_as_it_was_given(kind):
    assert kind.__doc__
    error = made(kind)
    assert str(error) == "message"
    assert isinstance(error, Exception)


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_survive_the_way_from_a_worker_process(kind):
    error = made(kind)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is kind
        assert str(again) == str(error)
        assert again.args == error.args
        assert vars(again) == vars(error)


def test_a_storage_error_is_no_errno():
    error = errors.StorageError("only a sentence")
    assert str(error) == "only a sentence"
    assert isinstance(error, OSError)
    assert issubclass(errors.ConflictError, errors.StorageError)


def test_reasons_are_kept():
    error = made(CorruptionError)
    assert (error.reason, error.key, error.task, error.unit) == ("reason", "k", "t", "u")
    assert (error.start, error.stop) == (1, 2)
    assert errors.BaseMismatchError("m", ["a", "b"]).units == ("a", "b")
