"""Every way to have many tasks in one model, on real fine-tunes, from bank bytes.

=================  ==================================================================
``__main__.py``    the command
``_trial.py``      what is measured on which examples, from which banks; a row of the table
``_baselines.py``  one set of weights for all tasks, and EMR-Merging
``_rivals.py``     TALL-masks, Twin-Merging; masks by our codec
``_switched.py``   the task known: fine-tunes, EMR-Merging, T-Switch, Budget, FlexSwitch
``_routed.py``     the task found: Auto-Switch, and what it costs
``_show.py``       tables for people
=================  ==================================================================

Baselines are written from their papers and tuned over the grids given there, on training examples
that neither the routers nor the tests see.
"""
