"""Fine-tunes of Gemma 3 270M by stored bytes and by score, beside LoRA adapters and merges.

    python -m tools.bench gemma --out FOLDER [--tasks code french] [--methods budget lora] [--json]

Tasks are built first, as `python -m tools.bench realtasks build --family gemma` does. Each
fine-tune, adapter, learned vector and row is kept in the folder, so that a run that was stopped
goes on where it was, and another one adds what it asks for. A GPU is used if torch sees one; on two
cores take few words and steps (`--words 16384 --steps 16`). Learning rates are chosen for whole
fine-tunes and for every rank by validation examples; the table is of tests. Losses are nats of a
token that is to be written; "exact" is the share of answers that are right to the last token.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch

from tools.bench._measure import machine, options
from tools.bench.gemma import _alone, _together
from tools.bench.gemma._table import figures, show
from tools.bench.gemma._trial import Row, Trial
from tools.bench.realtasks.language import LANGUAGE_TASKS, Run, build
from tools.bench.realtasks.language.training import LORA_RATES, WHOLE_RATES

METHODS = ("budget", "products", "tswitch", "flexswitch", "lora", *_together.METHODS, "routed")


def rows_of(
    trial: Trial, methods: list[str], ranks: tuple[int, ...], learning: int
) -> Iterator[Row]:
    """The rows that are asked for, the quickest methods first."""
    for task in trial.names:
        yield from _alone.fine_tuned(trial, task)
    for method in (each for each in METHODS if each in methods):
        if method in _together.METHODS:
            yield from _together.merged(trial, method)
            continue
        if method == "routed":
            yield from _together.routed(trial, f"flexswitch-{_alone.LEARNED[0]:g}-{learning}")
            yield from _together.routed(trial, f"budget-{_alone.BUDGETS[-2]:g}")
            continue
        for task in trial.names:
            if method == "budget":
                yield from _alone.budget(trial, task)
            elif method == "products":
                yield from _alone.products(trial, task)
            elif method == "tswitch":
                yield from _alone.tswitch(trial, task)
            elif method == "flexswitch":
                yield from _alone.flexswitch(trial, task, learning)
            else:
                yield from _alone.lora(trial, task, ranks)


def main() -> None:
    """Build what is missing, measure, and print the table."""
    parser = options(__doc__)
    parser.add_argument("--out", type=Path, required=True, help="keeps everything that is made")
    parser.add_argument("--downloads", type=Path, help="by default OUT/downloads")
    parser.add_argument("--tasks", nargs="+", choices=list(LANGUAGE_TASKS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--ranks", nargs="+", type=int, default=list(_alone.RANKS))
    parser.add_argument("--words", type=int, default=2**18, help="that the model shall know")
    parser.add_argument("--steps", type=int, default=200, help="of each training")
    parser.add_argument("--batch", type=int, default=8, help="examples of a step")
    parser.add_argument("--tokens", type=int, default=128, help="of an example")
    parser.add_argument("--learning", type=int, default=200, help="FlexSwitch's steps")
    parser.add_argument("--whole-rates", nargs="+", type=float, default=list(WHOLE_RATES))
    parser.add_argument("--lora-rates", nargs="+", type=float, default=list(LORA_RATES))
    parser.add_argument("--tests", type=int, help="examples of a task, by default all")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)

    def say(line: str) -> None:
        if not chosen.json:
            print(line, flush=True)

    language = build(
        chosen.out, [], downloads=chosen.downloads or chosen.out / "downloads",
        words=chosen.words, tokens=chosen.tokens, say=say,
    )  # fmt: skip
    trial = Trial(
        language, chosen.tasks or list(LANGUAGE_TASKS),
        Run(chosen.steps, chosen.batch, chosen.tokens), chosen.whole_rates, chosen.lora_rates,
        chosen.tests, say,
    )  # fmt: skip
    rows = list(rows_of(trial, chosen.methods, tuple(chosen.ranks), chosen.learning))
    size = language.base.stat().st_size
    if chosen.json:
        print(json.dumps({"machine": machine(), "rows": figures(rows, size)}, indent=1))
        return
    show(rows, size, [each for each in METHODS if each not in chosen.methods])


if __name__ == "__main__":
    main()
