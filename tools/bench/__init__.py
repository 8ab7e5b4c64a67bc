"""Every benchmark, and the recipes of what it measures: ``python -m tools.bench NAME [options]``.

====================  ====================================================================
``__main__.py``       the command
``_measure.py``       what all share: times taken in turns, rows of ratios, printing
``_checkpoints.py``   the files that are measured on: given ones, or synthetic ones
``realtasks/``        real fine-tunes with their data, and the recipes to rebuild them

*bytes and speed*
``coding.py``         frames on i.i.d. masks: bytes and symbols a second
``masks.py``          mask bytes of real fine-tunes against their entropy
``updates/``          exact updates of a training run, with the recipe of real ones
``sizes.py``          tasks against generic codes (``_codes.py``) and peers (``_peers.py``)
``adding.py``         ``add``, ``export``, ``verify`` against reading and subtracting
``building.py``       ``tvbank build`` against a loop of ``add``
``reading.py``        units and tasks against zarr-python
``stores.py``         requests, bytes and time of reading from S3
``merging.py``        ``merge`` against mergekit, in time
``mergekit.py``       the merge methods against mergekit's, entry by entry
``switching.py``      ``switch.to`` against dense deltas and loading a state dict
``first_use.py``      CPU seconds of each verb with nothing compiled yet
``starting.py``       imports, the command line's start, the first ``add`` of a process

*accuracy on real tasks*
``compress/``         accuracy against stored bytes, by every compressor
``adapters.py``       a LoRA adapter as it is and under sizes
``low_rank.py``       a full fine-tune as products of few bits, against sparse entries
``gemma/``            fine-tunes of a language model: compressors, adapters, merges, routing
``multitask/``        every way to have many tasks in one model
``paper/``            the paper's methods to the letter beside ours
``routing.py``        routers: time and recall as tasks grow; right tasks (``_routing_real.py``)
``autoswitch.py``     a self-routing model against its own forward pass
====================  ====================================================================
"""
