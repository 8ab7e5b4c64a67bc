"""A router in the demo's bank: one live model that finds the task of every picture by itself."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Generator, Tensor, nn

import tvbank
from tvbank.demo.model import VisionTransformer, outputs
from tvbank.demo.pictures import TASKS, Pictures
from tvbank.demo.result import Routed, Settings

_ROUTER = "demo"
_EXAMPLES = 100  # pictures of each task, without their answers
_TESTS = 150  # of each task
_BATCH = 50


def route(
    folder: Path, train: Pictures, tests: dict[str, Pictures], settings: Settings, seed: int
) -> Routed:
    """Fit a router, put it into the bank, and answer pictures of all tasks out of the bank.

    Args:
        folder: the demo's, whose bank is whole.
        train: images that examples are drawn from.
        tests: pictures and answers by task, of which the first are asked.
        settings: of the model.
        seed: of the examples, and of the order of mixed pictures.
    """
    model = VisionTransformer(settings)
    model.load_state_dict(load_file(folder / "base.safetensors"))
    model.head = nn.Linear(settings.width, TASKS[0].classes)  # a task's own takes its place
    model.eval()
    random = Generator().manual_seed(seed)
    images, digits = train
    some = torch.randperm(len(images), generator=random)[:_EXAMPLES]
    examples = {task.name: task.draw(images[some], digits[some], random)[0] for task in TASKS}
    fitted = tvbank.routing.fit(model, examples, reject=None, seed=seed)
    bank = tvbank.open(folder / "bank")
    bank.add_router(_ROUTER, fitted.router)
    bank = tvbank.open(folder / "bank")
    asked = {name: (x[:_TESTS], y[:_TESTS]) for name, (x, y) in tests.items()}
    right = 0
    switch = tvbank.attach(model, bank)
    for name, (x, y) in asked.items():
        switch.to(name)
        right += int((outputs(model, x).argmax(1) == y).sum())
    switch.close()
    total = sum(len(y) for _, y in asked.values())
    mixed = torch.cat([x for x, _ in asked.values()])
    answers = torch.cat([y for _, y in asked.values()])
    owners = [name for name, (_, y) in asked.items() for _ in y.tolist()]
    order = torch.randperm(total, generator=random)
    alone, found = _answer(model, bank, mixed, answers, owners, order, pool=False)
    in_turn = torch.arange(total)
    together, _ = _answer(model, bank, mixed, answers, owners, in_turn, pool=True)
    return Routed(
        pictures=total,
        router_bytes=bank.stored_router(_ROUTER).stored_bytes,
        found=found / total,
        alone=alone / total,
        batches=together / total,
        told=right / total,
        passes=1 + fitted.chosen.cost,
    )


def _answer(
    model: VisionTransformer, bank: tvbank.Bank, pictures: Tensor, answers: Tensor,
    owners: list[str], order: Tensor, *, pool: bool,
) -> tuple[int, int]:  # fmt: skip
    """How many are answered right by their own task, and how many went to it."""
    right = found = 0
    with tvbank.AutoSwitch(model, bank, _ROUTER, "top1", outputs="list", pool=pool) as auto:
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            logits = auto(pictures[rows])
            assert auto.last is not None
            for row, task, each in zip(rows.tolist(), auto.last.tasks, logits, strict=True):
                mine = task == owners[row]
                found += mine
                right += mine and int(each.argmax()) == int(answers[row])
    return right, found
