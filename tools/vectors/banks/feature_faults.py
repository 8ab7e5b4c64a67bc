"""Banks of format 1.1 that say of their features what is not so."""

from __future__ import annotations

from collections.abc import Iterator

from tools.vectors.banks.features import entropy_coded, exact_plan, given_base
from tools.vectors.banks.tamper import BankFault, opened, put, tampered
from tools.vectors.banks.writer import write_bank


def feature_faults() -> Iterator[BankFault]:
    """What 1.1 says of features, of which a reader of 1.0 knows none."""
    newer = {"format": "1.1", "required_features": ["x-time-travel"]}
    yield "feature", "1.1 with a feature that nobody knows", opened(root=lambda root: root | newer)
    needs = put("features", value=["x-time-travel"])
    yield "layout", "a task's feature that the root does not require", opened(
        revision=needs, entry=needs
    )  # fmt: skip
    yield "layout", "a feature that the catalog does not state", tampered(revision=needs)
    text = put("features", value="products")
    yield "document-syntax", "a task's features as a string", opened(entry=text)
    yield "document-syntax", "a revision's features as a string", tampered(revision=text)
    plan, silent = exact_plan(), {"revision": dict, "entry": dict}
    yield (
        "layout",
        "frames of version 2 without the feature",
        write_bank(plan, entropy_coded(plan, **silent)),
    )
    half = put("features", value=["frame-2"])
    yield (
        "layout",
        "frames given the base without the feature",
        write_bank(plan, given_base(plan, revision=half, entry=half)),
    )
