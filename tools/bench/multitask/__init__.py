"""Every way to have many tasks in one model, on real fine-tunes, from bank bytes.

================  ===================================================================
``__main__.py``   the command
``_trial.py``     what is measured on which examples, and a row of the table
``_banks.py``     banks of the fine-tunes, and models that hold what is read from them
``_static.py``    one set of weights for all tasks: average, arithmetic, TIES, DARE
``_emr.py``       EMR-Merging: elect, mask, rescale
``_switched.py``  the task known: fine-tunes, EMR, T-Switch
``_routed.py``    the task found: Auto-Switch
``_cost.py``      against one forward pass of the base
``_show.py``      tables for people
================  ===================================================================

Baselines are written from their papers and tuned over the grids given there, on training examples
that neither the routers nor the tests see.
"""
