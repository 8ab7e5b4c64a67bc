"""``Recipe``: what mergekit's YAML says, checked as far as it can be without a bank."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self, final

from tvbank.errors import UsageError
from tvbank.merging.recipes._yaml import Node, from_python, from_yaml
from tvbank.merging.recipes.method import RecipeMethod
from tvbank.merging.recipes.settings import Settings, read_settings
from tvbank.merging.registry import RECIPE_METHODS

#: The largest file that is read as a recipe.
MAX_RECIPE_BYTES: Final = 2**20

#: What a recipe may calculate in, and write.
DTYPES: Final = ("bfloat16", "float16", "float32", "float64")

_PARTS = ("models", "slices", "modules")
_TOKENIZER = ("tokenizer_source", "tokenizer", "chat_template")
_KEYS = (
    "merge_method", "base_model", *_PARTS, "parameters", "dtype", "out_dtype", *_TOKENIZER,
    "random_seed", "name",
)  # fmt: skip


@final
@dataclass(frozen=True)
class Source:
    """A model that takes part, or some of its layers.

    Attributes:
        model: as the recipe calls it.
        layers: the first, and the one after the last; None for all.
        settings: its parameters.
        node: where it stands.
    """

    model: str
    layers: tuple[int, int] | None
    settings: Settings
    node: Node


@final
@dataclass(frozen=True)
class Slice:
    """Layers of the result, and those that they are made of.

    Attributes:
        sources: as many layers of each.
        base: the model that is the base here; None for the recipe's.
        settings: parameters of the slice.
        node: where it stands.
    """

    sources: tuple[Source, ...]
    base: str | None
    settings: Settings
    node: Node


@final
@dataclass(frozen=True)
class Module:
    """A part of the model, or all of it: either whole models, or slices.

    Attributes:
        models: whole models; empty if there are slices.
        slices: in the order of the result's layers.
        settings: parameters of the module.
        node: where it stands.
    """

    models: tuple[Source, ...]
    slices: tuple[Slice, ...]
    settings: Settings
    node: Node


@final
@dataclass(frozen=True)
class Recipe:
    """How several models become one, as mergekit 0.1.5's YAML says it.

    Attributes:
        text: the YAML; JSON, which is YAML, if the recipe came from Python.
        method_name: its ``merge_method``.
        method: that method.
        base: its ``base_model``, if any.
        dtype: what is calculated in; None for the models' own element types.
        out_dtype: what is written; None for what was calculated in.
        settings: its ``parameters``.
        modules: parts of the model by name; the empty name if it has none.
        seed: of methods that draw; None if it does not say.
        notes: what of it has no effect here, and why.
    """

    text: str
    method_name: str
    method: RecipeMethod
    base: str | None
    dtype: str | None
    out_dtype: str | None
    settings: Settings
    modules: Mapping[str, Module]
    seed: int | None
    notes: tuple[str, ...]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file.

        Raises:
            UsageError: it cannot be read, or see ``parse``.
        """
        place = Path(path)
        try:
            if place.stat().st_size > MAX_RECIPE_BYTES:
                raise UsageError(f"{place}: larger than {MAX_RECIPE_BYTES} bytes; no recipe is")
            text = place.read_text("utf-8")
        except OSError as error:
            raise UsageError(f"{place}: cannot be read ({error.strerror or error})") from error
        except UnicodeDecodeError as error:
            raise UsageError(f"{place}: not text in UTF-8; a recipe is YAML") from error
        return cls.parse(text, place.name)

    @classmethod
    def parse(cls, recipe: str | Mapping[str, Any], source: str = "recipe") -> Self:
        """Check a recipe.

        Args:
            recipe: YAML, or what YAML says as plain Python values.
            source: what it is called, for messages.

        Raises:
            UsageError: a key, a method or a parameter that is not known, or a value of another
                kind; says the line and the remedy.
        """
        if isinstance(recipe, str):
            return cls._read(from_yaml(recipe, source), recipe)
        checked = cls._read(from_python(recipe, source), "")
        return replace(checked, text=json.dumps(recipe, indent=1, default=str))

    @classmethod
    def _read(cls, node: Node, text: str) -> Self:
        members = {k: n for k, n in node.members(_KEYS).items() if n.value is not None}
        if "merge_method" not in members:
            raise node.error("a recipe needs a merge_method, for instance 'merge_method: ties'")
        name = members["merge_method"].text()
        try:
            method = RECIPE_METHODS.make(name, {}, prefix="merge_")
        except UsageError as error:
            raise members["merge_method"].error(str(error)) from error
        notes: list[str] = []
        reader = _Reader(name, method, notes)
        return cls(
            text, name, method,
            _model(members["base_model"]) if "base_model" in members else None,
            _dtype(members.get("dtype")), _dtype(members.get("out_dtype")),
            reader.settings(members.get("parameters")),
            reader.modules(node, members), _seed(members.get("random_seed")),
            (*notes, *_about_tokenizers(members)),
        )  # fmt: skip


