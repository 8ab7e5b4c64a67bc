"""The decoder of frames: on memory by address, several frames to a call, without the GIL.

- ``batch``      frames from anywhere, laid out for these loops
- ``headers``    a frame's header, by address
- ``table``      what the loops read: a row a frame, a row a place to write to
- ``decode``     to arrays: ``decode_frames``
- ``add``        a weighted sum of tasks onto totals: ``add_frames``
- ``positions``  every mask encoding; ``gaps`` and ``blocks`` are fused with the addition
- ``blocks``     a matrix of blocks, from ``coder`` (symbols), ``classes`` (of rows and columns),
  ``block`` (runs of one density) and ``bitmap`` (the marked cells, listed)
- ``patterns``   every value encoding
- ``elements``   float32, float16, bfloat16, and steps between floats
- ``memory``     loads, stores and sixteen additions by address
"""
