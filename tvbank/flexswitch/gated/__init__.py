"""Soft gates that harden, and a mixture of bit widths that becomes one: the paper's objective.

================  ====================================================================
``_gated.py``     all units: soft weights out, gradients in; the outcome
``_gates.py``     thresholds, levels and widths of one unit as functions of its scalars
``_kernels.py``   one pass over entries: soft weights, gradients, hard entries
``_facts.py``     smallest and largest magnitude of each sign
``_rates.py``     what open gates and bits cost
``_schedule.py``  how fast gates and widths harden
``_hard.py``      the outcome: hard gates, one width a unit
================  ====================================================================
"""
