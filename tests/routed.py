"""What the tests of routing a live model share: a classifier, fine-tunes, inputs of each."""

import live
import numpy as np
import torch
from torch import nn

import tvbank
from tvbank.routing import features

NAMES = ("cats", "dogs", "cows")
WIDTH = 12


class Classifier(nn.Module):
    """Rows [n, 12] -> scores [n, 4]; the model that is attached has the base's names."""

    def __init__(self, classes=4):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Linear(WIDTH, 16)
        self.body = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
        self.head = nn.Linear(16, classes)

    def forward(self, rows):
        return self.head(self.body(torch.tanh(self.embed(rows))))


def inputs_of(name, count, seed=0, spread=0.3):
    """Rows around a centre of the task's own."""
    centre = torch.zeros(WIDTH)
    centre[4 * NAMES.index(name) : 4 * NAMES.index(name) + 4] = 2.0
    generator = torch.Generator().manual_seed(1000 * seed + NAMES.index(name))
    return centre + spread * torch.randn(count, WIDTH, generator=generator)


def mixed(counts, seed=1, spread=0.3):
    """Inputs of several tasks in a random order, and each one's task."""
    rows = torch.cat([inputs_of(name, count, seed, spread) for name, count in counts.items()])
    truth = [name for name, count in counts.items() for _ in range(count)]
    order = np.random.default_rng(seed).permutation(len(truth))
    return rows[torch.from_numpy(order)], [truth[number] for number in order]


def router_for(model, at="embed", *, spread=0.3, names=NAMES, **options):
    """A router fitted to forty examples of each task."""
    options.setdefault("reject", None)
    found = {name: features(model, inputs_of(name, 40, 0, spread), at=at) for name in names}
    return tvbank.Router.fit(found, at=at, **options)


def setting(names=NAMES):
    """A model in evaluation mode, its base, its fine-tunes, a bank of them."""
    model = Classifier().eval()
    state = live.state_of(model)
    tunes = {name: live.fine_tune(state, number + 1, 0.3) for number, name in enumerate(names)}
    bank = tvbank.create(live.MemoryStorage(), base=state, chunk_length=64)
    for name, tuned in tunes.items():
        bank.add(name, tuned, tvbank.TSwitch(drop=0.5), base=state)
    return model, state, tunes, bank


def twin(weights):
    """The same classifier with other weights; heads may have other widths."""
    model = Classifier(len(weights["head.bias"])).eval()
    model.load_state_dict(weights)
    return model
