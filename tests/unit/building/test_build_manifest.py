"""Manifests: what they may say, and how an error names the line, the task and the field."""

import json
import os

import pytest

import tvbank
from tvbank.building import read_manifest
from tvbank.errors import UsageError

WHOLE = """\
bank = "bank"
base = "s3://models/base.safetensors"
chunk_length = 1024

[defaults]
drop = 0.8
knob = "norm"
replace = true

[tasks.cats]
checkpoint = "cats.safetensors"
metadata = { labels = ["tabby"] }

[tasks."dogs.v2"]
checkpoint = "https://host/dogs"
method = "budget"
budget = "1 %"
replace = false

[tasks.exact]
checkpoint = "/abs/exact.bin"
method = "exact"
replace_mismatched = true
"""


def write(folder, text, name="m.toml"):
    path = folder / name
    path.write_text(text)
    return path


def test_a_whole_manifest(tmp_path):
    manifest = read_manifest(write(tmp_path, WHOLE))
    assert manifest.bank == str(tmp_path / "bank")
    assert manifest.base == "s3://models/base.safetensors"
    assert manifest.chunk_length == 1024
    cats, dogs, exact = manifest.tasks
    assert (cats.name, dogs.name, exact.name) == ("cats", "dogs.v2", "exact")
    assert cats.checkpoint == str(tmp_path / "cats.safetensors")
    assert dogs.checkpoint == "https://host/dogs"
    assert exact.checkpoint == "/abs/exact.bin"
    assert cats.compressor == tvbank.TSwitch(drop=0.8, knob="norm")
    assert dogs.compressor == tvbank.Budget("1 %")  # another method: other defaults are not its
    assert exact.compressor == tvbank.Exact()
    assert cats.metadata == {"labels": ["tabby"]}
    assert [task.replace for task in manifest.tasks] == [True, False, True]
    assert [task.replace_mismatched for task in manifest.tasks] == [False, False, True]


def test_the_same_as_json_and_as_a_mapping(tmp_path):
    content = {
        "bank": "b",
        "defaults": {"method": "exact"},
        "tasks": {"a": {"checkpoint": "x"}, "b": {"checkpoint": "y", "method": "tswitch"}},
    }
    path = write(tmp_path, json.dumps(content), "m.json")
    of_file, of_mapping = read_manifest(path), read_manifest(content)
    assert [t.compressor for t in of_file.tasks] == [tvbank.Exact(), tvbank.TSwitch()]
    assert [t.compressor for t in of_mapping.tasks] == [t.compressor for t in of_file.tasks]
    assert of_mapping.path is None
    assert of_file.path == path


@pytest.mark.parametrize(
    ("defaults", "task", "compressor"),
    [
        ("", "", tvbank.Budget()),
        ('budget = "2 %"', "", tvbank.Budget("2 %")),
        ("drop = 0.5", "", tvbank.TSwitch(drop=0.5)),
        ("drop = 0.5", 'method = "budget"', tvbank.Budget()),
        ("", 'knob = "norm"', tvbank.TSwitch(knob="norm")),
    ],
)
def test_options_say_which_method_is_meant(tmp_path, defaults, task, compressor):
    text = f'bank = "b"\n[defaults]\n{defaults}\n[tasks.cats]\ncheckpoint = "c"\n{task}\n'
    assert read_manifest(write(tmp_path, text)).tasks[0].compressor == compressor


