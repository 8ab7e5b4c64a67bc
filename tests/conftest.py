"""Settings of all tests: compiled code takes long at its first call, so no deadlines.

The same inputs are drawn at every run, so that what passes once passes again; others are looked for
with ``pytest --hypothesis-profile=explore`` and by ``tools/fuzz``.
"""

from hypothesis import settings

settings.register_profile("tvbank", deadline=None, print_blob=True, derandomize=True)
settings.register_profile("explore", deadline=None, print_blob=True, derandomize=False)
settings.load_profile("tvbank")
