"""The models that have a switch: no two switches share memory, and steps of optimisers are noted.

An optimiser's step writes to every parameter that has a gradient. Fused ones do so without torch's
counting it; their own hook, which torch calls after every step of every optimiser, cannot miss it.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from tvbank.errors import UsageError, name_some
from tvbank.switching._memory import Target, overlapping
from tvbank.switching._model import AttachedModel
from tvbank.switching._unfit import unfit

_lock = threading.Lock()
#: By ``id``; a model that nobody holds any longer counts no more.
_models: dict[int, weakref.ref[AttachedModel]] = {}


def enter(model: AttachedModel) -> None:
    """Take down a model that gets a switch now.

    Raises:
        UsageError: it shares memory with a model that has one.
    """
    _hook_optimisers()
    with _lock:
        shared = _shared(model)
        if shared:
            gc.collect()  # a switch that nobody holds may be part of a cycle
            shared = _shared(model)
        if shared:
            raise UsageError(
                f"a switch is attached to this model already, or to one that shares its weights "
                f"({name_some(shared)}): two would undo each other's changes. Use that one for all "
                "tasks, or close it first: switch.close(), or auto.close() of an AutoSwitch. A "
                "copy.deepcopy of the model can have a switch of its own, if it was made at the "
                "base"
            )
        _models[id(model)] = weakref.ref(model)


def leave(model: AttachedModel) -> None:
    """Forget a model whose switch is closed; it need not be there."""
    _models.pop(id(model), None)


def _living() -> list[AttachedModel]:
    models = []
    for key, reference in list(_models.items()):
        model = reference()
        if model is None:
            _models.pop(key, None)
        else:
            models.append(model)
    return models


def _shared(model: AttachedModel) -> list[str]:
    """Names of units of a model whose memory another living model has too."""
    mine = {id(target): target for target in model.targets}
    for other in _living():
        pairs: Iterable[tuple[Target, Target]] = overlapping([*mine.values(), *other.targets])
        shared = {
            target.name: None
            for pair in pairs
            if (id(pair[0]) in mine) != (id(pair[1]) in mine)
            for target in pair
            if id(target) in mine
        }
        if shared:
            return list(shared)
    return []


@cache
def _hook_optimisers() -> None:
    """Once a process: hear of every step of every optimiser from now on."""
    register_optimizer_step_post_hook(_note_step)


def _note_step(optimiser: torch.optim.Optimizer, args: Any, named: Any) -> None:
    if torch.compiler.is_compiling():
        return  # ``torch.compile`` must not trace this: samples show what a compiled step wrote
    models = _living()
    if not models:
        return
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    stepped = [p for p in parameters if p.grad is not None and unfit(p) is None and p.numel()]
    for model in models:
        model.watches.note(stepped)
