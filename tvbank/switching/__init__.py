"""Live switching: a model in memory takes on a task of a bank, and gives it back bit for bit.

>>> switch = tvbank.attach(model, bank)
>>> switch.to("cats")
>>> switch.to({"cats": 0.7, "dogs": 0.3})
>>> switch.active
{'cats': 0.7, 'dogs': 0.3}
>>> switch.close()

================  ===========================================================================
``_switch.py``    ``attach``, and ``Switch``: what users hold
``_model.py``     an attached model: whether it is the base, and still the same model
``_live.py``      which models have a switch: never two for the same memory; optimisers' steps
``_turns.py``     whose turn it is: calls and ``with`` blocks, whatever thread ends them
``_places.py``    the entries of a model's modules, by name
``_watches.py``   whether others changed or wrote to them
``_samples.py``   a few entries of each, which show what torch does not count
``_unfit.py``     why a model or a tensor cannot be switched, and the remedy
``_memory.py``    targets: the memory that units live in, each once, however many names it has
``_bindings.py``  which of that memory each unit of a layout is
``_resident.py``  tasks in memory, their frames bound to the places that they go to
``_change.py``    one change of the weights: complete, or undone
``_proving.py``   whether the weights are those that an exact task records
``_record.py``    what the weights were before: positions and old values
``_direct.py``    additions to contiguous memory of the CPU, by ``loops``
``loops/``        what writes into weights while it decodes
``_indexed.py``   additions on other devices and strides, by torch's index operations
``_products.py``  units that are products in a task, written whole
``_blend.py``     buffers under a weighted sum: a mean, as ``tvbank.merge`` takes it
``_heads.py``     units kept whole: heads, buffers, resized embeddings
``_sizes.py``     what a model says of their shapes: sides of layers, its configuration
``_threads.py``   the threads that share the work of a change, and its parts
================  ===========================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.switching._switch import RESIDENT_BYTES as RESIDENT_BYTES
    from tvbank.switching._switch import Switch as Switch
    from tvbank.switching._switch import attach as attach
    from tvbank.switching._switch import bank_for as bank_for

__all__ = ["RESIDENT_BYTES", "Switch", "attach", "bank_for"]

__getattr__ = lazy_exports(__name__, dict.fromkeys(__all__, "_switch"))
