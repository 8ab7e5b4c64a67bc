"""How far the logits of two models are apart, without labels: KL, MSE, linear CKA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch

from tvbank.errors import UsageError

#: Softens both distributions of the KL loss, T in the paper.
TEMPERATURE: Final = 4.0

#: Logits of the student and of the teacher, [batch, classes] -> a scalar.
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def kl(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """T²/B · Σ q·log(q/p) at T = 4, q the teacher's probabilities and p the student's."""
    q = (teacher / TEMPERATURE).log_softmax(-1)
    p = (student / TEMPERATURE).log_softmax(-1)
    return (q.exp() * (q - p)).sum(-1).mean() * TEMPERATURE**2


def mse(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """1/B · Σ ‖difference of the logits‖² over the examples: a sum over classes ([F] Eq. 10)."""
    return (student - teacher).square().sum(-1).mean()


def cka(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """1 − linear CKA: ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖) of logits that were centred over the batch."""
    x, y = student - student.mean(0), teacher - teacher.mean(0)
    together = (y.T @ x).square().sum()
    apart = (x.T @ x).square().sum().sqrt() * (y.T @ y).square().sum().sqrt()
    return 1 - together / apart.clamp_min(torch.finfo(apart.dtype).tiny)


LOSSES: Final[dict[str, Loss]] = {"kl": kl, "mse": mse, "cka": cka}


def check_logits(loss: str, teacher: torch.Tensor) -> None:
    """Refuse logits that a loss cannot compare.

    Args:
        loss: its name.
        teacher: logits of all examples, [examples, classes].

    Raises:
        UsageError: NaN or infinity; one class, or no difference between examples, where the loss
            compares just that.
    """
    if not bool(teacher.isfinite().all()):
        raise UsageError(
            "the fine-tuned model gives NaN or infinite logits for the inputs: look for NaN among "
            "the inputs, and check that the forward function fits the model"
        )
    if loss in ("kl", "cka") and teacher.shape[-1] < 2:
        raise UsageError(
            f"loss={loss!r} compares two or more outputs and the model has one: use loss='mse'"
        )
    if loss == "cka" and not bool((teacher != teacher[:1]).any()):
        raise UsageError(
            "loss='cka' compares how outputs vary, and the fine-tuned model gives the same for all "
            "examples: use loss='mse' or 'kl', or other examples"
        )
