"""Similarities of all with all have no example axis: CLIP's logits, whatever the groups' sizes."""

import copy

import pytest
import torch
import transformers

import tvbank
from tvbank.errors import UsageError
from tvbank.storage import MemoryStorage

AT = "vision_model.pre_layrnorm"


class Setting:
    """A small CLIP, a fine-tune for dark and one for bright pictures, examples of both."""

    def __init__(self):
        torch.manual_seed(0)
        layers = {
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2,
        }  # fmt: skip
        words = {
            "vocab_size": 64, "max_position_embeddings": 8, "eos_token_id": 1, "bos_token_id": 2,
            "pad_token_id": 0,
        }  # fmt: skip
        config = transformers.CLIPConfig(
            text_config=layers | words,
            vision_config={**layers, "image_size": 8, "patch_size": 4},
            projection_dim=8,
        )
        self.model = transformers.CLIPModel(config).eval()
        self.bank = tvbank.create(MemoryStorage(), self.model)
        self.tuned, self.pictures, found = {}, {}, {}
        self.words = torch.cat([torch.randint(4, 60, (30, 5)), torch.ones(30, 1).long()], 1)
        for name, light in (("dark", -2), ("bright", 2)):
            self.tuned[name] = copy.deepcopy(self.model)
            torch.nn.init.normal_(self.tuned[name].visual_projection.weight)
            self.bank.add(name, self.tuned[name], tvbank.Exact())
            self.pictures[name] = light + torch.randn(30, 3, 8, 8)
            found[name] = tvbank.routing.features(self.model, self.inputs(**{name: 30}), at=AT)
        self.router = tvbank.Router.fit(found, at=AT, reject=None)

    def inputs(self, **counts):
        pictures = torch.cat([self.pictures[name][:count] for name, count in counts.items()])
        return {"pixel_values": pictures, "input_ids": self.words[: len(pictures)]}

    def auto(self, **options):
        return tvbank.AutoSwitch(self.model, self.bank, self.router, mode="top1", **options)


@pytest.fixture(scope="module")
def setting():
    return Setting()


@pytest.mark.parametrize("counts", [(3, 3), (4, 2), (1, 5), (1, 1), (2, 1)])
def test_similarities_of_a_batch_are_refused_however_large_the_groups_are(setting, counts):
    inputs = setting.inputs(dark=counts[0], bright=counts[1])
    with setting.auto() as auto, pytest.raises(UsageError, match=r"output\.logits_per_"):
        auto(**inputs)


def test_what_is_each_examples_own_can_be_asked_for(setting):
    inputs = setting.inputs(dark=2, bright=2)
    with setting.auto(forward=lambda model, batch: model(**batch).image_embeds) as auto:
        found = auto(**inputs)
    for name, rows in (("dark", slice(0, 2)), ("bright", slice(2, 4))):
        taken = {key: tensor[rows] for key, tensor in inputs.items()}
        torch.testing.assert_close(found[rows], setting.tuned[name](**taken).image_embeds)


def test_a_batch_of_one_task_gets_what_its_model_returns(setting):
    inputs = setting.inputs(bright=3)
    with setting.auto() as auto:
        found = auto(**inputs)
    torch.testing.assert_close(
        found.logits_per_image, setting.tuned["bright"](**inputs).logits_per_image
    )
