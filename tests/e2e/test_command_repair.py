"""``tvbank repair``: what it says, what it writes, how it ends."""

import json

import tvbank


def rewrite(shell):
    """What zarr makes of a root document when an attribute is set."""
    path = shell.bank / "zarr.json"
    document = json.loads(path.read_bytes())
    document["attributes"]["note"] = "x"
    path.write_text(json.dumps(document, indent=2))
    return path.read_bytes()


def test_what_zarr_did_is_undone(shell):
    sound = (shell.bank / "zarr.json").read_bytes()
    rewritten = rewrite(shell)
    refused = shell("ls", shell.bank)
    assert refused.status == 1
    assert f"`tvbank repair {shell.bank}`" in refused.err
    planned = shell("repair", shell.bank, "--dry-run")
    assert planned.status == 0
    assert "would restore 1 document; sound" in planned.out
    assert (shell.bank / "zarr.json").read_bytes() == rewritten
    done = shell("repair", shell.bank)
    assert done.status == 0
    assert "zarr.json: it was another; another tool rewrote it" in done.out
    assert (shell.bank / "zarr.json").read_bytes() == sound
    (kept,) = (shell.bank / "before-repair").iterdir()
    assert kept.read_bytes() == rewritten
    assert f"what was there before: before-repair/{kept.name}" in done.out
    assert shell("verify", shell.bank).status == 0
    assert "restored 0 documents; sound" in shell("repair", shell.bank).out


def test_json_and_a_fault_that_remains(shell):
    rewrite(shell)
    shard = next(shell.bank.rglob("delta/c/0"))
    shard.write_bytes(shard.read_bytes()[:-1])
    done = shell("repair", shell.bank, "--json")
    assert done.status == 1
    found = json.loads(done.out)
    assert [one["key"] for one in found["restored"]] == ["zarr.json"]
    assert {fault["key"] for fault in found["faults"]} == {shard.relative_to(shell.bank).as_posix()}
    assert tvbank.open(shell.bank)


def test_what_goes_wrong_is_said(shell, tmp_path):
    nothing = shell("repair", tmp_path / "nothing")
    assert (nothing.status, nothing.out) == (1, "")
    assert "holds nothing of a bank" in nothing.err
    assert shell("repair", shell.bank, "--revision", "cats").status == 2
