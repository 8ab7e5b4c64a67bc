"""Folders of libraries beside transformers: sentence-transformers, and diffusers' UNet."""

import copy

import families
import pytest
import torch
import transformers as tf

import tvbank


def bits(model):
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def check(live, bank, tuned):
    before = bits(live)
    switch = tvbank.attach(live, bank)
    with switch("t"):
        expected = tuned.state_dict()
        assert all(torch.equal(t, expected[n]) for n, t in live.state_dict().items())
    assert all(torch.equal(t, before[n]) for n, t in live.state_dict().items())
    switch.close()


def sentence_model(body, folder):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    body.save_pretrained(folder / "body")
    words = [f"w{n}" for n in range(40)]
    (folder / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])
    )
    tf.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder / "body")
    encoder = Transformer(str(folder / "body"), max_seq_length=16)
    return SentenceTransformer(modules=[encoder, Pooling(16)], device="cpu").eval()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_a_sentence_transformer(kind, tmp_path):
    from sentence_transformers import SentenceTransformer

    torch.manual_seed(0)
    body = {
        "bert": lambda: tf.BertModel(tf.BertConfig(**families.ENCODER)),
        "modernbert": lambda: families.make("modernbert").model,
    }[kind]()
    base = sentence_model(body, tmp_path)
    tuned = families.tuned(base)
    base.save(str(tmp_path / "base"))
    tuned.save(str(tmp_path / "tuned"))
    live = SentenceTransformer(str(tmp_path / "base"), device="cpu").eval()
    for source, other in ((tmp_path / "base", tmp_path / "tuned"), (base, tuned)):
        name = "folder" if source != base else "module"
        bank = tvbank.create(tmp_path / f"bank-{name}", source)
        for number, fine_tune in enumerate((other, tuned, tmp_path / "tuned")):
            bank.add("t", fine_tune, tvbank.Exact(), replace=number > 0)
            assert not bank["t"].extras
        check(live, bank, tuned)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_unet(tmp_path):
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    base = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8,
        norm_num_groups=4,
        attention_head_dim=4,
    ).eval()
    tuned = families.tuned(base)
    base.save_pretrained(tmp_path / "base")
    tuned.save_pretrained(tmp_path / "tuned")
    live = UNet2DConditionModel.from_pretrained(tmp_path / "base")
    for name, source, other in (
        ("folder", tmp_path / "base", tmp_path / "tuned"),
        ("module", base, tuned),
    ):
        bank = tvbank.create(tmp_path / f"bank-{name}", source)
        bank.add("t", other, tvbank.Exact())
        check(live, bank, tuned)
        check(copy.deepcopy(base), bank, tuned)
