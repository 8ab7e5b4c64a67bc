"""``names=`` says the same everywhere: ``add``, ``export``, ``merge``, ``attach``, the commands."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import tvbank
from tvbank.cli import app
from tvbank.cli import building as _building  # noqa: F401 - registers its verbs
from tvbank.cli import weights as _weights  # noqa: F401
from tvbank.errors import BaseMismatchError, UsageError
from tvbank.merging import export_adapter, export_recipe, merge_recipe

#: What others call the units: no prefix leads from one name to the other.
NAMES = {"embed.weight": "tokens.table", "out.weight": "an odd name with spaces"}


def weights(seed):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(6, 6, generator=generator) for name in NAMES}


def theirs(state):
    return {NAMES[name]: tensor for name, tensor in state.items()}


@pytest.fixture
def made(tmp_path):
    """A bank of the base; base and fine-tune also as files under the others' names."""
    base, tuned = weights(0), {name: tensor + 0.25 for name, tensor in weights(0).items()}
    bank = tvbank.create(tmp_path / "bank", base)
    save_file(theirs(base), tmp_path / "base.safetensors")
    save_file(theirs(tuned), tmp_path / "tuned.safetensors")
    (tmp_path / "names.json").write_text(json.dumps(NAMES))
    bank.add("t", tuned, tvbank.Exact(), base=base)
    return bank, tuned, tmp_path


def same(state, expected):
    return state.keys() == expected.keys() and all(
        torch.equal(state[name], expected[name]) for name in expected
    )


@pytest.mark.parametrize("names", [NAMES, NAMES.get], ids=["mapping", "function"])
def test_the_base_of_every_way_out(made, names):
    bank, tuned, folder = made
    given = {"base": folder / "base.safetensors", "names": names}
    assert same(load_file(tvbank.export(bank, "t", out=folder / "o.safetensors", **given)), tuned)
    assert same(bank.state_dict("t", given["base"], names=names), tuned)
    assert same(tvbank.merge(bank, {"t": 1}, **given), tuned)
    recipe = {"merge_method": "linear", "models": [{"model": "t", "parameters": {"weight": 1}}]}
    assert same(merge_recipe(bank, recipe, **given), tuned)
    out = export_recipe(bank, recipe, out=folder / "r.safetensors", **given)
    assert same(load_file(out), tuned)
    report = export_adapter(bank, "t", out=folder / "adapter", rank=6, **given)
    assert report.modules == 2
    assert report.error < 1e-5
    with pytest.raises(BaseMismatchError, match=r"embed\.weight"):
        bank.state_dict("t", given["base"])


def test_base_and_fine_tune_under_the_same_other_names(made):
    bank, tuned, folder = made
    base = folder / "base.safetensors"
    bank.add("both", folder / "tuned.safetensors", tvbank.Exact(), base=base, names=NAMES)
    assert same(bank.state_dict("both", base, names=NAMES), tuned)
    own = weights(0)  # of the base's own names nothing is changed by what the fine-tune calls them
    swapped = dict(zip(own, reversed(own), strict=True))
    crossed = {swapped[name]: tensor for name, tensor in tuned.items()}
    bank.add("crossed", crossed, tvbank.Exact(), base=own, names=swapped)
    assert same(bank.state_dict("crossed", own), tuned)
    with pytest.raises(BaseMismatchError, match=r"embed\.weight"):
        bank.add("neither", tuned, tvbank.Exact(), base={"other": torch.ones(2)}, names=NAMES)
    assert "neither" not in bank


def test_a_live_model_that_routes_itself(made):
    bank, tuned, _ = made

    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for name, tensor in theirs(weights(0)).items():
                self.register_parameter(name.replace(".", "_"), torch.nn.Parameter(tensor))
            self.middle = torch.nn.Identity()

        def forward(self, x):
            return self.middle(x @ self.tokens_table) @ getattr(self, NAMES["out.weight"])

    model = Odd().eval()
    bank.add("u", {n: tensor - 1 for n, tensor in tuned.items()}, tvbank.Exact(), base=weights(0))
    drawn = torch.randn(8, 6, generator=torch.Generator().manual_seed(3))
    examples = {"t": drawn + 3, "u": drawn - 3}
    found = {t: tvbank.routing.features(model, x, at="middle") for t, x in examples.items()}
    bank.add_router("r", tvbank.Router.fit(found, at="middle"))
    live = {name: other.replace(".", "_") for name, other in NAMES.items()}
    expected = examples["t"] @ tuned["embed.weight"] @ tuned["out.weight"]
    with tvbank.AutoSwitch(model, bank, "r", "top1", names=live) as auto, torch.no_grad():
        assert torch.allclose(auto(examples["t"]), expected)
    assert torch.equal(model.tokens_table, weights(0)["embed.weight"])


def test_the_commands_take_a_file_or_pairs(made):
    _, tuned, folder = made
    bank, base = str(folder / "bank"), str(folder / "base.safetensors")
    (folder / "names.toml").write_text(
        "\n".join(f'"{name}" = "{other}"' for name, other in NAMES.items())
    )
    pairs = [part for item in NAMES.items() for part in ("--names", "=".join(item))]
    ways = [["--names", str(folder / "names.json")], ["--names", str(folder / "names.toml")], pairs]
    for number, way in enumerate(ways):
        task, out = f"c{number}", str(folder / f"c{number}.safetensors")
        file = str(folder / "tuned.safetensors")
        add = ["add", bank, task, file, "--method", "exact", "--base", base, *way]
        export = ["export", bank, task, "-o", out, "--base", base, *way]
        merge = ["merge", bank, f"{task}=1", "-o", out, "--force", "--base", base, *way]
        for command in (add, export, merge):
            result = CliRunner().invoke(app, command)
            assert result.exit_code == 0, result.output
            if command is not add:
                assert same(load_file(out), tuned)


@pytest.mark.parametrize(
    ("text", "says"),
    [("names.txt", "UNIT=NAME"), ("absent.json", "No such file"), ("list.json", "one mapping"),
     ("nested.toml", "in quotes"), ("bad.json", "no valid JSON"), ("=x", "KEY=VALUE")],
)  # fmt: skip
def test_what_gives_no_names_is_refused(text, says, tmp_path):
    from tvbank.cli._arguments import names_given

    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "nested.toml").write_text('embed.weight = "x"')
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UsageError, match=says):
        names_given([text if "=" in text else str(tmp_path / text)])
    with pytest.raises(UsageError, match="two names"):
        names_given(["a=b", "a=c"])


def test_a_name_that_the_base_lacks_is_said(made):
    bank, _, folder = made
    with pytest.raises(UsageError, match="nowhere"):
        bank.state_dict("t", folder / "base.safetensors", names={"embed.weight": "nowhere"})
    assert np.isfinite(bank["t"].to_dense()["embed.weight"]).all()
