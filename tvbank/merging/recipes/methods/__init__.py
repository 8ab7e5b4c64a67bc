"""What recipes may name as their ``merge_method``, each as mergekit 0.1.5 defines it.

===================  ===============================================================
``linear.py``        weighted mean of all models
``slerp.py``         between two models along the great circle
``passthrough.py``   one model, scaled
``task_vectors.py``  sums of task vectors; what ties, dare and breadcrumbs share
``ties.py``          trimmed vectors, of the tasks that agree on the sign
``dare.py``          entries dropped at random, the others scaled
``breadcrumbs.py``   without the smallest entries and the largest
``ram.py``           means where tasks overlap, sums where they do not
``trimming.py``      the largest entries, and those between two ranks
===================  ===============================================================

The arithmetic is mergekit's, step by step in the same element type, so that its results come out
bit for bit; ``dtype: float32`` with ``out_dtype: bfloat16`` rounds once instead.
"""