@final
@dataclass(frozen=True)
class _Reader:
    """Reads the parts that have parameters."""

    name: str
    method: RecipeMethod
    notes: list[str]

    def settings(self, node: Node | None, *, of_model: bool = False) -> Settings:
        return read_settings(node, self.name, self.method, self.notes, of_model=of_model)

    def modules(self, node: Node, members: Mapping[str, Node]) -> Mapping[str, Module]:
        given = [part for part in _PARTS if part in members]
        if len(given) != 1:
            what = " and ".join(given) or "none of them"
            raise node.error(f"a recipe has one of models, slices and modules, not {what}")
        if given == ["modules"]:
            modules = members["modules"].members()
            if not modules:
                raise members["modules"].error("it names no module")
            return {
                key: self._module(each, each.members((*_PARTS[:2], "parameters")))
                for key, each in modules.items()
            }
        return {"": self._module(node, {given[0]: members[given[0]]})}

    def _module(self, node: Node, members: Mapping[str, Node]) -> Module:
        members = {key: each for key, each in members.items() if each.value is not None}
        if ("models" in members) == ("slices" in members):
            raise node.error("a module has either models or slices")
        models: tuple[Source, ...] = ()
        slices: tuple[Slice, ...] = ()
        if "models" in members:
            models = tuple(
                self._source(each, each.members(("model", "parameters")))
                for each in members["models"].items()
            )
        else:
            slices = tuple(map(self._slice, members["slices"].items()))
        return Module(models, slices, self.settings(members.get("parameters")), node)

    def _slice(self, node: Node) -> Slice:
        members = node.members(("sources", "base_model", "residual_weight", "parameters"))
        if "sources" not in members:
            raise node.error("a slice needs sources: the models and their layers")
        if "residual_weight" in members:
            self.notes.append(f"{members['residual_weight'].where}: ignored, as mergekit does")
        sources = tuple(
            self._source(each, each.members(("model", "layer_range", "parameters")))
            for each in members["sources"].items()
        )
        for source in sources:
            if source.layers is None:
                raise source.node.error("a source of a slice needs a layer_range: [first, end]")
        counts = {source.layers[1] - source.layers[0] for source in sources if source.layers}
        if len(counts) > 1:
            raise node.error(
                "all sources of a slice must have the same number of layers, not "
                f"{' and '.join(map(str, sorted(counts)))}: correct a layer_range"
            )
        base = members.get("base_model")
        here = self.settings(members.get("parameters"))
        return Slice(sources, _model(base) if base and base.value else None, here, node)

    def _source(self, node: Node, members: Mapping[str, Node]) -> Source:
        if "model" not in members:
            raise node.error("needs a model: the name of a task, or the base")
        settings = self.settings(members.get("parameters"), of_model=True)
        layers = _layers(members["layer_range"]) if "layer_range" in members else None
        return Source(_model(members["model"]), layers, settings, node)


def _model(node: Node) -> str:
    """A model's name as mergekit writes it: ``path@revision+adapter``."""
    if not isinstance(node.value, dict):
        return node.text()
    members = node.members(("model", "lora", "path", "revision", "override_architecture"))
    if "override_architecture" in members:
        raise members["override_architecture"].error(
            "the architecture is the base's; remove the key"
        )
    if "path" in members:
        revision = members.get("revision")
        return members["path"].text() + (f"@{revision.text()}" if revision else "")
    if "model" not in members:
        raise node.error("must name a model")
    adapter = members.get("lora")
    return _model(members["model"]) + (f"+{_model(adapter)}" if adapter else "")


def _layers(node: Node) -> tuple[int, int]:
    numbers = [item.value for item in node.items()]
    whole = all(isinstance(n, int) and not isinstance(n, bool) for n in numbers)
    if len(numbers) != 2 or not whole or not 0 <= numbers[0] < numbers[1]:
        raise node.error(
            "must be the first layer and the one after the last, such as [0, 16]: from 0 upwards, "
            f"and at least one layer; got {numbers}"
        )
    return numbers[0], numbers[1]


def _dtype(node: Node | None) -> str | None:
    if node is None:
        return None
    name = node.text().removeprefix("torch.")
    if name not in DTYPES:
        raise node.error(f"must be one of {', '.join(DTYPES)}, not {node.shown}")
    return name


def _seed(node: Node | None) -> int | None:
    if node is None:
        return None
    if isinstance(node.value, bool) or not isinstance(node.value, int):
        raise node.error(f"must be an integer, not {node.shown}")
    return node.value


def _about_tokenizers(members: Mapping[str, Node]) -> list[str]:
    """Notes on what is said of tokenizers.

    Raises:
        UsageError: it would change the weights of embeddings.
    """
    if "tokenizer_source" in members and "tokenizer" in members:
        raise members["tokenizer"].error("either tokenizer or tokenizer_source, not both")
    notes = []
    for key in _TOKENIZER:
        if key not in members:
            continue
        node = members[key]
        if key == "tokenizer":
            for part, each in node.members(("source", "tokens", "pad_to_multiple_of")).items():
                if part != "source" and each.value:
                    raise each.error(
                        "embeddings are not changed for a tokenizer: remove the key, and resize "
                        "the result with transformers"
                    )
        notes.append(
            f"{node.where}: no effect on weights; all tasks of a bank have the base's vocabulary, "
            "and its tokenizer goes with the result"
        )
    return notes
