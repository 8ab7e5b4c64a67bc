"""The reference decoder: a second reader of banks, written from the text of spec/ alone.

Standard library and ``bitarray`` only; it imports nothing from tvbank and it is slow on purpose.

================  ================================================================
``invalid.py``    ``Invalid``: what is wrong, as one of the spec's reason codes
``bits.py``       a section of a frame as a stream of bits; Rice symbols
``masks.py``      mask section -> positions of the non-zeros (masks.md)
``values.py``     value section -> 32-bit patterns of the non-zeros (values.md)
``frame.py``      header, order of the checks, ``decode_frame`` (frame.md)
``crc32c.py``     the checksum of shard indexes and frames
``json_text.py``  JSON as the format allows it, with typed access
``names.py``      names of tasks and units
``layout.py``     the layout document
``documents.py``  the root document and the revision documents (container.md)
``arrays.py``     the zarr documents of arrays, byte for byte
``shards.py``     the index of a shard and the frames it points at
``extras.py``     tensors kept whole; zstd is undone by ``numcodecs``, imported when needed
``products.py``   units that are a product of two thin matrices (products.md)
``levels.py``     the levels of packed ones
``weights.py``    base weights + entries -> tuned weights, bit for bit
``folder.py``     objects as files
``bank.py``       ``open_bank``, and a task's entries, extras and weights
``verify.py``     ``verify``: everything that the catalog reaches
``__main__.py``   prints what a bank holds
================  ================================================================
"""
