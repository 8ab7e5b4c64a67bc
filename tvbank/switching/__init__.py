"""Live switching: a model in memory takes on a task of a bank, and gives it back bit for bit.

    switch = tvbank.attach(model, bank)
    switch.to("cats")
    switch.to({"cats": 0.7, "dogs": 0.3})
    switch.off()

================  ===========================================================================
``_attach.py``    ``attach``: find the base's units in a model, and check that it is the base
``_base.py``      whether its weights are the base's
``_model.py``     what is known of it from then on
``_switch.py``    ``Switch``: what users hold
``_change.py``    one change of the weights, whole or not at all
``_request.py``   what was asked for: tasks, weights, heads
``_names.py``     under which prefix the model has the base's names
``_places.py``    the entries of a model's modules, by name
``_memory.py``    targets: the memory that units live in, each once, however many names it has
``_bindings.py``  which of that memory each unit of a layout is
``_watch.py``     whether the model is still the one that was attached
``_resident.py``  a task in memory, its frames bound to the places that they go to
``_cache.py``     the tasks in memory, under a budget of bytes
``_record.py``    what was there before: positions and old weights
``loops/``        what writes into weights while it decodes
``_direct.py``    these loops on contiguous memory of the CPU, over several threads
``_sums.py``      weighted sums of tasks, by these loops
``_indexed.py``   other devices and strides: torch's index operations
``_heads.py``     units kept whole: heads, buffers, resized embeddings
``_split.py``     work in parts of one size
``_threads.py``   jobs side by side, none left behind
``_team.py``      the threads that torch's own operations run on
================  ===========================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.switching._attach import attach as attach
    from tvbank.switching._switch import Switch as Switch

__all__ = ["Switch", "attach"]

__getattr__ = lazy_exports(__name__, {"Switch": "_switch", "attach": "_attach"})
