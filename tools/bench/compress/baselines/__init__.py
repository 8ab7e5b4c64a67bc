"""What else compresses a fine-tune without data, each from its public description.

===================  ===================================================================
``_dense.py``        what they share: a unit in, a dense unit out
``bitdelta.py``      signs of everything, one magnitude a unit
``compeft.py``       the largest entries of the whole task vector, times alpha sigma
``quantised.py``     task-vector quantisation: 2, 3 or 4 bits by unit
``ultradelta.py``    quantised, pruned at random by group, allocated by variance, rescaled
``fitted.py``        T-Switch with the drop share that fits a size
===================  ===================================================================

Each writes ordinary entries: what they take is what the bank stores, by the same codec.
"""
