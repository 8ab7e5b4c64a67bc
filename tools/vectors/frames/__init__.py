"""The vectors of frames: ``valid.py``, ``invalid.py``, and what they are made with."""
