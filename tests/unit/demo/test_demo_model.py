"""The encoder's shapes, and accuracy."""

import torch
from torch import nn

from tvbank.demo.model import Classifier, VisionTransformer, accuracy, features

IMAGES = torch.rand(10, 8, 8, generator=torch.Generator().manual_seed(0))


def test_images_become_features_and_logits():
    encoder = VisionTransformer(width=24, depth=2, heads=3)
    assert encoder(IMAGES).shape == (10, 24)
    assert Classifier(encoder, nn.Linear(24, 7))(IMAGES).shape == (10, 7)


def test_patches_are_windows_of_four_by_four_that_overlap_by_half():
    encoder = VisionTransformer(width=8, depth=1, heads=1)
    patches = encoder.patches(IMAGES)
    assert patches.shape == (10, 9, 16)
    expected = (IMAGES[3, 2:6, 4:8].reshape(16) - 0.3) / 0.37
    assert torch.equal(patches[3, 5], expected)


def test_position_tells_a_picture_from_its_patches_in_another_order():
    torch.manual_seed(0)
    encoder = VisionTransformer(width=16, depth=1, heads=2)
    assert not torch.allclose(encoder(IMAGES), encoder(IMAGES.flip(1)))


def test_features_do_not_depend_on_the_batch():
    encoder = VisionTransformer(width=16, depth=1, heads=2)
    together = features(encoder, IMAGES)
    assert torch.allclose(features(encoder, IMAGES, batch=3), together, atol=1e-6)
    assert not together.requires_grad


def test_accuracy_counts_the_largest_logit():
    model = Classifier(VisionTransformer(width=16, depth=1, heads=2), nn.Linear(16, 4))
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([0.0, 0.0, 1.0, 0.0]))
    assert accuracy(model, IMAGES, torch.tensor([2] * 7 + [0] * 3)) == 0.7
