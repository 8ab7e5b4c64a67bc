"""Updates of a training run as exact tasks: bytes, and the recipe of the pairs.

===============  =====================================================================
``__main__.py``  the command: each pair as an exact task, alone and given the base
``_gemma.py``    the recipe: Gemma 3 270M and ten steps of AdamW at two rates, bfloat16
===============  =====================================================================
"""
