"""Which operations transformers' conversion tables use, model type by model type.

``python -m tools.conversions`` prints, for every type and class of the installed version, what its
files go through when they are loaded, and whether banks of such files can be switched.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Operations that move entries, each with a test (tests/unit/naming/test_operations.py, and
#: test_families.py for the first two).
SUPPORTED = {
    "MergeModulelist",
    "Concatenate",
    "Chunk",
    "Split",
    "Interleave",
    "Transpose",
    "PermuteForRope",
    "Conv3dToLinear",
    "ErnieFuseAndSplitTextVisionExperts",
}


def operations() -> Mapping[str, list[str]]:
    """The names of the operations of every table, by model type or class; renaming is none."""
    from transformers import conversion_mapping

    tables = conversion_mapping._build_checkpoint_conversion_mapping()
    return {
        kind: sorted({type(each).__name__ for c in table for each in getattr(c, "operations", ())})
        for kind, table in sorted(tables.items())
    }


def main() -> None:
    """Print a line a model type, and how many are supported."""
    found = operations()
    for kind, names in found.items():
        missing = [name for name in names if name not in SUPPORTED]
        said = f"no: {', '.join(missing)}" if missing else "yes"
        print(f"{kind:45} {', '.join(names) or 'renaming only':55} {said}")
    whole = sum(set(names) <= SUPPORTED for names in found.values())
    print(f"{whole} of {len(found)} model types and classes are supported")


if __name__ == "__main__":
    main()
