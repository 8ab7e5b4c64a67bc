"""What is noted of a fine-tune besides its weights: its configuration, and the heads it lacks.

A folder of a fine-tune has labels, an architecture, a size of the vocabulary of its own. The
difference from the base's configuration is kept among the task's metadata, so that a folder can be
written of the task (``tvbank/folders``). So are the names of heads that only the base has: where
the fine-tune is of another architecture, the folder leaves them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tvbank.bank.names import check_metadata
from tvbank.checkpoint import CheckpointSource
from tvbank.errors import UsageError
from tvbank.folders import CONFIG, LACKS, config_of, config_patch
from tvbank.vector import FineTune


def note_config(
    metadata: Mapping[str, Any], base: CheckpointSource, tuned: CheckpointSource
) -> dict[str, Any]:
    """A user's metadata, with the configuration's difference under ``config`` if there is one.

    What the user says under that name stays. Where either side has no configuration, or one that
    metadata cannot hold, nothing is noted.

    Args:
        metadata: the user's own.
        base: the base, as it was given: a path, a URL, a module.
        tuned: the fine-tune, likewise.
    """
    given = dict(metadata)
    if CONFIG in given:
        return given
    before = config_of(base)
    after = None if before is None else config_of(tuned)
    if before is not None and after is not None and (patch := config_patch(before, after)):
        with suppress(UsageError):
            return check_metadata({**given, CONFIG: patch})
    return given


def note_heads(metadata: Mapping[str, Any], fine_tune: FineTune) -> dict[str, Any]:
    """Metadata with the heads that a fine-tune lacks under ``lacks``, if it lacks any.

    What the user says under that name stays.
    """
    given = dict(metadata)
    if fine_tune.headless and LACKS not in given:
        with suppress(UsageError):  # there are too many
            return check_metadata({**given, LACKS: list(fine_tune.headless)})
    return given
