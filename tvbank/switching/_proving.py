"""Whether a model has the weights that an exact task was made of, by the digests it records."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tvbank.bank.bank import Bank
from tvbank.bank.proved import refuse_other_state, state_after
from tvbank.bank.task import Task
from tvbank.errors import UsageError
from tvbank.switching._change import Request
from tvbank.switching._model import AttachedModel
from tvbank.switching._threads import thread_count


def provable(request: Request, bank: Bank) -> Task:
    """The one task of a request, if it records digests of its weights.

    Raises:
        UsageError: a weighted sum, or a task that is not exact or records no digests.
    """
    if len(request.tasks) != 1 or request.tasks[0][1] is not None:
        raise UsageError(
            "only one task as it is can be proved, not a weighted sum: leave out prove"
        )
    task = bank[request.tasks[0][0]]
    if task.element != "int32" or task.document.state is None:
        raise UsageError(
            f"task {task.name!r} records no digests of its weights: only exact tasks do, if they "
            "were added since tvbank does so; leave out prove"
        )
    return task


def prove(model: AttachedModel, task: Task) -> None:
    """Compare every unit that a model has, and that an exact task changes, with its digest.

    Raises:
        CorruptionError: ``state``; names task and unit.
    """

    def compare(one: tuple[str, str]) -> None:
        unit, sha256 = one
        for target in model.homes(unit):
            refuse_other_state(task.name, unit, target.weights(), sha256)

    with ThreadPoolExecutor(thread_count()) as pool:  # hashing releases the GIL
        list(pool.map(compare, state_after(task.lineage).items()))