HEAD = 'bank = "b"\n'
ONE = HEAD + '[tasks.cats]\ncheckpoint = "c"\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it lacks 'bank'"),
        (HEAD, "it lacks 'tasks'"),
        (HEAD + "[tasks]\n", "line 2: tasks"),
        ("bank = 3\n[tasks.a]\n", "line 1: bank: Expected `str`, got `int`"),
        ('bank = ""\n[tasks.a]\n', "bank: Expected `str` of length >= 1"),
        (HEAD + "[tasks.cats]\n", "line 2: task 'cats': it lacks 'checkpoint'"),
        (ONE + 'dorp = 0.5\n', "line 4: task 'cats': 'dorp' is no field; there are method, drop"),
        (ONE + 'drop = "x"\n', "line 4: task 'cats': drop: Expected `float | null`, got `str`"),
        (ONE + "drop = 1.5\n", "line 2: task 'cats': drop must be at least 0"),
        (ONE + 'knob = "big"\n', "line 4: task 'cats': knob: Invalid enum value 'big'"),
        (ONE + 'method = "zip"\n', "method must be one of budget, tswitch, exact, got 'zip'"),
        (ONE + 'method = "flexswitch"\n', "`tvbank add --method flexswitch`"),
        (ONE + 'method = "exact"\ndrop = 0.5\n', "drop and knob belong to method tswitch"),
        (ONE + 'drop = 0.5\nbudget = "1 %"\n', "drop and knob belong to method tswitch; budget"),
        (ONE + 'method = "exact"\nbudget = "1 %"\n', "budget belongs to method budget, not"),
        (ONE + 'budget = "much"\n', "line 2: task 'cats': a size is a number above 0"),
        (ONE + 'target = "1 %"\n', "line 4: task 'cats': 'target' is no field; .*budget"),
        (ONE + "metadata = { when = 2020-01-01 }\n", "the metadata must be an object of JSON"),
        (ONE + "metadata = 3\n", "line 4: task 'cats': metadata: Expected `object`"),
        (HEAD + '[tasks."a/b"]\ncheckpoint = "c"\n', "line 2: task 'a/b': "),
        (ONE + '[tasks.CATS]\ncheckpoint = "c"\n', "line 4: task 'CATS': its name differs from"),
        (ONE + "[tasks.cats]\n", "is no valid TOML: .*line 4"),
        (HEAD + "[tasks\n", "is no valid TOML: .*line 2"),
        (HEAD + "[defaults]\ncheckpoint = 3\n[tasks.a]\n", r"line 3: \[defaults\]: 'checkpoint'"),
        (HEAD + '[tasks]\ncats = "c"\n', "line 3: task 'cats': Expected `object`, got `str`"),
        ("surprise = 1\n" + ONE, "line 1: 'surprise' is no field; there are bank, tasks"),
    ],
)  # fmt: skip
def test_what_is_wrong_and_where(tmp_path, text, problem):
    path = write(tmp_path, text)
    with pytest.raises(UsageError, match=problem) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"bank": "b",\n "tasks": {\n  "a": {"checkpoint": 1}}}', "line 3: task 'a': checkpoint"),
        ('{"bank": "b",\n "tasks": {"a": {}, "a": {}}}', "'a' is there twice"),
        ('{"bank": "b"\n "tasks"', "is no valid JSON: .*line 2"),
        ("[]", "Expected `object`, got `array`"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_wrong_in_json(tmp_path, text, problem):
    with pytest.raises(UsageError, match=problem):
        read_manifest(write(tmp_path, text, "m.json"))


def chain(**tasks):
    """A manifest of tasks that start from others, by their names; the options of some."""
    made = {}
    for name, options in tasks.items():
        options = {"parent": options} if isinstance(options, str) else options
        made[name] = {"checkpoint": name, **options}
    return {"bank": "b", "tasks": made}


def test_parents():
    plan = chain(c="b", b="a", a={"method": "exact"}, d="elsewhere")
    plan["defaults"] = {"anchor_every": 3}
    plan["tasks"]["d"] |= {"anchor_every": 5, "options": {"standalone": True}, "method": "exact"}
    c, b, a, d = read_manifest(plan).tasks
    assert [task.parent for task in (a, b, c, d)] == [None, "a", "b", "elsewhere"]
    assert [task.anchor_every for task in (a, b, c, d)] == [None, 3, 3, 5]
    assert {c.compressor, b.compressor} == {tvbank.Exact()}  # nothing else can have a parent
    assert d.compressor == tvbank.Exact(standalone=True)
    assert not c.as_is


@pytest.mark.parametrize(
    ("plan", "problem"),
    [
        (chain(a="a"), "task 'a': it cannot be its own parent"),
        (chain(a="b", b="a"), "its parents go round in a circle: '.', '.', '.'"),
        (chain(a="b", b="c", c="d", d="b"), "task '.': its parents go round in a circle"),
        (chain(a={"parent": "b", "budget": "1 %"}), "task 'a': only an exact task .*'b'.*exact"),
        (chain(a={"parent": "b"}, b={}), "task 'a': its parent 'b' is not exact, .*'b'"),
        (chain(a={"anchor_every": 3}), "task 'a': anchor_every is of chains: give a parent"),
        (chain(a={"parent": "b", "anchor_every": 0}), "anchor_every: Expected `int` >= 1"),
        (chain(a={"parent": 3}), "task 'a': parent: Expected `str | null`, got `int`"),
    ],
)
def test_parents_that_cannot_be(plan, problem):
    with pytest.raises(UsageError, match=problem.replace("|", r"\|")):
        read_manifest(plan)


def test_a_circle_and_its_line(tmp_path):
    text = HEAD + '[tasks.a]\ncheckpoint = "c"\nparent = "b"\n[tasks.b]\ncheckpoint = "c"\n'
    with pytest.raises(UsageError, match=r"m.toml, line [47]: task '[ab]': its parents go round"):
        read_manifest(write(tmp_path, text + 'parent = "a"\n'))


def test_a_chain_of_thousands():
    steps = {f"s{n}": f"s{n - 1}" for n in range(1, 5000)}
    assert len(read_manifest(chain(**steps, s0={"method": "exact"})).tasks) == 5000


def test_what_is_no_manifest(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_manifest(tmp_path / "none.toml")
    with pytest.raises(UsageError, match=r"a \.toml or a \.json file"):
        read_manifest(write(tmp_path, "bank: b", "m.yaml"))
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="no text in UTF-8"):
        read_manifest(tmp_path / "b.toml")


@pytest.mark.parametrize("kind", ["pipe", "device", "link to a pipe", "folder", "large", "missing"])
def test_files_that_are_no_manifests(tmp_path, monkeypatch, kind):
    """A pipe is not waited for, a device not read, and no more than allowed is read of a file."""
    path, other = tmp_path / "m.toml", tmp_path / "other"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a pipe":
        os.mkfifo(other)
        path.symlink_to(other)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "large":
        with path.open("wb") as file:
            file.truncate(2**40)
    with pytest.raises(UsageError, match="cannot be read"):
        read_manifest(path)


@pytest.mark.parametrize("place", ["a\0b", "a\ud800b", "a\udc80"])
@pytest.mark.parametrize("field", ["bank", "base", "checkpoint"])
def test_places_that_no_system_has(field, place):
    plan = {"bank": "b", "base": "c", "tasks": {"t": {"checkpoint": "d"}}}
    (plan["tasks"]["t"] if field == "checkpoint" else plan)[field] = place
    with pytest.raises(UsageError, match="is no path or URL"):
        read_manifest(plan)


def test_thousands_of_tasks_share_what_is_equal():
    tasks = {f"t{number}": {"checkpoint": "c", "drop": 0.5} for number in range(100)}
    tasks["other"] = {"checkpoint": "c", "drop": 0.25}
    made = read_manifest({"bank": "b", "tasks": tasks}).tasks
    assert len({id(task.compressor) for task in made}) == 2
    assert made[-1].compressor.describe()["drop"] == 0.25


def test_options_nested_too_deeply():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    tasks = {"t": {"checkpoint": "c", "options": {"x": deep}}}
    with pytest.raises(UsageError, match="nested too deeply"):
        read_manifest({"bank": "b", "tasks": tasks})
