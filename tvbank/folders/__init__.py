"""Model folders: what ``from_pretrained`` loads, made from a base's folder and new weights.

===============  =====================================================================
``_beside.py``   ``beside``: the small files that lie beside a base's weights; ``config_of``
``_config.py``   what of a configuration a fine-tune changes, told or seen in shapes
``_card.py``     the card: ``README.md`` with the base and how the weights were made
``_folder.py``   ``ModelFolder``: where to, in files of which size; writes it whole
===============  =====================================================================
"""

from __future__ import annotations

from tvbank.folders._beside import Beside as Beside
from tvbank.folders._beside import beside as beside
from tvbank.folders._beside import config_of as config_of
from tvbank.folders._beside import hub_name as hub_name
from tvbank.folders._card import Origin as Origin
from tvbank.folders._card import describe as describe
from tvbank.folders._card import front_matter as front_matter
from tvbank.folders._card import inline as inline
from tvbank.folders._config import CONFIG as CONFIG
from tvbank.folders._config import LACKS as LACKS
from tvbank.folders._config import config_patch as config_patch
from tvbank.folders._config import is_head as is_head
from tvbank.folders._config import labels as labels
from tvbank.folders._config import members_of_rows as members_of_rows
from tvbank.folders._folder import MAX_SHARD_SIZE as MAX_SHARD_SIZE
from tvbank.folders._folder import ModelFolder as ModelFolder
from tvbank.folders._folder import folder_named as folder_named
from tvbank.folders._folder import parse_bytes as parse_bytes

__all__ = [
    "CONFIG",
    "LACKS",
    "MAX_SHARD_SIZE",
    "Beside",
    "ModelFolder",
    "Origin",
    "beside",
    "config_of",
    "config_patch",
    "describe",
    "folder_named",
    "front_matter",
    "hub_name",
    "inline",
    "is_head",
    "labels",
    "members_of_rows",
    "parse_bytes",
]
