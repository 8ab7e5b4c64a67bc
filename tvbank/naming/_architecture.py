"""The architecture behind a checkpoint, without its weights: what its names lead to.

A module has one. A folder's ``config.json`` names a class of transformers', which is built on the
meta device. Code beside the weights is never run, and no class but transformers' own is built.
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, final

from tvbank.checkpoint import Checkpoint
from tvbank.folders import config_of

if TYPE_CHECKING:
    import torch

    from tvbank.naming._conversions import Conversions

__all__ = ["Architecture", "architectures"]

#: Counts in a configuration that make a model larger to build, even without weights.
_COUNTS = re.compile(r"layer|block|depth|expert|stage|head|level|tower|codebook")

#: The most that such a count may be, beside the number of the checkpoint's tensors.
_MOST = 1024


@final
@dataclass(frozen=True)
class Architecture:
    """What names of files and of modules lead to.

    Attributes:
        tables: transformers' conversion tables of the model, or of models within it.
        tensors: parameters and buffers by name, without weights or with.
        is_own: whether a checkpoint's names are those of the module's tensors.
    """

    tables: list[Conversions]
    tensors: Mapping[str, torch.Tensor]
    is_own: bool


def architectures(*checkpoints: Checkpoint) -> Iterator[tuple[Checkpoint, Architecture]]:
    """The architectures of some checkpoints, those that have one; built when asked for."""
    for checkpoint in checkpoints:
        if checkpoint.module is not None:
            found = _of_module(checkpoint.module)
        else:
            config = config_of(checkpoint)
            size = max(len(checkpoint.tensors), _MOST)
            fits = config is not None and "model_type" in config and not _is_oversized(config, size)
            found = _of_config(json.dumps(config)) if fits else None
        if found is not None:
            yield checkpoint, found


def _of_module(module: torch.nn.Module) -> Architecture | None:
    from tvbank.naming._conversions import conversions_in

    tensors = dict(module.state_dict(keep_vars=True))
    tables = conversions_in(module, tensors)
    return Architecture(tables, tensors, is_own=True) if tables else None


@lru_cache(4)
def _of_config(text: str) -> Architecture | None:
    """The architecture that a configuration names; ``None`` if transformers does not know it."""
    config: dict[str, Any] = json.loads(text)
    try:
        import torch
        import transformers
    except ImportError:
        return None
    from tvbank.naming._conversions import conversions_in

    names = config.get("architectures") or ()
    kinds = (getattr(transformers, name, None) for name in names if isinstance(name, str))
    kind = next((k for k in kinds if _is_model(k)), None)
    try:
        with warnings.catch_warnings(), torch.device("meta"), _quiet():
            warnings.simplefilter("ignore")
            if kind is None:
                plain = transformers.AutoConfig.for_model(**config)
                kind = _bare_models()[type(plain)]
            model = kind(kind.config_class.from_dict(config))
    except Exception:  # a configuration that does not fit, or of another version
        return None
    tensors = dict(model.state_dict(keep_vars=True))
    return Architecture(conversions_in(model, tensors), tensors, is_own=False)


def _bare_models() -> Any:
    """Classes of models without heads by the class of their configuration."""
    import transformers

    return transformers.MODEL_MAPPING


def _is_model(kind: object) -> bool:
    transformers = sys.modules["transformers"]
    return isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)


def _is_oversized(config: Mapping[str, Any], most: int) -> bool:
    """Whether a configuration asks for more layers than the checkpoint can have tensors for."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            if _is_oversized(value, most):
                return True
        elif _COUNTS.search(str(key)):
            counts = value if isinstance(value, list) else [value]
            if len(counts) > most or any(isinstance(n, int | float) and n > most for n in counts):
                return True
    return False


@contextmanager
def _quiet() -> Iterator[None]:
    """Transformers says nothing of a model that it only builds to be looked at."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(50)  # as Python's own CRITICAL
    try:
        yield
    finally:
        logging.set_verbosity(before)
