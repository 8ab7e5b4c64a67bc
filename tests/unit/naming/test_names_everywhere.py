"""Whatever takes a base or a checkpoint takes ``names=``: all of it is listed, and tried."""

import inspect
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import tvbank
from tvbank.bank.snapshot import LAYOUT
from tvbank.checkpoint import open_checkpoint
from tvbank.cli import app
from tvbank.cli._app import load_verbs
from tvbank.errors import BaseMismatchError, UsageError
from tvbank.naming import by_names
from tvbank.reporting import compare, report, sweep
from tvbank.routing.vectors import directions

#: What others call the units: no prefix leads from one name to the other.
NAMES = {"embed.weight": "tokens.table", "out.weight": "an odd name with spaces"}

#: What takes weights whose own names are the bank's, or which says itself what it changes.
_OWN = {"create", "Bank.base_source"}


def weights(step):
    """As a training leaves them, step by step, so that entries are stored given the base."""
    made = {}
    for seed, name in enumerate(NAMES):
        generator = torch.Generator().manual_seed(seed)
        state = torch.randn(150, 40, generator=generator)
        for _ in range(step):
            state = state + 2e-3 * torch.randn(150, 40, generator=generator)
        made[name] = state.bfloat16()
    return made


def theirs(state):
    return {NAMES[name]: tensor for name, tensor in state.items()}


def score(path):
    return sum(float(tensor.double().sum()) for tensor in load_file(path).values())


@dataclass
class Made:
    """A bank with two versions; all weights as files, under the bank's names and the others'."""

    folder: Path
    bank: tvbank.Bank
    base: Path
    s1: Path
    s2: Path
    update: Path

    def named(self):
        return {"base": self.base, "names": NAMES}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    for step, name in enumerate(("base", "s1", "s2")):
        save_file(weights(step), folder / f"own-{name}.safetensors")
        save_file(theirs(weights(step)), folder / f"{name}.safetensors")
    bank = tvbank.create(folder / "bank", weights(0))
    for step in (1, 2):
        parent = "s1" if step == 2 else None
        bank.add(f"s{step}", weights(step), tvbank.Exact(), base=weights(0), parent=parent)
    assert bank["s1"].needs_base
    own = [folder / f"own-{name}.safetensors" for name in ("base", "s1")]
    tvbank.diff(*own, out=folder / "update.zip")
    (folder / "names.json").write_text(json.dumps(NAMES))
    return folder


@pytest.fixture
def made(template, tmp_path):
    folder = shutil.copytree(template, tmp_path / "made")
    files = (folder / f"{name}.safetensors" for name in ("base", "s1", "s2"))
    return Made(folder, tvbank.open(folder / "bank"), *files, folder / "update.zip")


def same(state, expected):
    return state.keys() == expected.keys() and all(
        torch.equal(state[name], expected[name]) for name in expected
    )


def _live(made):
    model = torch.nn.Module()
    for name, tensor in theirs(weights(0)).items():
        model.register_parameter(name.replace(".", "_"), torch.nn.Parameter(tensor))
    names = {name: other.replace(".", "_") for name, other in NAMES.items()}
    with tvbank.follow(model, made.bank, names=names) as follower:
        assert follower.version == "s2"
        assert torch.equal(model.tokens_table, weights(2)["embed.weight"])
    with tvbank.attach(model, made.bank, names=names)("s1"):
        assert torch.equal(model.tokens_table, weights(1)["embed.weight"])


def _routed(made):
    model = torch.nn.ModuleDict()
    for name, tensor in zip("ab", weights(0).values(), strict=True):
        model[name] = torch.nn.Linear(40, 150, bias=False, dtype=torch.bfloat16)
        model[name].weight = torch.nn.Parameter(tensor)
    names = dict(zip(NAMES, ("a.weight", "b.weight"), strict=True))
    router = tvbank.vector_router(model, made.bank, ["s1", "s2"], rank=4, names=names)
    for name, layer in zip(NAMES, "ab", strict=True):
        for step in (1, 2):
            change = weights(step)[name].float() - weights(0)[name].float()
            assert torch.equal(router.directions[layer][step - 1], directions(change, 4))


def _file(made, write):
    out = made.folder / "out.safetensors"
    write(out)
    return load_file(out)


