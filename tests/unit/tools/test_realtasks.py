"""The folder of real fine-tunes: what is read, and what is scored."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tools.bench import realtasks
from tools.bench.realtasks import _families
from tools.bench.realtasks._families import MiniLM, VisionTransformer

CLASSES = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_families, "WIDTH", 24)
        yield written(tmp_path_factory.mktemp("realtasks"))


def written(root):
    """A base and one untrained task of the image family, and one whose training is not done."""
    torch.manual_seed(0)
    chance = np.random.default_rng(0)
    base = VisionTransformer().state_dict()
    for name in ("done", "waiting"):
        task = root / "vit" / name
        task.mkdir(parents=True)
        images = chance.integers(0, 256, (9, 28, 28), dtype=np.uint8)
        labels = np.arange(9) % CLASSES
        np.savez(
            task / "data.npz", x_train=images, y_train=labels, x_test=images[:6], y_test=labels[:6]
        )
        head = {"weight": torch.randn(CLASSES, 24), "bias": torch.zeros(CLASSES)}
        save_file(head, task / "head.safetensors")
    save_file(base, root / "vit" / "base.safetensors")
    save_file({**base, "pos": base["pos"] + 1}, root / "vit" / "done" / "tuned.safetensors")
    return root


def test_only_trained_tasks_are_read_unless_asked(folder):
    assert list(realtasks.load(folder, "vit").tasks) == ["done"]
    assert list(realtasks.load(folder, "vit", tuned=False).tasks) == ["done", "waiting"]


def test_accuracy_is_the_share_of_right_answers(folder):
    family = realtasks.load(folder, "vit")
    model, task = family.model(), family.tasks["done"]
    features = family.pooled(model, family.inputs(task.x_test))
    answers = (features @ task.head_weight.T + task.head_bias).argmax(1).numpy()
    assert realtasks.accuracy(family, model, task) == (answers == task.y_test).mean()
    assert realtasks.accuracy(family, model, task, limit=2) == (answers == task.y_test)[:2].mean()
    assert task.classes == CLASSES


def test_features_come_in_the_order_of_the_rows_whatever_the_batch(folder):
    family = realtasks.load(folder, "vit")
    model, x = family.model(), family.tasks["done"].x_train.copy()
    x[4] = 0
    each = torch.cat([family.pooled(model, family.inputs(x[i : i + 1])) for i in range(len(x))])
    for batch in (1, 2, 100):
        features = realtasks.pooled_features(family, model, x, batch)
        torch.testing.assert_close(features, each.detach())


def test_token_ids_lose_common_padding_and_padding_is_no_part_of_the_mean():
    inputs = MiniLM.inputs(np.array([[5, 6, 0, 0], [7, 0, 0, 0]], np.int32))
    assert inputs["input_ids"].tolist() == [[5, 6], [7, 0]]
    assert inputs["attention_mask"].tolist() == [[1, 1], [1, 0]]

    class Twice(torch.nn.Module):
        def forward(self, input_ids, attention_mask):
            states = input_ids[..., None].float() * torch.tensor([1.0, 2.0])
            states[attention_mask == 0] = 100.0
            return type("Output", (), {"last_hidden_state": states})

    assert MiniLM.pooled(Twice(), inputs).tolist() == [[5.5, 11.0], [7.0, 14.0]]


def test_what_is_not_there_is_said(folder, tmp_path):
    with pytest.raises(ValueError, match="choose from minilm, vit"):
        realtasks.load(folder, "audio")
    with pytest.raises(FileNotFoundError, match=r"python -m tools\.bench realtasks build"):
        realtasks.load(tmp_path, "minilm")
