"""Checkpoints come back as they were; one bit is a difference."""

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn

from tvbank.demo.model import Classifier, VisionTransformer
from tvbank.demo.settings import Settings
from tvbank.demo.weights import differing_units, load_classifier, save_classifier, save_encoder

SMALL = Settings(width=16, depth=1, heads=2)


def test_a_classifier_comes_back_with_its_head(tmp_path):
    model = Classifier(VisionTransformer(16, 1, 2), nn.Linear(16, 4))
    save_classifier(tmp_path / "a.safetensors", model)
    back = load_classifier(tmp_path / "a.safetensors", SMALL)
    images = torch.rand(5, 8, 8)
    assert torch.equal(back(images), model(images))


def test_a_checkpoint_has_the_bases_units_and_the_head(tmp_path):
    model = Classifier(VisionTransformer(16, 1, 2), nn.Linear(16, 4))
    base, tuned = tmp_path / "base.safetensors", tmp_path / "tuned.safetensors"
    save_encoder(base, model.encoder)
    save_classifier(tuned, model)
    assert differing_units(base, tuned) == ["head.bias", "head.weight"]


def test_every_kind_of_difference_is_named(tmp_path):
    ours = {
        "bit": np.array([1.0], np.float32),
        "nan": np.array([0x7FC00001], np.uint32).view(np.float32),
        "same": np.array([0x7FC00001], np.uint32).view(np.float32),
        "shape": np.zeros((2, 3), np.float32),
        "type": np.zeros(2, np.float32),
        "zero": np.array([0.0], np.float32),
        "ours": np.zeros(1, np.float32),
    }
    theirs = {
        "bit": np.nextafter(np.float32(1), np.float32(2)).reshape(1),
        "nan": np.array([0x7FC00002], np.uint32).view(np.float32),
        "same": ours["same"],
        "shape": np.zeros((3, 2), np.float32),
        "type": np.zeros(2, np.int32),
        "zero": np.array([-0.0], np.float32),
        "theirs": np.zeros(1, np.float32),
    }
    save_file(ours, tmp_path / "ours")
    save_file(theirs, tmp_path / "theirs")
    expected = ["bit", "nan", "ours", "shape", "theirs", "type", "zero"]
    assert differing_units(tmp_path / "ours", tmp_path / "theirs") == expected
    assert differing_units(tmp_path / "ours", tmp_path / "ours") == []
