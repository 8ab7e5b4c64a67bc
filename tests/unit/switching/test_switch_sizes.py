"""What a model says of its sizes goes along with heads and embeddings of others, and comes back."""

import copy

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM

import tvbank

SIZES = {"vocab_size": 24, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
         "num_attention_heads": 2}  # fmt: skip
IDS = torch.tensor([[1, 2, 5]])


@pytest.mark.parametrize("tie", [False, True])
def test_a_resized_vocabulary_has_a_loss_and_is_saved_as_what_it_is(tmp_path, tie):
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=tie)).eval()
    tuned = copy.deepcopy(model)
    tuned.resize_token_embeddings(30, mean_resizing=False)
    bank = tvbank.create(tmp_path / "bank", model)
    bank.add("big", tuned, tvbank.Exact(), replace_mismatched=True)
    model.save_pretrained(tmp_path / "base")  # which notes its class and element type
    told = model.config.to_dict()
    switch = tvbank.attach(model, bank)
    for _ in range(2):
        switch.to("big")
        assert model.config.vocab_size == model.vocab_size == model.model.vocab_size == 30
        assert torch.equal(model(IDS, labels=IDS).loss, tuned(IDS, labels=IDS).loss)
        model.save_pretrained(tmp_path / "saved")
        saved = LlamaForCausalLM.from_pretrained(tmp_path / "saved")
        assert torch.equal(saved(IDS).logits, tuned(IDS).logits)
        switch.off()
        assert model.config.to_dict() == told
        assert model.vocab_size == model.model.embed_tokens.num_embeddings == 24
        assert model(IDS, labels=IDS).loss > 0


def test_another_number_of_labels_has_a_loss(tmp_path):
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(**SIZES)).eval()
    tunes = {
        count: BertForSequenceClassification(BertConfig(**SIZES, num_labels=count)).eval()
        for count in (3, 5)
    }
    bank = tvbank.create(tmp_path / "bank", model)
    for count, tuned in tunes.items():
        bank.add(f"of-{count}", tuned, tvbank.Exact(), replace_mismatched=True)
    told, switch = model.config.to_dict(), tvbank.attach(model, bank)
    for count, tuned in tunes.items():
        switch.to(f"of-{count}")
        assert model.num_labels == model.config.num_labels == count
        labels = torch.tensor([count - 1])
        assert torch.equal(model(IDS, labels=labels).loss, tuned(IDS, labels=labels).loss)
    switch.close()
    told["problem_type"] = model.config.problem_type  # the loss itself notes it
    assert model.config.to_dict() == told
    assert model.num_labels == 2


def test_what_only_looks_like_a_size_stays(tmp_path):
    model = LlamaForCausalLM(LlamaConfig(**{**SIZES, "vocab_size": 16}))
    tuned = copy.deepcopy(model)
    tuned.resize_token_embeddings(20, mean_resizing=False)
    bank = tvbank.create(tmp_path / "bank", model)
    bank.add("big", tuned, tvbank.Exact(), replace_mismatched=True)
    with tvbank.attach(model, bank)("big"):
        assert model.config.vocab_size == 20
        assert model.config.hidden_size == model.config.intermediate_size == 16
