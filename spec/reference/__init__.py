"""The reference decoder: a second reader of banks, written from the text of spec/ alone.

Standard library and ``bitarray`` only; it imports nothing from tvbank and it is slow on purpose.

================  ================================================================
``invalid.py``    ``Invalid``: what is wrong, as one of the spec's reason codes
``bits.py``       a section of a frame as a stream of bits; Rice symbols
``masks.py``      mask section -> positions of the non-zeros (masks.md)
``values.py``     value section -> 32-bit patterns of the non-zeros (values.md)
``frame.py``      header, order of the checks, ``decode_frame`` (frame.md)
``crc32c.py``     the checksum of shard indexes and frames
``documents.py``  the JSON documents of a bank and their checks (container.md)
``shards.py``     the index of a shard and the frames it points at
``extras.py``     arrays kept whole, zstd undone by ``numcodecs`` if it is there
``weights.py``    base weights + entries -> tuned weights, bit for bit
``bank.py``       ``open_bank``, tasks, units, ``Bank.verify``
``__main__.py``   prints what a bank holds
================  ================================================================
"""
