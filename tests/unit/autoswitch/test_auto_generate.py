"""``auto.generate``: every prompt under its own task, as that task's model alone would."""

import copy

import pytest
import torch
import transformers

import tvbank
from tvbank.errors import UsageError

TASKS = {"low": (4, 20), "high": (40, 60)}
PAD, END = 0, 1


def models():
    small = {"vocab_size": 64, "pad_token_id": PAD, "bos_token_id": 2, "eos_token_id": END}
    torch.manual_seed(0)
    yield (
        "gpt2",
        transformers.GPT2LMHeadModel(
            transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=64, **small)
        ),
        "transformer.wte",
    )
    yield (
        "llama",
        transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                **small,
            )
        ),
        "model.embed_tokens",
    )
    yield (
        "t5",
        transformers.T5ForConditionalGeneration(
            transformers.T5Config(
                d_model=16,
                d_kv=8,
                d_ff=16,
                num_layers=1,
                num_heads=2,
                decoder_start_token_id=PAD,
                **small,
            )
        ),
        "encoder.embed_tokens",
    )


class Setting:
    """A model, a fine-tune of it for each task, and the bank and the router of both."""

    def __init__(self, model, at):
        self.model, self.tuned = model.eval(), {}
        with torch.no_grad():  # what the router tells tasks by
            model.get_input_embeddings().weight[:30] += 0.5
            model.get_input_embeddings().weight[30:] -= 0.5
        self.bank = tvbank.create(tvbank.storage.MemoryStorage(), model)
        examples = {}
        for name, (least, most) in TASKS.items():
            tuned = copy.deepcopy(model)
            with torch.no_grad():
                for parameter in tuned.parameters():
                    parameter += 0.3 * torch.randn_like(parameter)
            self.tuned[name] = tuned.eval()
            self.bank.add(name, tuned, tvbank.Exact())
            ids = torch.randint(least, most, (30, 6))
            examples[name] = tvbank.routing.features(model, ids, at=at)
        self.bank.add_router("r", tvbank.Router.fit(examples, at=at, reject=None))

    def auto(self, **options):
        return tvbank.AutoSwitch(self.model, self.bank, "r", mode="top1", **options)


@pytest.fixture(scope="module")
def settings():
    return {name: Setting(model, at) for name, model, at in models()}


def prompts(order, lengths, seed=0):
    """Prompts of some tasks, padded on the left, and their mask."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.full((len(order), max(lengths)), PAD)
    mask = torch.zeros_like(ids)
    for row, (task, length) in enumerate(zip(order, lengths, strict=True)):
        ids[row, -length:] = torch.randint(*TASKS[task], (length,), generator=generator)
        mask[row, -length:] = 1
    return {"input_ids": ids, "attention_mask": mask}


def told(setting, order, inputs, several=1, **options):
    """What each task's own model generates of its prompts, padded to the longest."""
    found = {}
    for task in set(order):
        rows = torch.tensor([row for row, one in enumerate(order) if one == task])
        taken = {name: tensor[rows] for name, tensor in inputs.items()}
        made = setting.tuned[task].generate(**taken, **options).chunk(len(rows))
        found.update(zip(rows.tolist(), made, strict=True))
    length = max(made.shape[1] for made in found.values())
    return torch.cat(
        [
            torch.nn.functional.pad(found[row], (0, length - found[row].shape[1]), value=PAD)
            for row in range(len(order))
        ]
    )


ORDER, LENGTHS = ("high", "low", "low", "high", "low"), (5, 3, 6, 4, 6)


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
@pytest.mark.parametrize(
    "options",
    [
        {"max_new_tokens": 5},
        {"max_new_tokens": 12, "eos_token_id": [END, *range(20, 30)]},
        {"max_new_tokens": 4, "num_beams": 3, "num_return_sequences": 2},
    ],
    ids=["greedy", "ends early", "beams"],
)
def test_every_prompt_is_answered_by_its_own_task(settings, family, options):
    setting, inputs = settings[family], prompts(ORDER, LENGTHS)
    before = {name: tensor.clone() for name, tensor in setting.model.state_dict().items()}
    with setting.auto() as auto:
        found = auto.generate(**inputs, **options)
        assert auto.last.tasks == ORDER
        assert auto.last.runs == 2
        assert torch.equal(found, told(setting, ORDER, inputs, **options))
        assert torch.equal(auto.generate(inputs, **options), found)
    assert all(torch.equal(t, before[name]) for name, t in setting.model.state_dict().items())