def _patched(made):
    out = made.folder / "out.safetensors"
    tvbank.patch(made.base, made.update, out=out, names=NAMES)
    assert same(load_file(out), theirs(weights(1)))
    report = tvbank.patch(made.base, made.update, in_place=True, names=NAMES.get)
    assert report.changed == 2
    assert same(load_file(made.base), theirs(weights(1)))
    assert tvbank.patch(made.base, made.update, in_place=True, names=NAMES).already
    with pytest.raises(BaseMismatchError, match="--names"):
        tvbank.patch(theirs(weights(0)) | weights(0), made.update, out=made.folder / "no")


def _repaired(made):
    (made.folder / "bank" / LAYOUT).unlink()
    report = tvbank.repair(made.folder / "bank", base=made.base, names=NAMES)
    assert report.faults == ()
    assert report.unproved == ()
    with pytest.raises(UsageError, match="must be a mapping here"):
        by_names(open_checkpoint(made.base), NAMES.get)


def _built(made):
    task = {"checkpoint": str(made.folder / "own-s2.safetensors"), "method": "exact"}
    place = {"bank": str(made.folder / "bank"), "base": str(made.base)}
    manifest = {**place, "names": str(made.folder / "names.json"), "tasks": {"new": task}}
    assert not tvbank.build(manifest, workers=1).failed
    bank = tvbank.open(made.folder / "bank")
    assert same(bank.state_dict("new", weights(0)), weights(2))
    with pytest.raises(UsageError, match="leave them out"):
        tvbank.build(manifest | {"bank": str(made.folder / "fresh")}, workers=1)


def _copied(made):
    tvbank.copy(made.bank.storage, made.folder / "copy", ["s2"], fold=True, **made.named())
    copied = tvbank.open(made.folder / "copy")
    assert list(copied) == ["s2"]
    assert same(copied.state_dict("s2", weights(0)), weights(2))


def _removed(made):
    made.bank.remove("s1", fold=True, **made.named())
    assert same(made.bank.state_dict("s2", weights(0)), weights(2))


def _added(made):
    made.bank.add("t", made.s1, tvbank.Exact(), **made.named())
    assert same(made.bank.state_dict("t", weights(0)), weights(1))


def _fleet(made, write, name):
    write(made.bank, "s1", out=made.folder / name, **made.named())
    before = tvbank.create(made.folder / "fleet", made.folder / "own-base.safetensors")
    given = {} if name.startswith("weight") else {"before": "base"}
    before.add("t", made.folder / name, tvbank.Exact(), given=given)
    assert same(before.state_dict("t"), weights(1))


def _patches(found):
    patches = {patch.name: patch for patch in found}
    assert patches.keys() == NAMES.keys()
    for name, patch in patches.items():
        flat = weights(0)[name].reshape(-1).clone()
        flat[patch.indices] = patch.values
        assert torch.equal(flat, weights(1)[name].reshape(-1))


def _told(made):
    found = report(made.bank, tuned={"s1": made.s1}, **made.named())
    assert next(task for task in found.tasks if task.name == "s1").error == 0
    assert compare(made.folder / "own-base.safetensors", made.s1, names=NAMES).units


def _swept(made):
    base = made.folder / "own-base.safetensors"
    found = sweep(base, made.s1, score, [tvbank.Exact()], names=NAMES)
    assert found.tuned_score == found.points[0].score == pytest.approx(score(made.s1))


RECIPE = {"merge_method": "linear", "models": [{"model": "s1", "parameters": {"weight": 1}}]}
EVERY = {
    "attach": _live,
    "follow": _live,
    "AutoSwitch": _live,  # test_names_given.py has one that routes
    "vector_router": _routed,
    "Bank.add": _added,
    "Bank.remove": _removed,
    "Bank.verify": lambda made: made.bank.verify(prove=True, **made.named()) == [] or 1 / 0,
    "Bank.state_dict": lambda made: same(
        made.bank.state_dict("s2", made.base, names=NAMES), weights(2)
    ) or 1 / 0,
    "Task.to_dense": lambda made: made.bank["s1"].to_dense(made.base, names=NAMES),
    "Task.to_sparse": lambda made: made.bank["s1"].to_sparse(made.base, names=NAMES),
    "Task.patches": lambda made: _patches(made.bank["s1"].patches(made.base, names=NAMES)),
    "patches": lambda made: _patches(tvbank.patches(made.bank, "s1", **made.named())),
    "build": _built,
    "copy": _copied,
    "diff": lambda made: tvbank.diff(
        made.folder / "own-base.safetensors", made.s1, out=made.folder / "d.zip", names=NAMES
    ).new_state == tvbank.open(made.update)["update"].metadata["new_state"] or 1 / 0,
    "patch": _patched,
    "repair": _repaired,
    "report": _told,
    "reporting.compare": _told,
    "reporting.sweep": _swept,
    "follow_file": lambda made: same(
        _file(made, lambda out: tvbank.follow_file(made.bank, out, **made.named())), weights(2)
    ) or 1 / 0,
    "export": lambda made: same(
        _file(made, lambda out: tvbank.export(made.bank, "s1", out=out, **made.named())), weights(1)
    ) or 1 / 0,
    "export_adapter": lambda made: tvbank.export_adapter(
        made.bank, "s1", out=made.folder / "a", rank=2, **made.named()
    ),
    "merge": lambda made: tvbank.merge(made.bank, {"s1": 1}, **made.named()),
    "merge_recipe": lambda made: tvbank.merge_recipe(made.bank, RECIPE, **made.named()),
    "write_hf_delta": lambda made: _fleet(made, tvbank.write_hf_delta, "weight_v000001"),
    "write_sparse": lambda made: _fleet(made, tvbank.write_sparse, "step.safetensors"),
}  # fmt: skip


