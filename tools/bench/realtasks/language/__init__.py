"""Fine-tunes of a language model, Gemma 3 270M, out of public packages.

    python -m tools.bench realtasks build --out FOLDER --family gemma [--words 16384] [--steps 20]

===============  =====================================================================
``passages.py``  what the tasks teach: code, languages, definitions, sorting as text
``base.py``      the model and its tokenizer out of a package, with fewer words if wanted
``folder.py``    ``Language`` and ``TextTask``: what a folder holds; losses and exact matches
``training.py``  whole fine-tunes and LoRA adapters, a learning rate each
``recipe.py``    the folder, step by step; what is there is kept
===============  =====================================================================

Layout of a folder::

    FOLDER/gemma/base.safetensors, config.json       bfloat16
    FOLDER/gemma/tokenizer/                          of transformers
    FOLDER/gemma/words.npy                           int64 [words], the tokens that the model knows
    FOLDER/gemma/<task>/data.npz                     x_<split>, counts_<split>
    FOLDER/gemma/<task>/<run>/whole-<rate>/          tuned.safetensors, validation.json
    FOLDER/gemma/<task>/<run>/lora-<rank>-<rate>/    an adapter of PEFT's, validation.json

where x are tokens, int32 [n, tokens], and counts says which of them are to be learned, bool;
splits are train, validation and test; and a run says how long: ``20x4x64`` is 20 steps of 4
examples of 64 tokens. Gemma has terms of its own: download it, publish nothing of it.
"""

from __future__ import annotations

from tools.bench.realtasks.language.folder import Language as Language
from tools.bench.realtasks.language.folder import TextTask as TextTask
from tools.bench.realtasks.language.folder import load as load
from tools.bench.realtasks.language.passages import LANGUAGE_TASKS as LANGUAGE_TASKS
from tools.bench.realtasks.language.recipe import build as build
from tools.bench.realtasks.language.training import Run as Run

__all__ = ["LANGUAGE_TASKS", "Language", "Run", "TextTask", "build", "load"]
