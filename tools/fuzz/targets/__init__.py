"""One module a target of fuzzing."""
