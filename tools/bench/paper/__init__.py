"""The paper's four methods to the letter, and ours beside them, on the same tasks.

=================  ==================================================================
``__main__.py``    the command
``_settings.py``   the settings that the paper gives, and ours
``_ways.py``       every row: which vectors, found by which router
``_kept.py``       what a folder keeps of a run: learned banks, resume files, rows
=================  ==================================================================

Everything is measured from bank bytes; ``../multitask`` has the trial, its rows and the routed
passes.
"""