def test_what_ends_early_differs_in_length_between_tasks(settings):
    """Else the test above would not show how that is padded."""
    setting, inputs = settings["gpt2"], prompts(ORDER, LENGTHS)
    lengths = set()
    for task in TASKS:
        rows = [row for row, one in enumerate(ORDER) if one == task]
        taken = {name: tensor[rows] for name, tensor in inputs.items()}
        options = {"max_new_tokens": 12, "eos_token_id": [END, *range(20, 30)]}
        lengths.add(setting.tuned[task].generate(**taken, **options).shape[1])
    assert len(lengths) == 2


def test_one_output_a_prompt(settings):
    setting, inputs = settings["llama"], prompts(ORDER, LENGTHS)
    with setting.auto(outputs="list") as auto:
        found = auto.generate(**inputs, max_new_tokens=3, do_sample=True, num_return_sequences=2)
        assert [tuple(each.shape) for each in found] == [(2, 9)] * 5
        greedy = auto.generate(**inputs, max_new_tokens=3)
    assert torch.equal(torch.cat(greedy), told(setting, ORDER, inputs, max_new_tokens=3))


def test_the_main_input_may_be_given_alone(settings):
    setting, inputs = settings["gpt2"], prompts(ORDER, [6] * 5)
    with setting.auto() as auto:
        found = auto.generate(inputs["input_ids"], max_new_tokens=3)
    assert torch.equal(found, told(setting, ORDER, inputs, max_new_tokens=3))


def test_padding_on_the_left_moves_no_token(settings):
    """A router whose layer knows positions sees a prompt as it was without padding."""
    setting = settings["gpt2"]
    ids = torch.randint(4, 60, (1, 5))
    inputs = {"input_ids": torch.cat([torch.full((1, 3), PAD), ids], 1),
              "attention_mask": torch.tensor([[0] * 3 + [1] * 5])}  # fmt: skip
    seen = []
    hook = setting.model.transformer.h[0].register_forward_hook(
        lambda _module, _inputs, output: seen.append(output[0][..., -5:, :].reshape(5, -1))
    )
    with setting.auto() as auto:
        prompts_seen = tvbank.autoswitch._generate.prompts_of(setting.model, inputs, {})
        setting.model(**prompts_seen.features(setting.model).inputs)
        setting.model(ids)
        assert auto.tasks == tuple(TASKS)
    hook.remove()
    torch.testing.assert_close(*seen)


def test_prompts_of_one_task_get_what_the_model_returns(settings):
    setting, inputs = settings["gpt2"], prompts(("low", "low"), (4, 6))
    options = {"max_new_tokens": 3, "return_dict_in_generate": True, "output_scores": True}
    with setting.auto() as auto:
        found = auto.generate(**inputs, **options)
        assert len(found.scores) == 3
        with pytest.raises(UsageError, match="leave out return_dict_in_generate"):
            auto.generate(**prompts(ORDER, LENGTHS), **options)
        assert auto.switch.active is None


def test_what_cannot_be_generated_is_refused(settings):
    setting, inputs = settings["gpt2"], prompts(ORDER, LENGTHS)
    cache = setting.model(inputs["input_ids"], use_cache=True).past_key_values
    with setting.auto() as auto:
        with pytest.raises(UsageError, match="no prompt to route"):
            auto.generate(max_new_tokens=3)
        with pytest.raises(UsageError, match="is a cache, which belongs to the task"):
            auto.generate(**inputs, past_key_values=cache)
        with pytest.raises(UsageError, match="same number of examples"):
            auto.generate(inputs["input_ids"], attention_mask=inputs["attention_mask"][:2])
    model = torch.nn.Sequential(torch.nn.Linear(4, 4)).eval()
    with pytest.raises(UsageError, match="a Sequential has no generate"):
        tvbank.autoswitch._generate.prompts_of(model, None, {})


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_a_call_returns_no_cache_unless_it_is_asked_for(settings, family):
    setting, inputs = settings[family], prompts(ORDER, [6] * 5)
    if family == "t5":
        inputs["decoder_input_ids"] = torch.zeros(5, 2, dtype=torch.long)
    with setting.auto() as auto:
        logits = auto(**inputs).logits
        for row, task in enumerate(ORDER):
            one = {name: tensor[row : row + 1] for name, tensor in inputs.items()}
            torch.testing.assert_close(logits[row : row + 1], setting.tuned[task](**one).logits)
        with pytest.raises(UsageError, match="call with use_cache=False"):
            auto(**inputs, use_cache=True)
        with pytest.raises(UsageError, match="call without labels"):
            auto(**inputs, labels=inputs.get("decoder_input_ids", inputs["input_ids"]))
        cache = setting.model(**inputs, use_cache=True).past_key_values
        with pytest.raises(UsageError, match="is a cache, which belongs to the task"):
            auto(**inputs, past_key_values=cache)
