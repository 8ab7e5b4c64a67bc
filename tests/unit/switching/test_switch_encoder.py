"""A language model built as transformers builds them: prefix, ties, buffers, pooler and heads."""

import live
import pytest
import torch
from torch import nn

import tvbank

VOCABULARY, WIDTH, LAYERS = 30, 16, 2


class Embeddings(nn.Module):
    def __init__(self):
        super().__init__()
        self.word_embeddings = nn.Embedding(VOCABULARY, WIDTH, padding_idx=0)
        self.position_embeddings = nn.Embedding(12, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH)
        self.dropout = nn.Dropout(0.1)
        self.register_buffer("position_ids", torch.arange(12)[None], persistent=False)

    def forward(self, tokens):
        places = self.position_ids[:, : tokens.shape[1]]
        found = self.word_embeddings(tokens) + self.position_embeddings(places)
        return self.dropout(self.LayerNorm(found))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.ModuleList(
            nn.TransformerEncoderLayer(WIDTH, 2, 2 * WIDTH, batch_first=True) for _ in range(LAYERS)
        )

    def forward(self, states):
        for layer in self.layer:
            states = layer(states)
        return states


class Bare(nn.Module):
    """The encoder by itself, as a base is published."""

    def __init__(self, pooled=True):
        super().__init__()
        self.embeddings, self.encoder = Embeddings(), Encoder()
        self.pooler = nn.ModuleDict({"dense": nn.Linear(WIDTH, WIDTH)}) if pooled else None

    def forward(self, tokens):
        states = self.encoder(self.embeddings(tokens))
        return torch.tanh(self.pooler["dense"](states[:, 0])) if self.pooler else states


class ForClassification(nn.Module):
    def __init__(self, labels):
        super().__init__()
        self.bert = Bare()
        self.classifier = nn.Linear(WIDTH, labels)

    def forward(self, tokens):
        return self.classifier(self.bert(tokens))


class ForMaskedTokens(nn.Module):
    """The output layer is the embedding, and its bias has two names."""

    def __init__(self):
        super().__init__()
        self.bert = Bare(pooled=False)
        self.predictions = nn.Module()
        self.predictions.bias = nn.Parameter(torch.zeros(VOCABULARY))
        self.predictions.decoder = nn.Linear(WIDTH, VOCABULARY)
        self.predictions.decoder.weight = self.bert.embeddings.word_embeddings.weight
        self.predictions.decoder.bias = self.predictions.bias

    def forward(self, tokens):
        return self.predictions.decoder(self.bert(tokens))


def tuned_classifier(base, seed, labels):
    """The state of a fine-tuned classifier, under the base's names; its head beside them."""
    model = ForClassification(labels).eval()
    tuned = live.fine_tune(base, seed)
    # Only the rows of seen tokens move.
    weights = tuned["embeddings.word_embeddings.weight"]
    weights[::3] = base["embeddings.word_embeddings.weight"][::3]
    model.bert.load_state_dict(tuned)
    heads = {f"classifier.{n}": t for n, t in model.classifier.state_dict().items()}
    return model, {**tuned, **heads}


@pytest.fixture
def made():
    torch.manual_seed(0)
    base = live.state_of(Bare().eval())
    bank = tvbank.create(live.MemoryStorage(), base=base, chunk_length=128)
    sources = {}
    for seed, (name, labels) in enumerate({"two": 2, "five": 5, "three": 3}.items()):
        sources[name], tuned = tuned_classifier(base, seed, labels)
        bank.add(name, tuned, tvbank.Exact(), base=base)
        bank.add(f"{name}-small", tuned, tvbank.TSwitch(drop=0.8), base=base)
    model = ForClassification(2).eval()
    model.bert.load_state_dict(base)
    return model, bank, sources


TOKENS = torch.tensor([[3, 5, 7, 0], [1, 2, 29, 4]])


def test_every_task_answers_as_its_own_model(made):
    model, bank, sources = made
    before = live.state_of(model)
    switch = tvbank.attach(model, bank)
    with torch.no_grad():
        for name in ("five", "two", "three", "five-small", "two"):
            switch.to(name)
            answers = model(TOKENS)
            own = sources[name.removesuffix("-small")]
            assert answers.shape == own(TOKENS).shape
            assert model.classifier.out_features == answers.shape[1]
            assert switch.unused == ()
            if name in sources:
                assert torch.equal(answers, own(TOKENS))
    switch.off()
    live.assert_same(model, before)
    assert model.classifier.out_features == 2


def test_a_model_trains_on_after_the_switch_is_off(made):
    model, bank, _ = made
    switch = tvbank.attach(model, bank)
    with switch("five"):
        assert model(TOKENS).shape == (2, 5)
    model(TOKENS).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.1 * parameter.grad
    with pytest.raises(tvbank.errors.BaseMismatchError):
        switch.to("five")


def test_an_output_that_is_the_embedding_follows_it():
    torch.manual_seed(1)
    model = ForMaskedTokens().eval()
    state = live.state_of(model)
    other = tvbank.create(live.MemoryStorage(), base=state, chunk_length=128)
    other.add("a", live.fine_tune(state, 4), tvbank.TSwitch(drop=0.5), base=state)
    switch = tvbank.attach(model, other)
    with torch.no_grad():
        plain = model(TOKENS)
        with switch("a"):
            assert not torch.equal(model(TOKENS), plain)
            embedding = model.bert.embeddings.word_embeddings.weight
            assert model.predictions.decoder.weight is embedding
            assert model.predictions.decoder.bias is model.predictions.bias
        assert torch.equal(model(TOKENS), plain)
    live.assert_same(model, state)


def test_a_model_may_lack_the_pooler_of_its_base(made):
    source, bank, sources = made
    model = ForMaskedTokens().eval()
    weights = source.bert.state_dict()
    model.bert.load_state_dict({name: weights[name] for name in model.bert.state_dict()})
    before = live.state_of(model)
    switch = tvbank.attach(model, bank)
    assert any("lacks units 'pooler.dense.weight'" in remark for remark in switch.remarks)
    assert any("below 'bert.'" in remark for remark in switch.remarks)
    with switch("two"):
        tuned = sources["two"].bert.state_dict()
        now = model.bert.state_dict()
        assert all(torch.equal(weights, tuned[name]) for name, weights in now.items())
    live.assert_same(model, before)


def test_what_a_model_lacks_else_is_named(made):
    model, bank, _ = made
    del model.bert.encoder.layer[1].norm1
    with pytest.raises(tvbank.errors.BaseMismatchError) as caught:
        tvbank.attach(model, bank)
    assert caught.value.units == ("encoder.layer.1.norm1.weight", "encoder.layer.1.norm1.bias")
    assert "below 'bert.'" in str(caught.value)
