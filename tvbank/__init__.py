"""tvbank: one base model, many fine-tunes, each a small compressed task vector in one bank.

>>> import tvbank
>>> bank = tvbank.create("new", base="base.safetensors")
>>> task = bank.add("cats", "cats.safetensors")
>>> bank["cats"]["encoder.weight"].to_dense().shape
(32, 32)
>>> path = tvbank.export(bank, "cats", out="restored.safetensors")

====================  ==============================================================
``storage/``          bytes under keys: folders, object stores, HTTP, zip files
``checkpoint/``       reading and writing checkpoints, unit by unit
``layout.py``         the address space of a base, and its fingerprints
``folders/``          model folders, as ``from_pretrained`` loads them
``naming/``           a unit's names in files and its places in a live model
``adapters/``         LoRA and its relatives, as PEFT writes them
``artefacts/``        compressed deltas, masks, updates that others wrote, as fine-tunes
``inspection.py``     what a file or folder is: ``inspect``
``vector/``           the task vector: a fine-tune beside its base
``compress/``         what to keep: ``Budget``, ``TSwitch``, ``Exact``
``flexswitch/``       what to keep, learned from examples: ``FlexSwitch``
``coding/``           how to store it: mask and value encodings, frames
``bank/``             where: catalog, shards, reader, writer
``building/``         many fine-tunes into a bank, on many workers: ``build``
``merging/``          back to weights: export, merge; ``Ties``, ``Dare``; recipes
``updates/``          one version of weights after another: ``diff``, ``patch``
``hub/``              banks written to the Hugging Face hub: ``push``
``switching/``        a live model to a task and back: attach, ``Switch``
``routing/``          which task an input belongs to: features, ``Router``
``autoswitch/``       a model that picks its task: ``AutoSwitch``
``reporting/``        what is in a bank: ``report``; what a fine-tune scores in many sizes
``cli/``, ``demo/``   the command line, and its demonstration
``testing/``          hypothesis strategies
``errors.py``         every error that tvbank raises; ``dtypes.py`` element types by name
====================  ==============================================================

``_imports.py`` keeps the current folder off the import path and knows which extra brings what,
``_lazy.py`` exports names without importing, ``_atomic.py`` replaces files, ``_atomic_folder.py``
folders, ``_files.py`` reads files,
``_json.py`` reads what others wrote, ``_progress.py`` says how far work has come
(``_notebook.py``: in a notebook), ``_shown.py`` writes sizes and small tables, ``_registry.py``
finds methods by name, ``_zstd.py`` packs and unpacks, ``_version.py`` holds the version.
Importing tvbank imports neither torch nor numba nor zarr; what needs them does. None of them need
be installed to read banks, to ``export`` and to ``verify``; numba alone, to write them, too.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tvbank import errors as errors
from tvbank import routing as routing
from tvbank._lazy import lazy_exports
from tvbank._version import __version__ as __version__
from tvbank.errors import TvbankError as TvbankError

if TYPE_CHECKING:
    from tvbank._progress import Bar as Bar
    from tvbank.autoswitch import AutoSwitch as AutoSwitch
    from tvbank.autoswitch import vector_router as vector_router
    from tvbank.bank.bank import Bank as Bank
    from tvbank.bank.bank import create as create
    from tvbank.bank.bank import open as open
    from tvbank.bank.checking import Fault as Fault
    from tvbank.bank.copying import CopyReport as CopyReport
    from tvbank.bank.copying import copy as copy
    from tvbank.bank.gc import GcReport as GcReport
    from tvbank.bank.packing import PackReport as PackReport
    from tvbank.bank.packing import pack as pack
    from tvbank.bank.repair import RepairReport as RepairReport
    from tvbank.bank.repair import repair as repair
    from tvbank.bank.task import Task as Task
    from tvbank.bank.unit import Unit as Unit
    from tvbank.building import BuildReport as BuildReport
    from tvbank.building import build as build
    from tvbank.compress import Budget as Budget
    from tvbank.compress import Compressor as Compressor
    from tvbank.compress import Exact as Exact
    from tvbank.compress import TSwitch as TSwitch
    from tvbank.flexswitch import FlexSwitch as FlexSwitch
    from tvbank.hub import PushReport as PushReport
    from tvbank.hub import push as push
    from tvbank.inspection import Inspection as Inspection
    from tvbank.inspection import inspect as inspect
    from tvbank.merging import AdapterReport as AdapterReport
    from tvbank.merging import Dare as Dare
    from tvbank.merging import Recipe as Recipe
    from tvbank.merging import TaskArithmetic as TaskArithmetic
    from tvbank.merging import Ties as Ties
    from tvbank.merging import export as export
    from tvbank.merging import export_adapter as export_adapter
    from tvbank.merging import merge as merge
    from tvbank.merging import merge_recipe as merge_recipe
    from tvbank.reporting import Report as Report
    from tvbank.reporting import report as report
    from tvbank.routing import Router as Router
    from tvbank.switching import Switch as Switch
    from tvbank.switching import attach as attach
    from tvbank.updates import DiffReport as DiffReport
    from tvbank.updates import Follower as Follower
    from tvbank.updates import FollowReport as FollowReport
    from tvbank.updates import PatchReport as PatchReport
    from tvbank.updates import diff as diff
    from tvbank.updates import follow as follow
    from tvbank.updates import follow_file as follow_file
    from tvbank.updates import patch as patch
    from tvbank.updates import patches as patches
    from tvbank.updates import write_hf_delta as write_hf_delta
    from tvbank.updates import write_sparse as write_sparse

#: Quiet unless its user asks: `logging.getLogger("tvbank").setLevel(...)` with a handler.
logging.getLogger(__name__).addHandler(logging.NullHandler())

_OWNERS = {
    "AdapterReport": "merging",
    "AutoSwitch": "autoswitch",
    "Bank": "bank.bank",
    "Bar": "_progress",
    "Budget": "compress",
    "BuildReport": "building",
    "Compressor": "compress",
    "CopyReport": "bank.copying",
    "Dare": "merging",
    "DiffReport": "updates",
    "Exact": "compress",
    "Fault": "bank.checking",
    "Inspection": "inspection",
    "FlexSwitch": "flexswitch",
    "FollowReport": "updates",
    "Follower": "updates",
    "GcReport": "bank.gc",
    "PackReport": "bank.packing",
    "PatchReport": "updates",
    "Recipe": "merging",
    "PushReport": "hub",
    "RepairReport": "bank.repair",
    "Report": "reporting",
    "Router": "routing",
    "Switch": "switching",
    "TSwitch": "compress",
    "Task": "bank.task",
    "TaskArithmetic": "merging",
    "Ties": "merging",
    "Unit": "bank.unit",
    "attach": "switching",
    "build": "building",
    "copy": "bank.copying",
    "create": "bank.bank",
    "diff": "updates",
    "export": "merging",
    "export_adapter": "merging",
    "inspect": "inspection",
    "follow": "updates",
    "follow_file": "updates",
    "merge": "merging",
    "merge_recipe": "merging",
    "open": "bank.bank",
    "pack": "bank.packing",
    "push": "hub",
    "vector_router": "autoswitch",
    "patch": "updates",
    "patches": "updates",
    "repair": "bank.repair",
    "report": "reporting",
    "write_hf_delta": "updates",
    "write_sparse": "updates",
}

__all__ = sorted([*_OWNERS, "TvbankError", "__version__", "errors", "routing"])

__getattr__ = lazy_exports(__name__, _OWNERS)
