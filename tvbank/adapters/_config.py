"""What ``adapter_config.json`` says: the kind of an adapter, and the scale of each module."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from tvbank._json import parse_json
from tvbank.errors import CheckpointError

#: Name of the file, in the folder of an adapter.
CONFIG = "adapter_config.json"

#: Kinds that change weights in a way that is known here.
KINDS = ("LORA", "IA3", "VERA", "OFT", "LOHA", "LOKR", "LN_TUNING", "SHIRA")

#: What it may have in bytes.
MAX_CONFIG_BYTES = 2**20
_LONGEST_PATTERN, _MOST_REPEATS = 512, 2

#: Options of LoRA under which an adapter is more than a change of weights, or other than its
#: tensors say; and what to do.
_REFUSED = {
    "alora_invocation_tokens": "it acts on some tokens only (aLoRA), which is no change of weights",
    "layer_replication": "it repeats layers of the base: expand the base first",
    "use_qalora": "it is trained on pooled inputs (QA-LoRA): merge it with PEFT, add the result",
    "arrow_config": "it chooses among adapters for each token (Arrow): add each adapter by itself",
    "velora_config": "it is of a kind that is not known here: merge it with PEFT, add the result",
    "target_parameters": "it changes parameters of fused modules (target_parameters): merge it "
    "with PEFT, add the result",
}

#: Initialisations that change the base, too, so that the adapter alone says too little.
_CHANGES_BASE = re.compile(r"pissa|olora|corda|loftq|eva_with|lora_ga", re.IGNORECASE)


@final
@dataclass(frozen=True)
class AdapterConfig:
    """A configuration, checked as far as it is used.

    Attributes:
        source: the file, for messages.
        body: all that it says.
        kind: one of ``KINDS``.
    """

    source: str
    body: Mapping[str, Any]
    kind: str

    @property
    def base(self) -> str:
        """The base that it says it was trained on; empty if it does not say."""
        name = self.body.get("base_model_name_or_path")
        return name if isinstance(name, str) else ""

    def flag(self, name: str) -> bool:
        """An option that is on or off; off if it is not there."""
        return self.body.get(name) is True

    def scale(self, module: str, rank: int) -> float:
        """What the product of a module's factors is multiplied by.

        Raises:
            CheckpointError: alpha is no number, or a pattern is not one.
        """
        default = self.body.get("lora_alpha", self.body.get("alpha", rank))
        alpha = self._of_pattern("alpha_pattern", module, default)
        if (
            isinstance(alpha, bool)
            or not isinstance(alpha, int | float)
            or not math.isfinite(alpha)
        ):
            raise CheckpointError(f"{self.source}: alpha of {module!r} is {alpha!r}, no number")
        return float(alpha) / (math.sqrt(rank) if self.flag("use_rslora") else rank)

    def rank(self, module: str) -> int:
        """The rank that it was trained with, where no tensor says it.

        Raises:
            CheckpointError: it is no positive integer.
        """
        rank = self._of_pattern("rank_pattern", module, self.body.get("r"))
        if type(rank) is not int or rank < 1:
            raise CheckpointError(f"{self.source}: the rank of {module!r} is {rank!r}")
        return rank

    def names(self, member: str, module: str) -> bool:
        """Whether an option that lists modules, or has a pattern of their names, names one."""
        listed = self.body.get(member)
        if isinstance(listed, str):
            return _matches(self.source, listed, module)
        return isinstance(listed, list) and any(
            isinstance(each, str) and f".{module}".endswith(f".{each}") for each in listed
        )

    def _of_pattern(self, member: str, module: str, default: Any) -> Any:
        """The value of the first pattern that matches the end of a module's name, as PEFT does."""
        patterns = self.body.get(member) or {}
        if not isinstance(patterns, dict):
            raise CheckpointError(f"{self.source}: {member} is no object")
        for pattern, value in patterns.items():
            if _matches(self.source, pattern, module):
                return value
        return default


def _matches(source: str, pattern: str, module: str) -> bool:
    """Whether a module's name ends as a pattern says; one that could take for ever is refused."""
    repeats = len(re.findall(r"[*+{]", pattern))
    if (
        len(pattern) > _LONGEST_PATTERN
        or repeats > _MOST_REPEATS
        or re.search(r"\)[*+{?]", pattern)
    ):
        raise CheckpointError(
            f"{source}: the pattern {pattern!r:.60} repeats too much to be matched safely: name "
            "the modules instead"
        )
    try:
        return re.match(rf"(.*\.)?({pattern})$", module) is not None
    except (re.error, RecursionError) as error:
        raise CheckpointError(f"{source}: {pattern!r:.60} is no pattern: {error}") from error


def read_config(path: Path) -> AdapterConfig:
    """Read and check a configuration.

    Raises:
        CheckpointError: it is missing or no JSON, or of a kind that is no change of weights.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise CheckpointError(
            f"{path}: {error.strerror or error}; an adapter needs its {CONFIG} beside its weights"
        ) from error
    return parse_config(str(path), text)


def parse_config(source: str, text: bytes) -> AdapterConfig:
    """As ``read_config``, of a file's content.

    Raises:
        CheckpointError: as ``read_config``.
    """
    try:
        body = parse_json(text) if len(text) <= MAX_CONFIG_BYTES else None
    except ValueError as error:
        raise CheckpointError(f"{source} is no configuration of an adapter: {error}") from error
    return check_config(source, body)


def check_config(source: str, body: Any) -> AdapterConfig:
    """As ``read_config``, of what a file says.

    Raises:
        CheckpointError: as ``read_config``.
    """
    kind = body.get("peft_type") if isinstance(body, dict) else None
    if not isinstance(kind, str):
        raise CheckpointError(f"{source} is no configuration of an adapter: it has no peft_type")
    if kind.upper() not in KINDS:
        raise CheckpointError(
            f"{source}: an adapter of kind {kind} cannot be added: tvbank knows "
            f"{', '.join(KINDS)}; merge it into the model (merge_and_unload), if that can be, and "
            "add the model"
        )
    for option, why in _REFUSED.items():
        if body.get(option):
            raise CheckpointError(f"{source}: {why}")
    begun = body.get("init_lora_weights")
    if isinstance(begun, str) and _CHANGES_BASE.search(begun):
        raise CheckpointError(
            f"{source}: the adapter was begun by {begun!r}, which changes the base's weights, too: "
            "save it with path_initial_model_for_weight_conversion, which makes a plain one of it"
        )
    return AdapterConfig(source, body, kind.upper())


def dump_config(body: Mapping[str, Any]) -> bytes:
    """The file, as PEFT writes it."""
    return json.dumps(body, indent=2, sort_keys=True).encode()
