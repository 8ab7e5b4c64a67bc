"""How kernels are compiled, and how their machine code is kept from one process to the next.

numba makes machine code of every function that a kernel calls, with wrappers for Python and for C,
and optimises it again in each caller. Here only what Python or C calls becomes machine code: the
functions that it calls are optimised with it, once, and argument constants make no versions of
their own. That halves the time that a first call takes.

Machine code is kept where numba keeps it (``NUMBA_CACHE_DIR``, else beside each module, else in
the user's cache folder). What is read back must have the digest it was written with and be made of
the same sources, those of the called functions included; everything else is compiled anew. Where
nothing can be written, kernels are compiled in memory, with one warning.
"""

# mypy: disallow-untyped-calls=False

from __future__ import annotations

import hashlib
import pickle
import re
import sys
import warnings
from collections.abc import Callable
from functools import cache, cached_property
from typing import Any, Final

import llvmlite
import numba
from numba.core import sigutils, types
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache
from numba.core.ccallback import CFunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.registry import CPUDispatcher

_OPTIONS: Final = {"nopython": True, "nogil": True, "error_model": "numpy"}
_IMPORT: Final = re.compile(r"^from (tvbank[\w.]*) import (\([^)]*\)|.*)", re.MULTILINE)
_warned = False


class _NoEnvironments:
    """Stands for the code generator where there is no machine code that could want Python."""

    def set_env(self, name: str, environment: Any) -> None:
        """Nothing is set."""


class _Part(JITCodeLibrary):
    """The code of a function that only compiled code calls: its callers optimise it with theirs."""

    def _optimize_final_module(self) -> None:
        """Nothing is optimised here."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0

    @property
    def codegen(self) -> Any:
        return _NoEnvironments()


class _PartCompiler(Compiler):
    def __init__(self, typing: Any, target: Any, library: Any, *rest: Any) -> None:
        super().__init__(typing, target, _Part(target.codegen(), "part"), *rest)


class Kernel(CPUDispatcher):
    """A compiled function: one version for Python, and one that becomes part of its callers."""

    def __init__(
        self,
        py_func: Callable[..., Any],
        locals: dict[str, Any] | None = None,
        targetoptions: dict[str, Any] | None = None,
        pipeline_class: type[Compiler] = Compiler,
    ) -> None:
        options = _OPTIONS | {"no_cfunc_wrapper": True} | (targetoptions or {})
        super().__init__(py_func, locals or {}, options, pipeline_class)
        self._cache = _KernelCache(py_func)
        options = options | {"no_cpython_wrapper": True}
        self._part = CPUDispatcher(py_func, locals or {}, options, _PartCompiler)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """What a caller that is being compiled calls."""
        args = tuple(types.unliteral(kind) for kind in args)
        return self._part.get_call_template(args, kws)

    def get_overload(self, sig: Any) -> Any:
        """The version that ``get_call_template`` compiled."""
        return self._part.get_overload(sig)


def compile_for_c(function: Callable[..., Any], signature: Any) -> int:
    """The address of a function, compiled now, that C calls with arguments of given types."""
    options = {"nopython": True, "error_model": "numpy"}
    signature = sigutils.normalize_signature(signature)
    compiled: Any = CFunc(function, signature, locals={}, options=options)
    compiled._cache = _KernelCache(function)
    compiled.compile()
    return int(compiled.address)


class _CheckedFiles(IndexDataCacheFile):
    """Files of machine code that say what they are and were made of.

    numba writes the index first: if a process ends or the disk is full between the two, an index
    of today names code of yesterday.
    """

    def save(self, key: Any, data: Any) -> None:
        content = self._dump((self._made_of(), key, data))
        super().save(key, (hashlib.sha256(content).digest(), content))

    def load(self, key: Any) -> Any:
        stored = super().load(key)
        if stored is None:
            return None
        digest, content = stored
        if hashlib.sha256(content).digest() != digest:
            return None
        made_of, stored_key, data = pickle.loads(content)
        return data if (made_of, stored_key) == (self._made_of(), key) else None

    def _made_of(self) -> tuple[Any, ...]:
        return self._source_stamp, numba.__version__, llvmlite.__version__


class _Checked(FunctionCache):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp(), _sources(function.__module__)
        self._cache_file = _CheckedFiles(self._cache_path, self._impl.filename_base, stamp)


class _KernelCache:
    """numba's cache of a function; no fault of its files stops what was to be computed."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    @cached_property
    def _files(self) -> Any:
        try:
            return _Checked(self._function)
        except (RuntimeError, OSError) as error:
            _warn(error)
            return NullCache()

    @property
    def cache_path(self) -> str | None:
        """The folder, if there is one."""
        path: str | None = self._files.cache_path
        return path

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The machine code for some types; None if there is none that can be used."""
        try:
            return self._files.load_overload(sig, target_context)
        except Exception:  # unpickling what is damaged raises anything
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep machine code, if that can be done."""
        try:
            try:
                self._files.save_overload(sig, data)
            except OSError:
                raise
            except Exception:  # the index is damaged: begin a new one
                self._files.flush()
                self._files.save_overload(sig, data)
        except OSError as error:
            _warn(error)


def _warn(error: Exception) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"tvbank's compiled code cannot be kept ({error}), so that every process compiles it "
            "again; set the environment variable NUMBA_CACHE_DIR to a folder that can be written",
            RuntimeWarning,
            stacklevel=2,
        )


@cache
def _sources(module: str) -> bytes:
    """SHA-256 of a module's source and of those of tvbank's that it imports, and so on."""
    loaded = sys.modules.get(module)
    path = getattr(loaded, "__file__", None)
    if path is None:
        return b""
    loader: Any = getattr(loaded, "__loader__", None)
    try:
        source: bytes = loader.get_data(path)
    except (AttributeError, OSError):
        return b""
    digest = hashlib.sha256(source)
    for package, names in _IMPORT.findall(source.decode()):
        digest.update(_sources(package))
        for name in re.findall(r"\w+", names):
            if f"{package}.{name}" in sys.modules:
                digest.update(_sources(f"{package}.{name}"))
    return digest.digest()
