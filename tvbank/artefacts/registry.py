"""Every format of artefacts: to support another, write its file and name it here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tvbank.artefacts._artefact import Artefact
from tvbank.artefacts._contents import Contents
from tvbank.artefacts.adapters import AdapterFiles
from tvbank.artefacts.bitdelta import BitDelta
from tvbank.artefacts.deltazip import DeltaZip
from tvbank.artefacts.hf_delta import HfDelta
from tvbank.artefacts.masks import Emr, TallMasks
from tvbank.artefacts.research import ResearchDict
from tvbank.artefacts.sparse import SparseUpdate
from tvbank.artefacts.tswitch import TSwitchFiles
from tvbank.artefacts.wdelta import Wdelta

Recognise: TypeAlias = Callable[[Contents], Artefact | None]

#: Each says whether a file or folder is its; the first that does has it.
FORMATS: tuple[Recognise, ...] = (
    Wdelta.recognise,
    AdapterFiles.recognise,
    HfDelta.recognise,
    SparseUpdate.recognise,
    DeltaZip.recognise,
    TSwitchFiles.recognise,
    BitDelta.recognise,
    Emr.recognise,
    TallMasks.recognise,
    ResearchDict.recognise,
)
