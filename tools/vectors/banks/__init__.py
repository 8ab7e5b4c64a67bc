"""The vectors of banks: ``valid.py``, ``invalid.py``, and what they are made with."""
