"""Text: all-MiniLM-L6-v2, a BERT of 6 layers of width 384; 22.6 M parameters in 101 tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from numpy.typing import NDArray

from tools.bench.realtasks._family import Family, Inputs

PAD = 0


@final
@dataclass(frozen=True)
class MiniLM(Family):
    """Token ids [n, length], padded with 0 -> mean of the last states over real tokens [n, 384]."""

    name: ClassVar[str] = "minilm"

    @staticmethod
    def architecture() -> torch.nn.Module:
        from transformers import BertConfig, BertModel

        config = BertConfig(
            vocab_size=30522,
            hidden_size=384,
            num_hidden_layers=6,
            num_attention_heads=12,
            intermediate_size=1536,
        )
        model: torch.nn.Module = BertModel(config, add_pooling_layer=False)
        return model

    @staticmethod
    def inputs(x: NDArray[Any]) -> Inputs:
        """``input_ids`` and ``attention_mask``, int64 [n, longest], without common padding."""
        ids = torch.from_numpy(x).long()
        mask = (ids != PAD).long()
        longest = int(mask.sum(1).max()) if len(ids) else 1
        return {"input_ids": ids[:, :longest], "attention_mask": mask[:, :longest]}

    @staticmethod
    def pooled(model: torch.nn.Module, inputs: Inputs) -> torch.Tensor:
        assert isinstance(inputs, dict)
        states: torch.Tensor = model(**inputs).last_hidden_state
        real = inputs["attention_mask"][..., None].to(states.dtype)
        return (states * real).sum(1) / real.sum(1)
