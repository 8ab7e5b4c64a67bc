"""The generator of the test vectors in spec/vectors: ``python -m tools.vectors [--check]``.

==============  ======================================================================
``frames/``     valid frames by a slow encoder, invalid ones put together by hand
``banks/``      valid banks by a slow writer, and one of them tampered with
``_dice.py``    random numbers that are the same everywhere; ``_names.py`` file names
==============  ======================================================================

Written from the spec's pages; it shares no code with the library or the reference decoder.
``archive.py`` is a command of its own: the spec, schemas and vectors as one zip file. ``frozen.py``
is another: banks as the library writes them today, for ``tests/compat``.
"""
