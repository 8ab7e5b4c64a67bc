"""A folder's shards replaced as one: new ones beside the old, then one rename of the index.

A reader that opens the index meanwhile, or after a kill, finds the old state or the new one, whole.
What is left over then is named in a journal, and removed when the folder is next patched.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import final

from tvbank._atomic import remove_leftovers, replace_file, sync_folder
from tvbank.checkpoint import aligned_order, read_texts, read_weight_map, write_safetensors
from tvbank.updates._outputs import Output, State, by_shard, new_index

#: Of a folder that is being patched, or whose patching was interrupted.
JOURNAL = ".tvbank-patch.json"

#: The end of a shard's name by which its state is told from the one before.
_TAG = re.compile(r"\.v[0-9a-f]{8}\Z")


@final
class InPlaceFolder(Output):
    """The folder of an index; shards in which nothing has changed stay as they are."""

    def __init__(self, index: Path) -> None:
        """Prepare, and tidy up after a patch that was interrupted."""
        self._index, self._folder = index, index.parent
        tidy(index)

    def write(self, state: State) -> Path:
        """See ``Output.write``; shards that change get new names."""
        placed = read_weight_map(self._index)
        shards = by_shard(state.specs, placed, "")
        gone = set(placed) - {spec.name for spec in state.specs}
        renamed = {
            file: _tagged(file, state.tag)
            for file, specs in shards.items()
            if any(state.changed(spec.name) for spec in specs)
            or any(placed[name] == file for name in gone)
        }
        index = new_index(self._index, {renamed.get(f, f): specs for f, specs in shards.items()})
        journal = {"index": _digest(index), "old": [*renamed], "new": [*renamed.values()]}
        replace_file(self._folder / JOURNAL, json.dumps(journal).encode())
        try:
            for file, specs in shards.items():
                ordered = aligned_order(specs)
                if file not in renamed:
                    for _ in state.make(ordered):  # so that they are proved, too
                        pass
                    continue
                texts = read_texts(self._folder / file)
                new = self._folder / renamed[file]
                write_safetensors(new, ordered, state.make(ordered), texts)
            state.prove()
            replace_file(self._index, index, sweep=True)
        finally:
            tidy(self._index)
        return self._folder


def _tagged(file: str, tag: str) -> str:
    """A shard's name with the tag of a state in place of an earlier one."""
    path = Path(file)
    return str(path.with_name(f"{_TAG.sub('', path.stem)}.v{tag}{path.suffix}"))


def _digest(index: bytes) -> str:
    return hashlib.sha256(index).hexdigest()


def tidy(index: Path) -> None:
    """Remove what a patch left that was interrupted: its new shards, or the old ones.

    Nothing is removed that the index names, nor that is no shard beside it.
    """
    journal = index.parent / JOURNAL
    remove_leftovers(index.parent)
    try:
        content = json.loads(journal.read_bytes())
        left = content["old" if content["index"] == _digest(index.read_bytes()) else "new"]
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError):  # not ours, or not whole
        left = []
    named = set(read_weight_map(index).values())
    _remove(index.parent, (file for file in left if isinstance(file, str) and file not in named))
    with suppress(OSError):
        journal.unlink()
        sync_folder(index.parent)


def _remove(folder: Path, files: Iterable[str]) -> None:
    for file in files:
        if file.endswith(".safetensors") and Path(file).name == file:
            with suppress(OSError):
                (folder / file).unlink()
