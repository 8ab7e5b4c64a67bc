"""The loops that write into the weights of a live model while they decode.

- ``apply``    one task: ``apply_frames``
- ``merge``    a weighted sum of tasks: ``merge_frames``
- ``restore``  back, from the record of what was there
- ``recode``   slow masks coded anew for repeated use: ``pack_frames``
- ``sample``   a look at a few lines of many tensors: ``digest_lines``
- ``shares``   these loops for threads of any kind, as functions of one address
"""
