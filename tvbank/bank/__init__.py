"""The bank on its store (``tvbank/storage``), from bytes to mappings.

========================  ===========================================================
``documents.py``          catalog and revision documents: structs, limits, digests
``chains.py``             which tasks are steps from another's state; ``lineage.py`` their entries,
                         from the base on; ``starting.py`` writes them, ``folding.py`` undoes them
``versions.py``           exact tasks in a row: which is the newest
``zarr_documents.py``     the zarr documents of a delta, of extras and of plain groups
``names.py``              checks what users name and say: names of tasks, metadata
``shard.py``              shards: frames, checksums, index
``extras.py``             units kept whole beside the delta, compressed with zstd
``products.py``           units that are products, as adapters have them;
                         ``product_records.py`` what a revision says of them,
                         ``adapting.py`` makes a revision of an adapter,
                         ``fitting.py`` fits it to a size
``zstd_header.py``        what a zstd frame says before it is decompressed
``encoder.py``            a ``Draft``, what is being written; turns its units into frames
``noting.py``             what is noted of a fine-tune's configuration
``writer.py``             makes a revision of it; holds its objects until they can be named
``ahead.py``              work on several units, or requests to a store, at the same time
``publish.py``            puts a revision into the catalog, atomically
``placing.py``            what a writer finds in place: sound, or written anew
``snapshot.py``           reads the documents of one generation, and checked objects
``whole.py``              fetches whole shards, and checks their digests
``frames.py``             frames as they are stored, of a unit or all of a task
``reader.py``             reads them by unit or by shard
``allocating.py``         asks for memory before anything is decoded into it
``limits.py``             how much there is: of the machine, its groups, the process
``entries.py``            puts their entries together, sparse or dense
``revision.py``           reads a revision document, and holds it against the catalog
``proved.py``             digests of the weights that exact tasks make
``unit.py``               ``Unit``: the entries of one unit of a task
``task.py``               ``Task``, a mapping of units; ``summary.py`` what is stored of each
``contents.py``           one generation of a bank, task by task, object by object
``adding.py``             compresses what is given and publishes it as a task
``routers.py``            routers as they are stored; ``router_documents.py`` their documents,
                         ``router_names.py`` the mapping of them
``bank.py``               ``Bank``, ``create`` and ``open``
``checking.py``          finds the faults of one task; ``verify.py`` those of a bank
``gc.py``                removes what no catalog names
``repair.py``             documents that other tools rewrote or removed, restored if proved;
                         ``rewritten.py`` what they were, ``rebuilt.py`` a lost catalog,
                         ``amended.py`` the bank as it would be
``making.py``             making an empty bank; where this machine has the base's weights
``copying.py``            the objects that a catalog reaches, copied to another bank
``outputs.py``            keeps what is written from replacing a file of the bank
``packing.py``            the same, into a zip file
``zarr_codec.py``         the codec ``tvbank.sass`` for zarr; ``numcodecs_codec.py`` for numcodecs
========================  ===========================================================
"""
