"""What tvbank costs beside what else would do the job: ratios, measured in one process.

===================  =====================================================================
``__main__.py``      the command: what to measure, a table or JSON
``_rounds.py``       jobs timed in interleaved rounds; rows and their targets
``_pairs.py``        the checkpoints to measure on, and eight fine-tunes made of them
``_codes.py``        generic ways to store a mask and its signs
``_peers.py``        installable packages that store deltas, if they are installed
``sizes.py``         bytes at the same fidelity
``adding.py``        ``add``, ``export``, ``verify`` against reading and subtracting
``reading.py``       units and tasks through tvbank's reader and through zarr-python
``merging.py``       ``merge`` against mergekit
``switching.py``     ``switch.to``, by tools/bench_switch.py
``starting.py``      imports, the command line's start, the first ``add`` of a process
===================  =====================================================================
"""
