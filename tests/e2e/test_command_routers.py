"""The verb ``routers``."""

import json

import numpy as np

import tvbank


def features(*tasks):
    rng = np.random.default_rng(0)
    return {task: rng.standard_normal((8, 3)) + 9 * rng.standard_normal(3) for task in tasks}


def test_routers_are_listed_and_removed(shell):
    assert json.loads(shell("routers", shell.bank, "--json").out) == []
    bank = tvbank.open(shell.bank)
    router = tvbank.Router.fit(features("cats", "exact"), neighbours=3, at="encoder.layer.2")
    bank.add_router("main", router)
    (facts,) = json.loads(shell("routers", shell.bank, "--json").out)
    assert facts["router"] == "main"
    assert facts["tasks"] == ["cats", "exact"]
    assert (facts["at"], facts["width"], facts["neighbours"]) == (["encoder.layer.2"], 3, 3)
    assert facts["missing"] == facts["replaced"] == []
    assert facts["rejects"] is True
    shown = shell("routers", shell.bank)
    assert shown.status == 0
    assert "encoder.layer.2" in shown.out
    assert json.loads(shell("show", shell.bank, "--json").out)["routers"] == 1
    assert shell("verify", shell.bank).status == 0
    shell("rm", shell.bank, "exact")
    assert "lacks exact" in shell("routers", shell.bank).out
    ended = shell("routers", shell.bank, "--remove", "nobody")
    assert ended.status == 1
    assert "no router 'nobody'; it has 'main'" in ended.err
    assert shell("routers", shell.bank, "--remove", "main").status == 0
    assert json.loads(shell("routers", shell.bank, "--json").out) == []
