"""Settings of all tests: compiled code takes long at its first call, so no deadlines."""

from hypothesis import settings

settings.register_profile("tvbank", deadline=None, print_blob=True)
settings.load_profile("tvbank")
