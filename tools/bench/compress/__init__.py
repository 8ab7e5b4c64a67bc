"""Accuracy of real fine-tunes against their stored bytes, by every method: a table and a picture.

    python -m tools.bench compress --tasks FOLDER [--family minilm] [--methods budget tvq ...]

=================  ==================================================================
``__main__.py``    the command
``_methods.py``    which settings of which methods are measured; FlexSwitch as it is run here
``_baselines.py``  what else compresses a fine-tune without data
``_measure.py``    one fine-tune, stored, read back and scored
``_record.py``     every measurement so far, in a file; means over tasks
=================  ==================================================================

Every accuracy is that of weights read back from a bank, and every size is what the bank's catalog
says: frames, indices, documents. What a method lets one choose by data (alpha of ComPEFT, the
factor of UltraDelta) is chosen by accuracy on the end of the training data; tests are only ever
scored.
FlexSwitch sees 100 training examples without their labels; its settings can be chosen by the
accuracy on the end of the training data, which every measurement has beside that on the tests.
"""
