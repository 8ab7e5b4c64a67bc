"""What a fine-tune changes of its base's configuration, as its own or its shapes say it."""

import pytest

from tvbank.errors import UsageError
from tvbank.folders import config_patch, folder_named, front_matter, hub_name, parse_bytes
from tvbank.folders._card import Origin, card
from tvbank.folders._config import fitted, is_deep, merge_patch

BASE = {"model_type": "bert", "vocab_size": 64, "architectures": ["A"], "dtype": "float32",
        "text_config": {"vocab_size": 64, "hidden_size": 8}, "gone": 1}  # fmt: skip
TUNED = {"model_type": "bert", "vocab_size": 72, "architectures": ["B"], "dtype": "bfloat16",
         "text_config": {"vocab_size": 72, "hidden_size": 8}, "id2label": {"0": "cat"},
         "_name_or_path": "x"}  # fmt: skip


def test_a_patch_holds_what_differs_and_matters_and_gives_it_back():
    patch = config_patch(BASE, TUNED)
    assert patch == {
        "vocab_size": 72, "architectures": ["B"], "text_config": {"vocab_size": 72}, "gone": None,
        "id2label": {"0": "cat"},
    }  # fmt: skip
    patched = merge_patch(BASE, patch)
    assert config_patch(patched, TUNED) == {}
    assert patched["dtype"] == "float32"
    assert "gone" not in patched
    assert BASE["vocab_size"] == 64
    assert config_patch(BASE, BASE) == {}


def test_a_bank_of_a_stranger_names_no_code_and_no_element_types():
    hostile = {"auto_map": {"AutoModel": "x--y.Z"}, "quantization_config": {}, "dtype": "float64",
               "text_config": {"auto_map": {}, "a": 1}, "b": 2}  # fmt: skip
    for config in ({}, {"text_config": {}}):
        assert merge_patch(config, hostile) == {"text_config": {"a": 1}, "b": 2}


def test_what_is_nested_too_deeply_is_told():
    deep = {"a": []}
    for _ in range(5000):
        deep = {"a": [deep]}
    assert is_deep(deep)
    assert not is_deep(TUNED)
    assert fitted({"num_labels": "many"}, {}, {"score.weight": (3, 8)})["id2label"]


def test_a_wrapper_has_no_architecture():
    assert config_patch({"architectures": ["A"]}, {"architectures": None}) == {}


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("/home/me/.cache/huggingface/hub/models--org--a.b/snapshots/0123abc", "org/a.b"),
        ("/cache/models--gpt2/snapshots/0123abc/model.safetensors", "gpt2"),
        ("hf://org/base@dev/model.safetensors", "org/base"),
        ("/data/base", ""),
        ("s3://bucket/org/base", ""),
    ],
)
def test_the_place_of_a_model_may_tell_its_name(place, name):
    assert hub_name(place) == name


def test_labels_are_replaced_as_a_whole():
    three = {"id2label": {"0": "a", "1": "b", "2": "c"}}
    one = {"id2label": {"0": "cat"}}
    assert merge_patch(three, config_patch(three, one)) == one


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("model.embed_tokens.weight", "vocab_size"),
        ("transformer.wte.weight", "vocab_size"),
        ("bert.embeddings.word_embeddings.weight", "vocab_size"),
        ("backbone.embeddings.weight", "vocab_size"),
        ("shared.weight", "vocab_size"),
        ("transformer.wpe.weight", "n_positions"),
        ("bert.embeddings.position_embeddings.weight", "max_position_embeddings"),
        ("bert.embeddings.token_type_embeddings.weight", "type_vocab_size"),
    ],
)
def test_rows_of_embeddings_are_where_the_configuration_says_them(name, member):
    others = {"vocab_size": 7, "n_positions": 7, "max_position_embeddings": 7, "type_vocab_size": 7}
    config = {**others, member: 5, "text_config": {member: 5}, "vision_config": {member: 6}}
    made = fitted(config, {name: (5, 4)}, {name: (9, 4)})
    assert made == {**config, member: 9, "text_config": {member: 9}}
    assert config[member] == 5
    assert fitted(config, {name: (5, 4)}, {name: (5, 8)}) == config


@pytest.mark.parametrize(
    "name",
    ["classifier.weight", "score.weight", "classifier.1.weight", "model.classifier.out_proj.weight",
     "classification_head.out_proj.weight"],
)  # fmt: skip
def test_a_head_has_as_many_labels_as_rows(name):
    made = fitted({"num_labels": 2}, {}, {name: (3, 8), "classifier.bias": (3,)})
    assert made["id2label"] == {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}
    assert made["label2id"] == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}
    named = {"id2label": {"0": "a", "1": "b", "2": "c"}}
    assert fitted(named, {name: (2, 8)}, {name: (3, 8)}) == named
    assert fitted({}, {}, {name: (2, 8)}) == {}


def test_an_output_layer_of_its_own_is_not_tied():
    base = {"model.embed_tokens.weight": (5, 4)}
    kept = {"lm_head.weight": (5, 4)}
    assert fitted({}, base, kept) == {"tie_word_embeddings": False}
    inner = {"text_config": {"tie_word_embeddings": True}}
    assert fitted(inner, base, kept)["text_config"] == {"tie_word_embeddings": False}
    assert fitted({}, {**base, **kept}, kept) == {}


def test_sizes_are_numbers_or_texts():
    assert [parse_bytes(size) for size in (7, "5GB", "500 MB", "1.5 MiB", "3k")] == [
        7, 5 * 10**9, 5 * 10**8, 3 * 2**19, 3000,
    ]  # fmt: skip
    for wrong in (0, -1, "", "GB", "1 shard", "0 MB", True, None, 1.5):
        with pytest.raises(UsageError, match="5GB"):
            parse_bytes(wrong)


def test_a_slash_or_a_folder_names_a_folder(tmp_path):
    assert folder_named(f"{tmp_path}/new/") == tmp_path / "new"
    assert folder_named(tmp_path) == tmp_path
    assert folder_named(tmp_path / "new") is None
    with pytest.raises(UsageError, match="URL"):
        folder_named("s3://bucket/folder/")


def test_a_card_says_its_base_and_nothing_breaks_out_of_it():
    yaml = pytest.importorskip("yaml")
    nasty = "a: b\n---\n# <script> | `x` [y]"
    text = card(Origin(nasty, "finetune", {}, [("how", nasty)]), nasty, "transformers")
    _, head, rest = text.split("---\n", 2)
    assert yaml.safe_load(head) == {
        "base_model": nasty, "base_model_relation": "finetune", "library_name": "transformers",
        "tags": ["tvbank"],
    }  # fmt: skip
    assert rest.count("\n#") == 1
    assert "<script>" not in rest.replace("\\<", "")
    assert yaml.safe_load(front_matter({"a": ["\u2028", "é"]})[4:-4]) == {"a": ["\u2028", "é"]}
