"""A bank that has something of everything that a report shows."""

from __future__ import annotations

import numpy as np

import tvbank

#: A task's name cannot hold markup, but a unit's can.
HOSTILE = '<script>alert("x")</script>.0.&amp;\'"\u202e'
MODULES = ("attention.weight", "mlp.weight", "norm.weight")


def base_model():
    """Two layers, a unit whose name is markup, and a buffer."""
    rng = np.random.default_rng(0)
    base = {
        f"model.layers.{layer}.{module}": rng.standard_normal(
            16 if "norm" in module else (24, 16)
        ).astype(np.float32)
        for layer in range(2)
        for module in MODULES
    }
    base["model.embed.weight"] = rng.standard_normal((40, 16)).astype(np.float32)
    base[HOSTILE] = rng.standard_normal((8, 16)).astype(np.float32)
    return base | {"steps": np.array(3)}


def fine_tune(seed, share=1.0):
    """Some of its entries moved, and the buffer counted on."""
    rng = np.random.default_rng(10 + seed)
    tuned = {}
    for name, array in base_model().items():
        if array.dtype.kind == "i":
            tuned[name] = np.asarray(array + seed)
            continue
        moved = 0.1 * rng.standard_normal(array.shape) * (rng.random(array.shape) < share)
        tuned[name] = (array + moved).astype(np.float32)
    return tuned


def full_bank(place, chunk_length=128):
    """Lossy, exact and given-base tasks, a chain, a head, a buffer, and routers."""
    bank = tvbank.create(place, base=base_model(), chunk_length=chunk_length)
    bank.add("cats", fine_tune(1), tvbank.TSwitch(drop=0.5), {"note": HOSTILE})
    bank.add("dogs", fine_tune(2), tvbank.TSwitch(drop=0.8))
    exact = fine_tune(3, 0.3) | {"head": np.ones((3, 16), np.float32)}
    bank.add("exact", exact, tvbank.Exact(standalone=True))
    bank.add("given", fine_tune(4, 0.3), tvbank.Exact(standalone=False))
    child = dict(exact) | {"model.embed.weight": fine_tune(5)["model.embed.weight"]}
    bank.add("next", child, tvbank.Exact(standalone=True), parent="exact")
    rng = np.random.default_rng(1)
    features = {
        name: (at + rng.standard_normal((12, 6))).astype(np.float32)
        for at, name in enumerate(("cats", "dogs", "exact"))
    }
    bank.add_router("examples", tvbank.Router.fit(features, neighbours=3))
    bank.add_router("centres", tvbank.Router.fit(features, neighbours=2, centres=2))
    return bank
