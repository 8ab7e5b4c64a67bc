"""Each loss beside the paper's equation, written out in plain Python."""

import math

import pytest
import torch

from tvbank.flexswitch._losses import LOSSES

TEMPERATURE = 4


def softened(logits):
    exponentials = [math.exp(value / TEMPERATURE) for value in logits]
    return [value / sum(exponentials) for value in exponentials]


def kl(student, teacher):
    """T²/B · Σ over examples and classes of q·log(q/p)."""
    total = 0.0
    for x, y in zip(student, teacher, strict=True):
        pairs = zip(softened(x), softened(y), strict=True)
        total += sum(q * math.log(q / p) for p, q in pairs)
    return TEMPERATURE**2 / len(student) * total


def mse(student, teacher):
    """[F] Eq. 10: 1/B · Σ over examples of the squared norm of the difference of logits."""
    total = 0.0
    for x, y in zip(student, teacher, strict=True):
        total += sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    return total / len(student)


def cka(student, teacher):
    """1 - ‖YᵀX‖² / (‖XᵀX‖·‖YᵀY‖), Frobenius norms, X and Y centred over the batch."""

    def columns(rows):
        centred = []
        for column in zip(*rows, strict=True):
            mean = sum(column) / len(column)
            centred.append([value - mean for value in column])
        return centred

    def squared(first, second):
        return sum(
            sum(a * b for a, b in zip(one, two, strict=True)) ** 2
            for one in first
            for two in second
        )

    x, y = columns(student), columns(teacher)
    return 1 - squared(y, x) / math.sqrt(squared(x, x) * squared(y, y))


EQUATIONS = {"kl": kl, "mse": mse, "cka": cka}


def logits(classes, batch=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, classes, generator=generator, dtype=torch.float64) * 3


@pytest.mark.parametrize("loss", EQUATIONS)
@pytest.mark.parametrize("classes", [2, 5, 100])
def test_the_equation(loss, classes):
    student, teacher = logits(classes), logits(classes, seed=1)
    expected = EQUATIONS[loss](student.tolist(), teacher.tolist())
    assert float(LOSSES[loss](student, teacher)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("loss", EQUATIONS)
def test_its_gradient(loss):
    """By central differences of the equation."""
    student, teacher = logits(4), logits(4, seed=1)
    student.requires_grad_()
    LOSSES[loss](student, teacher).backward()
    step = 1e-5
    for row, column in ((0, 0), (2, 3), (5, 1)):
        values = []
        for sign in (1, -1):
            moved = student.detach().clone()
            moved[row, column] += sign * step
            values.append(EQUATIONS[loss](moved.tolist(), teacher.tolist()))
        slope = (values[0] - values[1]) / (2 * step)
        assert float(student.grad[row, column]) == pytest.approx(slope, rel=1e-5, abs=1e-9)


def test_mse_of_one_output():
    assert float(LOSSES["mse"](torch.zeros(3, 1), torch.full((3, 1), 2.0))) == 4.0
