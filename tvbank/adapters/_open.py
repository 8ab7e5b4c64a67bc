"""Recognise an adapter and open it: its configuration, and its tensors by module and part."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, final

from numpy.typing import NDArray

from tvbank.adapters._config import (
    CONFIG,
    MAX_CONFIG_BYTES,
    AdapterConfig,
    check_config,
    parse_config,
    read_config,
)
from tvbank.adapters._files import LORA_FILE, configurations, model_of, split_part, style_of
from tvbank.adapters._gguf import GgufFactors, is_gguf_adapter
from tvbank.checkpoint import (
    Checkpoint,
    TensorSpec,
    identify_checkpoint,
    open_checkpoint,
    place_of,
)
from tvbank.errors import CheckpointError, StorageError, UsageError
from tvbank.storage import ObjectNotFoundError, open_storage, refuse_credentials, split_url

#: Names of the file with an adapter's weights, as PEFT writes it.
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")

_PREFIX = "base_model.model."

#: The parts of a module's change, as they follow its name; an adapter's name may stand in them.
_PART = re.compile(
    r"\.(lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector|ia3_l|vera_lambda_b"
    r"|vera_lambda_d|oft_R|hada_w1_a|hada_w1_b|hada_w2_a|hada_w2_b|hada_t1|hada_t2|lokr_w1|lokr_w2"
    r"|lokr_w1_a|lokr_w1_b|lokr_w2_a|lokr_w2_b|lokr_t2|shira_weight|shira_indices|token_adapter)((?:\.[A-Za-z0-9_-]+)*)\Z"
)

#: What stands around a module that is saved whole.
_WRAPPED = re.compile(r"\.(modules_to_save|ln_tuning_layers)(\.default)?(?=\.)")

#: Stands in the name of the base's weights of such a module.
_ORIGINAL = ".original_module."

_SHARED = ("base_model.vera_A", "base_model.vera_B")


@final
class Adapter:
    """An adapter in files. A context manager.

    Attributes:
        source: its folder or file, for messages.
        config: what it says of itself.
        modules: the names of its tensors, by module and part (``lora_A``, ``lora_B.bias``…).
        whole: names of its tensors that stand instead of one of the base, by that one's name.
        shared: those that belong to no module, by name.
        alphas: of modules whose file says it beside their factors.
        style: the tool that writes files so, such as ``peft``.
        remarks: what the user should know of how it was read.
        projections: VeRA's two matrices, once they are known.
        gguf: the base's architecture, if names and rows are those of llama.cpp; else empty.
    """

    def __init__(self, source: str, config: AdapterConfig, weights: Checkpoint) -> None:
        self.source, self.config, self._weights = source, config, weights
        self.modules: dict[str, dict[str, str]] = {}
        self.whole: dict[str, str] = {}
        self.shared: dict[str, str] = {}
        self.alphas: dict[str, float] = {}
        self.remarks: tuple[str, ...] = ()
        self.projections: tuple[NDArray[Any], NDArray[Any]] | None = None
        self.gguf = ""
        self.style = style_of(weights) if config.body.get("files") else "peft"
        for tensor in (*weights.tensors, *weights.tied):
            if self.style == "peft":
                self._sort(tensor)
            else:
                self._sort_file(tensor)

    def _sort_file(self, tensor: str) -> None:
        """Of a file without a configuration, where everything must be known."""
        module, part = split_part(self.source, tensor)
        if part == "alpha":
            self.alphas[module] = float(self.read(tensor).reshape(-1)[0])
            return
        self.modules.setdefault(module, {})[part] = tensor

    def scale(self, module: str, rank: int) -> float:
        """What the product of a module's factors is multiplied by; see ``AdapterConfig.scale``."""
        if module in self.alphas:
            return self.alphas[module] / rank
        return self.config.scale(module, rank)

    def _sort(self, tensor: str) -> None:
        if tensor.startswith(_SHARED):
            self.shared[tensor.removeprefix("base_model.").partition(".")[0]] = tensor
            return
        name = tensor.removeprefix(_PREFIX)
        match = _PART.search(name)
        if match is None:
            self._keep(name, tensor)
            return
        part, rest = match[1], match[2].split(".")[1:]
        if part == "token_adapter":
            part = rest[0] if rest else part
        elif rest[-1:] == ["bias"]:
            part += ".bias"
        module = self.modules.setdefault(name[: match.start()], {})
        if part in module:
            raise CheckpointError(
                f"{self.source} has {part} of {name[: match.start()]!r} twice: it holds several "
                "adapters; save each by itself"
            )
        module[part] = tensor

    def _keep(self, name: str, tensor: str) -> None:
        """Of a module that was saved whole, PEFT may write the base's own weights, too."""
        if _ORIGINAL in name:
            return
        plain = _WRAPPED.sub("", name)
        if plain != name or plain not in self.whole:
            self.whole[plain] = tensor

    def rename(self, names: Mapping[str, str]) -> None:
        """Keep the modules that are named, which are of one model, under other names."""
        if left := len(self.modules) - len(names):
            self.remarks = (f"{left} modules of the adapter are of other models, and left out",)
        model = model_of(next(iter(names), ""))
        said = {
            k.removeprefix(model): v for k, v in self.config.body.items() if k.startswith(model)
        }
        if model and said:
            self.config = check_config(self.source, said | {"peft_type": "LORA"})
        self.modules = {new: self.modules[old] for old, new in names.items()}
        self.alphas = {new: self.alphas[old] for old, new in names.items() if old in self.alphas}

    def spec(self, tensor: str) -> TensorSpec:
        """Element type and shape of a tensor, by its name in the file."""
        return self._weights.tensors[self._weights.tied.get(tensor, tensor)]

    def read(self, tensor: str) -> NDArray[Any]:
        """A tensor, by its name in the file."""
        return self._weights.read(tensor)

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return sum(spec.nbytes for spec in self._weights.tensors.values())

    def said_base(self) -> str:
        """Which base it says it is for, as the end of a message; empty if it does not say."""
        return f" (it says that its base is {self.config.base!r})" if self.config.base else ""

    def identity(self) -> str:
        """A digest that changes when its files are written anew.

        Raises:
            CheckpointError, StorageError: they cannot be looked at.
        """
        said = json.dumps(self.config.body, sort_keys=True)
        facts = [said, identify_checkpoint(self._weights.source)]
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def refuse_beside(self, **options: object) -> None:
        """Refuse options of other fine-tunes.

        Raises:
            UsageError: names those that were given.
        """
        if beside := [option for option, value in options.items() if value]:
            raise UsageError(
                f"{self.source} is an adapter, which says itself what it changes: "
                f"{', '.join(beside)} is for other fine-tunes"
            )

    def close(self) -> None:
        """Release its files."""
        self._weights.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def open_adapter(source: object) -> Adapter | None:
    """Open an adapter; ``None`` if something else is there.

    Args:
        source: the path of a folder with an ``adapter_config.json``, or of the file
            ``adapter_model.safetensors`` or ``adapter_model.bin`` beside one; or of a safetensors
            file of LoRA's factors as diffusers or kohya's scripts write it, or its folder; or of
            LoRA in GGUF; or the URL of any of these, the weights as safetensors.

    Raises:
        CheckpointError: an adapter that is damaged, or of a kind that is no change of weights.
    """
    if not isinstance(source, str | os.PathLike):
        return None
    place = place_of(source)
    if isinstance(place, str):
        return _open_url(place)
    path = place
    try:
        folder = path if (path / CONFIG).is_file() else path.parent
        named = path.name in _WEIGHTS and path.is_file()
    except (OSError, ValueError):
        return None
    if not named:
        if folder != path:
            return _open_file(path)
        found = [path / name for name in _WEIGHTS if (path / name).is_file()]
        if not found:
            if any(path.glob("*.safetensors")) or any(path.glob("*.bin")):
                return None  # a whole model that was saved into the folder of an adapter
            raise CheckpointError(f"{path} has an {CONFIG} and no {' or '.join(_WEIGHTS)}")
        path = found[0]
    config = read_config(folder / CONFIG)
    return Adapter(os.fspath(source), config, open_checkpoint(path))


