"""Updates of a training run: tvbank beside what else stores one, in bytes, seconds and memory.

===============  =====================================================================
``__main__.py``  the command: a table a pair
``_child.py``    some ways in a process of their own: bytes, seconds, memory
``_way.py``      what a way to store an update has to do
``_ours.py``     tvbank's: ``diff`` and ``patch``; frames that stand alone
``_simple.py``   zstd of the difference of raw bytes; TRL's sparse layout
``_peers.py``    packages: arc_v3, reminis, zipnn, z4ai, moonclip
``_entropy.py``  what the changes of a pair take at least, entry by entry
``_live.py``     a live model on its way through versions, beside adding and loading
``_gemma.py``    the recipe: Gemma 3 270M and ten steps of AdamW at two rates, bfloat16
``_pairs.py``    the recipe: MiniLM in float32 and float16; changes by chance
===============  =====================================================================
"""
