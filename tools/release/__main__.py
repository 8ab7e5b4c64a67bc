"""The command: ``python -m tools.release NAME [options]``; without a name, the list of them."""

from tools import run_named

if __name__ == "__main__":
    run_named("release")
