"""Decoding fused with what is done to the weights, frame by frame, on memory by address.

The other decoders of ``coding`` make arrays; these loops write into the memory of a live model
while they decode, several frames to a call, without the GIL, one call a thread.

- ``apply``      one task: ``apply_frames``
- ``merge``      a weighted sum of tasks: ``merge_frames``
- ``restore``    back, from the record of what was there
- ``recode``     slow masks coded anew for repeated use: ``pack_frames``
- ``add``        a weighted sum of tasks onto totals: ``add_frames``
- ``batch``      frames from anywhere, laid out for these loops
- ``decode``     to arrays: ``decode_frames``
- ``shares``     these loops for threads of any kind, as functions of one address
- ``table``      what they read: a row a frame, a row a place to write to
- ``positions``  every mask encoding; ``gaps`` and ``blocks`` are fused with the addition
- ``blocks``     a matrix of blocks, from ``coder`` (symbols), ``classes`` (of rows and columns),
  ``block`` (runs of one density) and ``bitmap`` (the marked cells, listed)
- ``patterns``   every value encoding
- ``elements``   float32, float16, bfloat16, and steps between floats
- ``headers``    a frame's header, by address
- ``memory``     loads, stores and sixteen additions by address
"""
