"""What a release must hold, tried in environments of its own: ``python -m tools.release NAME``.

===================  ====================================================================
``__main__.py``      the command
``wheel.py``         builds wheel and sdist, runs a fast part of the tests from the wheel
``reading.py``       the smallest install: without extras, what it takes, what it reads
``reads.py``         what is run there: banks written, read, exported, verified
``plain.py``         decoding without numba: all vectors, and its time beside compiled loops
``versions.py``      every Python there is, with the newest and the oldest versions allowed
``manual.py``        writes docs/tvbank.1, the man page, from the command line's own help
``_environment.py``  builds distributions and makes environments
===================  ====================================================================
"""
