"""The recipe and the table of a language model, on a tiny one of random weights."""

import io
import json
import random
import sys
import tarfile

import numpy as np
import pytest
import torch

from tools.bench.gemma import __main__ as command
from tools.bench.realtasks.language import base as bases
from tools.bench.realtasks.language import folder, passages
from tools.bench.realtasks.language import recipe as building
from tools.bench.realtasks.language.passages import Passage, Teaching, plain_text
from tools.bench.realtasks.language.recipe import examples, renumbered

WORDS = 60


class Letters:
    """A tokenizer of letters."""

    def __call__(self, text, **_):
        return {"input_ids": [4 + ord(letter) % (WORDS - 4) for letter in text]}


def writing(start, count=200):
    """Texts of one alphabet each."""
    dice = random.Random(start)
    for number in range(count):
        letters = "".join(chr(65 + start + dice.randrange(6)) for _ in range(20))
        yield Passage("", letters, f"{start} {number}")


def sorting(count=200):
    dice = random.Random(9)
    for number in range(count):
        first = dice.randrange(6)
        yield Passage(chr(65 + first) * 6, "xy"[first % 2], str(number))


TASKS = {
    "high": Teaching(lambda _: writing(20)),
    "sorts": Teaching(lambda _: sorting(), exact=True),
}


def tiny(into):
    """A model of random weights, and no tokenizer, in place of those of the package."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.Gemma3TextConfig(
        vocab_size=WORDS, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=8,
    )  # fmt: skip
    tokenizer = type("T", (), {"save_pretrained": lambda self, path: None})()
    return transformers.Gemma3ForCausalLM(config), tokenizer


def measured(out, capsys, *more):
    """The rows that the command prints, on two tasks and a tiny model."""
    pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    arguments = [
        "gemma", "--out", str(out), "--words", "40", "--steps", "6", "--batch", "8", "--tokens",
        "16", "--learning", "2", "--ranks", "2", "--whole-rates", "1e-2", "--lora-rates", "1e-2",
        "--threads", "1", "--json", *more,
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bases, "original", tiny)
        for module in (building, passages, command):
            patch.setattr(module, "LANGUAGE_TASKS", TASKS)
        patch.setattr(building, "SPLITS", {"test": 12, "validation": 8, "train": 40})
        patch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *_, **__: Letters())
        patch.setattr(command._alone, "BUDGETS", (40.0, 30.0, 20.0))
        patch.setattr(command._alone, "LEARNED", (30.0,))
        patch.setattr(command._alone, "SHARES", (90,))
        patch.setattr(command._alone, "_EXAMPLES", 16)
        patch.setattr(sys, "argv", arguments)
        command.main()
    return json.loads(capsys.readouterr().out)["rows"]


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_the_command(tmp_path, capsys):
    rows = measured(tmp_path, capsys)
    assert {row["method"] for row in rows} == {"base", "fine-tuned", *command.METHODS}
    assert {row["task"] for row in rows} == {"high", "sorts"}
    for row in rows:
        assert 0 <= row["exact"] <= 1
        assert np.isfinite(row["loss"])
    kept = {(row["task"], row["method"], row["setting"]): row for row in rows}
    for task in ("high", "sorts"):
        tuned, base = kept[task, "fine-tuned", ""], kept[task, "base", ""]
        assert tuned["loss"] < base["loss"]
        assert tuned["gain kept"] == 1
        assert base["bytes"] == 0
        small, large = (kept[task, "budget", f"{size} %"]["bytes"] for size in (20, 40))
        assert small < large
        assert kept[task, "lora", "rank 2"]["loss"] < base["loss"]
    assert measured(tmp_path, capsys) == rows  # nothing is made twice
    with pytest.raises(SystemExit, match="name another folder"):
        measured(tmp_path, capsys, "--words", "50")


def test_examples_share_no_text():
    made = examples(Letters(), writing(0, 900), 16, seed=0)
    assert made["x_test"].shape == (64, 16)
    assert (made["x_test"][:, 0] == bases.BEGINNING).all()
    assert not made["counts_test"][:, 0].any()
    rows = {split: {row.tobytes() for row in made[f"x_{split}"]} for split in ("test", "train")}
    assert not rows["test"] & rows["train"]


def test_of_a_prompt_the_answer_counts():
    made = examples(Letters(), [Passage("ask", "no", str(n)) for n in range(3)], 8, seed=0)
    assert made["counts_test"].sum(1).tolist() == [2, 2, 2]
    assert made["x_test"][0, :6].tolist() == [2, *Letters()("askno")["input_ids"]]


def test_words_that_are_left_out_become_unknown():
    known = bases.frequent([np.array([7, 7, 9, 9, 9, 5])], 6, 10)
    assert known.tolist() == [0, 1, 2, 3, 7, 9]
    assert renumbered(np.array([[2, 7, 5, 9]]), known).tolist() == [[2, 4, bases.UNKNOWN, 5]]
    assert bases.frequent([], 99, 10).tolist() == list(range(10))


def test_a_manual_page():
    page = ".TH x 1\n'\\\" comment\nSchreibt \\fBviele\\fP Da\\-ten.\n.PP\n\\(bu Ende\\&.\n"
    assert plain_text(page) == "Schreibt viele Da-ten.\n Ende."


def test_readers_of_packages():
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as files:
        lines = '  1 licence\n00001 03 n 01 big_cat 0 001 @ 00002 n 0000 | a cat; "it roars"\n'
        for name, text in (("usr/share/wordnet/data.noun", lines),):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            files.addfile(entry, io.BytesIO(text.encode()))

    class Given:
        def debian(self, name):
            content.seek(0)
            return tarfile.open(fileobj=content)

    (passage,) = passages.LANGUAGE_TASKS["definitions"].read(Given())
    assert (passage.prompt, passage.answer) == ("big cat:", " a cat.")
    assert any(p.group == "ast.py" for p in passages.LANGUAGE_TASKS["code"].read(Given()))


def test_a_score_counts_whole_answers():
    class Head(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.eye(6) * 9)

        def forward(self, states):
            return states @ self.weight

        def get_decoder(self):
            def run(input_ids, attention_mask, use_cache):
                copied = torch.nn.functional.one_hot(input_ids, 6).float()
                return type("R", (), {"last_hidden_state": copied})

            return run

        def get_output_embeddings(self):
            return self

    x = torch.tensor([[2, 5, 5, 5], [2, 5, 5, 4]])  # what foretells itself again
    counts = torch.tensor([[False, False, True, True]] * 2)
    found = folder.score_rows(Head(), x, counts)
    assert found.exact == 0.5
    assert found.loss == pytest.approx(9 / 4, abs=0.01)
