"""How far the logits of two models are apart, without labels: KL, MSE, linear CKA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

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

#: Logits that are compared at a time: vocabularies are large, and KL makes several copies.
_PART: Final = 2**24


def compare(loss: str, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """A loss of logits [rows, classes], in float32, in little memory beside them.

    KL and MSE are means over rows, which are compared some at a time where there are many.

    Args:
        loss: its name.
        student: logits, in any float type.
        teacher: logits, float32.
    """
    if loss == "cka" or student.numel() <= _PART:
        return LOSSES[loss](student.float(), teacher)
    mean: torch.Tensor = _InParts.apply(student, teacher, LOSSES[loss])  # type: ignore[no-untyped-call]
    return mean


class _InParts(torch.autograd.Function):
    """A loss that is a mean over rows; its gradient is made part by part with the loss itself."""

    @staticmethod
    def forward(ctx: Any, student: torch.Tensor, teacher: torch.Tensor, loss: Loss) -> torch.Tensor:
        rows = max(1, _PART // student.shape[-1])
        gradient = torch.empty_like(student)
        total = torch.zeros((), dtype=torch.float64, device=student.device)
        for start in range(0, len(student), rows):
            part = slice(start, start + rows)
            given = student[part].detach().float().requires_grad_()
            with torch.enable_grad():
                value = loss(given, teacher[part]) * (len(given) / len(student))
            (gradient[part],) = torch.autograd.grad(value, given)
            total += value.detach()
        ctx.save_for_backward(gradient)
        return total.float()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0], None, None


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
