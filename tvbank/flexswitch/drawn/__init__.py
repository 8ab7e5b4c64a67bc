"""Entries drawn by chance, with steps and scales that are learned: the objective of bytes.

================  =======================================================================
``_drawn.py``     all units: weights of a fresh draw out, gradients in; the outcome
``_kernels.py``   what a gradient says of a unit's scale and of its noise
``_frontier.py``  the best that some bytes buy of a unit
``_fit.py``       the same change of all bytes that meets a budget
================  =======================================================================
"""
