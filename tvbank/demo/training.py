"""Train the base and the fine-tunes, and leave them as files."""

from __future__ import annotations

from torch import Generator

from tvbank.demo.finetune import fine_tune
from tvbank.demo.folder import DemoFolder
from tvbank.demo.images import Images
from tvbank.demo.model import Classifier, accuracy, features
from tvbank.demo.pretrain import pretrain
from tvbank.demo.probe import fit_probe
from tvbank.demo.progress import Stages
from tvbank.demo.settings import Settings
from tvbank.demo.tasks import TASKS, Pictures
from tvbank.demo.weights import save_classifier, save_encoder


def train_all(
    folder: DemoFolder,
    train: Images,
    tests: dict[str, Pictures],
    settings: Settings,
    seed: int,
    stages: Stages,
) -> dict[str, float]:
    """Write ``base.safetensors`` and one checkpoint a task.

    Args:
        folder: where.
        train: what to learn from.
        tests: task -> pictures to score the base on.
        settings: sizes and steps.
        seed: of all that is random, initial weights apart (torch's global generator).
        stages: for the progress bars.

    Returns:
        Task -> accuracy of the base with a linear probe, 0..1.
    """
    scores = {}
    with stages.steps("pre-training the base", settings.pretrain_steps) as step:
        base = pretrain(train.pixels, settings, _chance(seed, 0), step)
    save_encoder(folder.base, base)
    for number, task in enumerate(TASKS, start=1):
        chance = _chance(seed, number)
        with stages.steps(f"fine-tuning {task.name}", settings.tune_steps) as step:
            pictures, labels = task.draw(train, chance)
            probe = fit_probe(features(base, pictures), labels, task.classes)
            start = Classifier(base, probe)
            scores[task.name] = accuracy(start, *tests[task.name])
            tuned = fine_tune(start, task, train, settings, chance, step)
        save_classifier(folder.checkpoint(task.name), tuned)
    return scores


def _chance(seed: int, number: int) -> Generator:
    return Generator().manual_seed(1000 * seed + number)