def takers():
    """Public functions and methods that take a base, a checkpoint or a model."""
    import tvbank.reporting

    public = {name: getattr(tvbank, name) for name in tvbank.__all__}
    for owner in ("Bank", "Task"):
        members = inspect.getmembers(getattr(tvbank, owner), inspect.isfunction)
        public |= {f"{owner}.{name}": member for name, member in members}
    for name in ("compare", "sweep"):
        public[f"reporting.{name}"] = getattr(tvbank.reporting, name)
    for name, member in public.items():
        is_class = inspect.isclass(member) and name != "AutoSwitch"  # made by what is listed
        if not callable(member) or is_class or "._" in name:
            continue
        try:
            parameters = inspect.signature(member).parameters.values()
        except ValueError:
            continue
        kinds = [str(parameter.annotation) for parameter in parameters]
        if any("CheckpointSource" in kind or "Module" in kind for kind in kinds) or name == "build":
            yield name, member


def test_nothing_that_takes_weights_lacks_names():
    found = dict(takers())
    assert found.keys() - _OWN == EVERY.keys()
    for name in EVERY.keys() - {"build"}:  # whose names stand in the manifest
        assert "names" in inspect.signature(found[name]).parameters, name


@pytest.mark.parametrize("name", EVERY)
def test_names_lead_to_the_same_weights(name, made):
    EVERY[name](made)


#: What is given to each verb that reads a base or a checkpoint under other names.
VERBS = {
    "add": "add bank t s1.safetensors --method exact --base base.safetensors",
    "export": "export bank s1 -o o.safetensors --base base.safetensors",
    "merge": "merge bank s1=1 -o o.safetensors --base base.safetensors",
    "rm": "rm bank s1 --fold --base base.safetensors",
    "cp": "cp bank copy s2 --fold --base base.safetensors",
    "verify": "verify bank --prove --base base.safetensors",
    "repair": "repair bank --base base.safetensors",
    "report": "report bank --base base.safetensors --tuned s1=s1.safetensors",
    "diff": "diff own-base.safetensors s1.safetensors -o d.zip",
    "patch": "patch base.safetensors update.zip --in-place",
    "follow": "follow bank -o f.safetensors --base base.safetensors --once",
    "sweep": "sweep s1.safetensors --base own-base.safetensors --drop 0.5 --method tswitch "
    "--evaluate scoring:score",
}
#: Verbs whose checkpoints have the bank's names, or none.
_NO_NAMES = {"init"}


def test_no_verb_that_takes_weights_lacks_the_option():
    weights_of = {"base", "checkpoint", "model", "old", "new", "place"}
    found = {
        name: {parameter.name for parameter in verb.params}
        for name, verb in load_verbs().commands.items()
    }
    takes = {name for name, parameters in found.items() if parameters & weights_of}
    assert takes - _NO_NAMES == VERBS.keys()
    assert all("names" in found[name] for name in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_the_option_of_every_verb(verb, made, monkeypatch):
    monkeypatch.chdir(made.folder)
    Path("scoring.py").write_text(
        "from safetensors.numpy import load_file\n"
        "def score(path):\n    return float(len(load_file(path)))\n"
    )
    load_verbs()
    ended = CliRunner().invoke(app, [*VERBS[verb].split(), "--names", "names.json"])
    assert ended.exit_code == 0, (ended.output, ended.exception)


def test_names_of_a_base_that_nothing_reads_are_refused(made):
    ended = CliRunner().invoke(app, ["verify", str(made.folder / "bank"), "--names", "a=b"])
    assert isinstance(ended.exception, UsageError)