def is_alone(source: str) -> bool:
    """Whether a source is the URL of one safetensors file that nothing beside it explains."""
    place = place_of(source)
    if not isinstance(place, str):
        return False
    name = split_url(place.rstrip("/"))[1]
    return name != _WEIGHTS[0] and name.lower().endswith(".safetensors")


def _open_url(url: str) -> Adapter | None:
    """PEFT's folder, or its file of weights, in a store."""
    place = refuse_credentials(url).rstrip("/")
    folder, name = split_url(place)
    if name != _WEIGHTS[0]:
        if name.lower().endswith(".safetensors"):
            return _open_url_file(folder, name)
        if name.lower().endswith((".json", ".bin", ".pt", ".gguf")):
            return None
        folder = place
    try:
        storage = open_storage(folder)
        try:
            text = storage.get(CONFIG, MAX_CONFIG_BYTES)
        except ObjectNotFoundError:
            storage.identify(LORA_FILE)
            return _open_url_file(folder, LORA_FILE)
    except (ObjectNotFoundError, StorageError, UsageError):
        return None  # opening it as a checkpoint says what is wrong
    config = parse_config(f"{folder}/{CONFIG}", text)
    return Adapter(place, config, open_checkpoint(f"{folder}/{_WEIGHTS[0]}"))


def _open_url_file(folder: str, name: str) -> Adapter | None:
    """A safetensors file of factors in a store."""
    url = f"{folder}/{name}"
    try:
        storage, weights = open_storage(folder), open_checkpoint(url)
    except (CheckpointError, StorageError, UsageError):
        return None  # opening it as a checkpoint says what is wrong
    read = lambda start, stop: storage.get_ranges(name, [(start, stop)])[0]  # noqa: E731
    return _of_factors(url, weights, read)


def _of_factors(
    source: str, weights: Checkpoint, read: Callable[[int, int], bytes]
) -> Adapter | None:
    """The adapter of a file without a configuration, if its names are such a file's."""
    if not style_of(weights):
        weights.close()
        return None
    body = configurations(source, read) | {"peft_type": "LORA", "files": True}
    return Adapter(source, AdapterConfig(source, body, "LORA"), weights)


def _open_file(path: Path) -> Adapter | None:
    """A file of factors, without a configuration: safetensors, or GGUF."""
    if path.is_dir():
        path = path / LORA_FILE
    if path.is_file() and is_gguf_adapter(path):
        factors = GgufFactors(path)
        said = {"peft_type": "LORA", "lora_alpha": factors.alpha}
        adapter = Adapter(os.fspath(path), AdapterConfig(os.fspath(path), said, "LORA"), factors)
        adapter.gguf = factors.architecture
        return adapter
    if not path.is_file() or path.suffix.lower() != ".safetensors":
        return None
    try:
        weights = open_checkpoint(path)
    except CheckpointError:
        return None  # opening it as a checkpoint says what is wrong
    with path.open("rb") as file:

        def read(start: int, stop: int) -> bytes:
            file.seek(start)
            return file.read(stop - start)

        return _of_factors(os.fspath(path), weights, read)


def read_parts(adapter: Adapter, module: str) -> Mapping[str, NDArray[Any]]:
    """All tensors of a module, by part."""
    return {part: adapter.read(tensor) for part, tensor in adapter.modules[module].items()}
