"""The paper's half: soft gates that harden (LGS), bit widths that settle (BAS), priced by Eq. 14.

==============  ======================================================================
``units.py``    ``PaperUnits``: all units, soft while they are learned, hard at the end
``gates.py``    thresholds, bit widths and levels of one unit as functions of its scalars
``price.py``    what open gates and bits cost; how fast gates and widths harden
``kernels.py``  one pass over entries: soft weights, sums of gradients, hard entries
==============  ======================================================================
"""
