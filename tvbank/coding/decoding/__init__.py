"""The decoder of frames: on memory by address, many frames to a call, without the GIL.

Whatever reads a frame uses it: it returns the spec's codes (``tvbank.coding.faults``), so that
nothing is decoded again to name a fault.

- ``table``      what loops read: a row a frame, made by ``read_headers`` and ``batch_of``
- ``decoders``   the decoder of each encoding: compiled when a frame first needs it, called by id
- ``positions``  every mask encoding; ``gaps`` is fused with the additions of switching, too
- ``blocks``     a matrix of blocks, from ``coder`` (symbols, classes of lines, runs) and ``bitmap``
  (the marked cells, listed)
- ``base_blocks`` the same given the base, whose bits ``given`` reads
- ``patterns``   every value encoding
- ``magnitudes`` entropy-coded steps, four at a time
- ``decode``     rows of a table to arrays: ``decode_frames``, ``decode_entries``, ``decode_dense``
- ``elements``   float32, float16, bfloat16, and steps between floats
- ``memory``     loads, stores and sixteen additions by address
"""
