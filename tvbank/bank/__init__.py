"""The bank on its store (``tvbank/storage``), from bytes to mappings.

========================  ===========================================================
``documents.py``          catalog and revision documents: structs, limits, digests
``zarr_documents.py``     the zarr documents of a delta, of extras and of plain groups
``names.py``              task names
``shard.py``              shards: frames, checksums, index
``extras.py``            units kept whole beside the delta
``zstd.py``              compresses their chunks
``writer.py``             compresses a checkpoint into a revision
``metadata.py``           checks what users store with a task
``pairs.py``              the task vector that it shows to a compressor, with what bytes cost
``encoder.py``            turns its units into frames on all cores
``ahead.py``              work that runs ahead of who takes its results
``spool.py``              holds its objects until they can be named
``publish.py``            puts a revision into the catalog, atomically
``snapshot.py``           reads the two documents of one generation
``base_location.py``      where this machine has the base's weights
``reader.py``             reads frames by unit or by shard
``room.py``               asks for memory before anything is decoded into it
``entries.py``            puts their entries together; ``scatter.py`` into their places
``task.py``               ``Task`` and ``Unit``, the mappings users hold
``routers.py``            routers as they are stored; ``router_documents.py`` says what of them
``bank.py``               ``Bank``, ``create`` and ``open``
``inspect.py``            what is stored of each unit, by its frames' headers
``verify.py``, ``gc.py``  finding faults, removing what no catalog names
``making.py``             making an empty bank
``contents.py``           the objects that a catalog reaches
``copying.py``            copies them between banks; ``packing.py`` into a zip file
``zarr_codec.py``         the codec ``tvbank.sass`` for zarr; ``numcodecs_codec.py`` for numcodecs
========================  ===========================================================
"""
