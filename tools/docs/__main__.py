"""``python -m tools.docs build`` or ``run``; without a name, what there is."""

from tools import run_named

run_named("docs")
