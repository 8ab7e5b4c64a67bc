"""Read checkpoints of every common kind tensor by tensor; write safetensors files as a stream.

======================= ========================================================================
``open_checkpoint``     path, URL, state dict or module -> ``Checkpoint``
``borrow_checkpoint``   the same for a ``with`` block; a ``Checkpoint`` given stays open
``CheckpointSource``    the type of what these two take
``checkpoint_file``     the file or index at a path, which may be its folder's
``read_weight_map``     which tensor lies in which shard, as an index says
``read_texts``          the free texts in a safetensors file's header
``identify_checkpoint`` a digest that changes when a checkpoint's files are written anew
``Checkpoint``          the interface: ``.tensors``, ``.tied``, ``.read(name)``
``TensorSpec``          name, element type and shape of one tensor
``refuse_replacing``    keep an output from replacing a checkpoint that is read for it
``checkpoint_files``    the files of this machine that a checkpoint is read from
``place_of``            the path or URL of a checkpoint, from what a user gave
``is_one_of``           whether a path leads to one of some files
``checkpoint_in``       which file of a folder is its checkpoint
``file_facts``          size and time of change of files
``load_torch_file``     what ``torch.save`` wrote, whatever it is; nothing is executed
``state_dict_in``       the checkpoint in what was so loaded
``objection_to_pickle`` why unpickling would take out of proportion
``GgufCheckpoint``      a GGUF file, unquantised; ``GgufFile``: the header of any
``is_tie``              whether libraries tie tensors of a name; ``is_constant_array``
``StateDictCheckpoint`` tensors in memory, under a name of one's own
``write_safetensors``   write a file completely or not at all
``aligned_order``       the order of tensors that keeps a file's tensors aligned
``plan_shards``         which tensors go into which file of a sharded checkpoint: ``Shards``
======================= ========================================================================

``_checkpoint`` is the interface, ``_open`` finds out which kind a source is. Each kind that is read
has a file: ``_safetensors_file``, ``_sharded_folder`` (an index and its shards), ``_torch_file``,
``_state_dict`` (modules too), ``_gguf_file`` and ``_url`` (safetensors, by range). ``_files`` finds
a folder's checkpoint, and says why a file cannot be read. Before torch unpickles a file,
``_pickle_bounds`` and ``_zip_directory`` see that it can end; ``_numpy_beside`` leaves out what is
no weight, and ``_ties`` finds what two pickles hold once each.
``_write_safetensors`` writes a file, ``_write_shards`` several; ``_outputs`` says where not to.
Nothing read here is executed, and torch is imported only for files that torch wrote.
"""

from __future__ import annotations

from tvbank.checkpoint._checkpoint import Checkpoint as Checkpoint
from tvbank.checkpoint._checkpoint import TensorSpec as TensorSpec
from tvbank.checkpoint._files import checkpoint_in as checkpoint_in
from tvbank.checkpoint._files import regular_file_size as regular_file_size
from tvbank.checkpoint._files import unreadable as unreadable
from tvbank.checkpoint._gguf_file import GgufCheckpoint as GgufCheckpoint
from tvbank.checkpoint._gguf_file import GgufFile as GgufFile
from tvbank.checkpoint._open import CheckpointSource as CheckpointSource
from tvbank.checkpoint._open import borrow_checkpoint as borrow_checkpoint
from tvbank.checkpoint._open import checkpoint_file as checkpoint_file
from tvbank.checkpoint._open import checkpoint_files as checkpoint_files
from tvbank.checkpoint._open import file_facts as file_facts
from tvbank.checkpoint._open import identify_checkpoint as identify_checkpoint
from tvbank.checkpoint._open import open_checkpoint as open_checkpoint
from tvbank.checkpoint._open import place_of as place_of
from tvbank.checkpoint._outputs import is_one_of as is_one_of
from tvbank.checkpoint._outputs import refuse_replacing as refuse_replacing
from tvbank.checkpoint._pickle_bounds import objection_to as objection_to_pickle
from tvbank.checkpoint._safetensors_file import read_texts as read_texts
from tvbank.checkpoint._sharded_folder import parse_index as parse_index
from tvbank.checkpoint._sharded_folder import read_weight_map as read_weight_map
from tvbank.checkpoint._state_dict import StateDictCheckpoint as StateDictCheckpoint
from tvbank.checkpoint._state_dict import is_torch_tensor as is_torch_tensor
from tvbank.checkpoint._ties import is_constant_array as is_constant_array
from tvbank.checkpoint._ties import is_tie as is_tie
from tvbank.checkpoint._torch_file import load_torch_file as load_torch_file
from tvbank.checkpoint._torch_file import state_dict_in as state_dict_in
from tvbank.checkpoint._write_safetensors import aligned_order as aligned_order
from tvbank.checkpoint._write_safetensors import write_safetensors as write_safetensors
from tvbank.checkpoint._write_shards import Shards as Shards
from tvbank.checkpoint._write_shards import plan_shards as plan_shards

__all__ = [
    "Checkpoint",
    "CheckpointSource",
    "GgufCheckpoint",
    "GgufFile",
    "Shards",
    "StateDictCheckpoint",
    "TensorSpec",
    "aligned_order",
    "borrow_checkpoint",
    "checkpoint_file",
    "checkpoint_files",
    "checkpoint_in",
    "file_facts",
    "identify_checkpoint",
    "is_constant_array",
    "is_one_of",
    "is_tie",
    "is_torch_tensor",
    "load_torch_file",
    "objection_to_pickle",
    "open_checkpoint",
    "parse_index",
    "place_of",
    "plan_shards",
    "read_texts",
    "read_weight_map",
    "refuse_replacing",
    "regular_file_size",
    "state_dict_in",
    "unreadable",
    "write_safetensors",
]
