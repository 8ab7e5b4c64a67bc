"""What tries to break a bank, for hours if wished: ``python -m tools.soak NAME [--json]``.

=================  =====================================================================
``__main__.py``    the command
``kills.py``       kills (-9) spread over ``add``, ``rm``, ``gc`` and ``cp``
``flips.py``       every bit of a small bank flipped, one at a time
``writers.py``     many processes adding to one bank, on a disk and in S3
``switching.py``   a live model switched at random, beside optimisers and other writers
``memory.py``      every verb on a model of billions of parameters, its memory limited
``scale.py``       what a bank of thousands of tasks costs to open, to read, to add to
=================  =====================================================================

Processes, banks and checks are those of the tests.
"""
