"""Settings of all tests: compiled code takes long at its first call, so no deadlines.

Nothing waits for the disk: the power does not fail during a test, and processes that are killed
are others, which keep their own ``fsync``. Torch's threads sleep while they wait: two processes
of tests share two cores, and took nearly twice as long while each kept both busy.

The same inputs are drawn at every run, so that what passes once passes again; others are looked for
with ``pytest --hypothesis-profile=explore`` and by ``tools/fuzz``.
"""

import os

from hypothesis import settings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported
os.fsync = lambda _descriptor: None

settings.register_profile("tvbank", deadline=None, print_blob=True, derandomize=True)
settings.register_profile("explore", deadline=None, print_blob=True, derandomize=False)
settings.load_profile("tvbank")
