"""Hands out the jobs of all tasks, gathers their results, and publishes finished tasks.

At most twice as many jobs are handed out as the workers do at once, and a result goes to the work
folder as soon as it arrives: memory does not grow with the number or the size of tasks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import chain
from typing import final

from tvbank._progress import Progress
from tvbank.bank.chains import with_ancestors
from tvbank.bank.documents import CatalogEntry
from tvbank.bank.placing import mend
from tvbank.bank.publish import publish_task
from tvbank.bank.snapshot import read_root
from tvbank.bank.writer import Prepared, Spool
from tvbank.bank.zarr_documents import MARKER, markers
from tvbank.building._jobs import Failed, Survey, Surveyed, unpack
from tvbank.building._parents import not_built
from tvbank.building._sources import Parent
from tvbank.building._task import BuiltTask, DamagedResultError, Note, WorkFolder
from tvbank.building._workers import Lost, Outcome, Workers
from tvbank.errors import BaseMismatchError, TaskExistsError, TvbankError
from tvbank.layout import Layout
from tvbank.storage import Storage

#: Jobs that are handed out, as a multiple of those that the workers do at once.
_AHEAD = 2


@final
class Director:
    """Builds tasks.

    Attributes:
        built: names of the tasks that were published.
        present: names of those that were there already.
        units: units, and tensors kept whole, that were encoded.
        resumed: those whose results an earlier build had left.
        repaired: objects of tasks that were there already, but damaged, written anew.
        remarks: what the user should know of how some tasks are stored.
    """

    def __init__(
        self,
        storage: Storage,
        layout: Layout,
        existing: Mapping[str, CatalogEntry],
        workers: Workers,
        work: WorkFolder,
        progress: Progress,
    ) -> None:
        self._storage, self._layout, self._existing = storage, layout, existing
        self._workers, self._work, self._progress = workers, work, progress
        self.built: set[str] = set()
        self.present: set[str] = set()
        self.remarks: dict[str, str] = {}
        self.units = self.resumed = self.repaired = 0
        self._known_units = 0
        #: What the bank has, with what this build has published.
        self._entries = dict(existing)
        #: By the name of a parent: the tasks that start from it, until the bank has it.
        self._waiting: dict[str, list[tuple[BuiltTask, str]]] = {}
        self._failed: dict[str, str] = {}
        self._total = 0
        self._fresh: deque[tuple[BuiltTask, str]] = deque()
        self._ready: deque[tuple[BuiltTask, int]] = deque()
        #: By ticket: the task, and the number of its job; None for the survey of its fine-tune.
        self._out: dict[int, tuple[BuiltTask, int | None]] = {}
        self._tickets = 0
        self._publishing: dict[Future[tuple[CatalogEntry, bool]], BuiltTask] = {}

    def run(self, tasks: Collection[tuple[BuiltTask, str]], failed: dict[str, str]) -> None:
        """Build all tasks.

        Args:
            tasks: those to build, whose parents are among them or in the bank; with each, the
                identity that its checkpoint had when the task in the bank was built, or nothing.
            failed: the tasks that cannot be built and why; further ones are added.

        Raises:
            BaseMismatchError: the base has other weights than the bank's.
            StorageError: the work folder's disk, or the scheduler.
        """
        self._failed = failed
        self._total = len(tasks) + len(failed)
        names = {task.plan.name for task, _ in tasks}
        for task, known in tasks:
            if task.parent in names:
                self._waiting.setdefault(task.parent, []).append((task, known))
            else:
                self._start(task, known)
        self._show()
        with ThreadPoolExecutor(1) as publisher:  # meanwhile this thread feeds the workers
            while self._fresh or self._ready or self._out or self._publishing:
                self._hand_out()
                if self._out:
                    ticket, outcome = self._workers.wait()
                    self._end(publisher, *self._out.pop(ticket), outcome)
                elif self._publishing:
                    wait(self._publishing, return_when=FIRST_COMPLETED)
                self._collect()
                self._show()

    def _start(self, task: BuiltTask, known: str) -> None:
        """Have a task surveyed, since the bank has its parent."""
        if task.parent is not None:
            entries = with_ancestors(self._entries, [task.parent])
            task.start_from(Parent(self._storage, entries))
        self._fresh.append((task, known))

    def _succeed(self, task: BuiltTask, names: set[str]) -> None:
        """The bank has a task: note it, and begin those that start from it."""
        names.add(task.plan.name)
        for child, known in self._waiting.pop(task.plan.name, ()):
            self._start(child, known)

    def _hand_out(self) -> None:
        while len(self._out) < _AHEAD * self._workers.slots:
            ticket, self._tickets = self._tickets, self._tickets + 1
            if self._ready:
                task, number = self._ready.popleft()
                self._out[ticket] = task, number
                self._workers.submit(ticket, task.jobs[number])
            elif self._fresh:
                task, known = self._fresh.popleft()
                self._out[ticket] = task, None
                self._workers.submit(ticket, Survey(task.tuned, known))
            else:
                return

    def _end(
        self, publisher: ThreadPoolExecutor, task: BuiltTask, number: int | None, outcome: Outcome
    ) -> None:
        """Take the outcome of a job."""
        if task.plan.name in self._failed:
            return
        if isinstance(outcome, Failed):
            if isinstance(outcome.error, BaseMismatchError):  # true of every task
                raise outcome.error
            self._fail(task, str(outcome.error))
            return
        if isinstance(outcome, Lost):
            what = "its checkpoint" if number is None else task.named(number)
            why = f"{what}: no worker could do it: {outcome.reason}"
            self._fail(task, f"{why}; build again, and only what is missing is done")
            return
        if number is None:
            self._begin(task, outcome)
        else:
            self._work.put(task.key, number, outcome)
            task.missing.discard(number)
            self.units += task.units(number)
        if task.key and not task.missing:
            self._publishing[publisher.submit(self._publish, task)] = task

    def _begin(self, task: BuiltTask, packed: bytes) -> None:
        """Take the survey of a task's fine-tune."""
        survey = unpack(packed, Surveyed)
        if survey is None:
            self._fail(task, "what a worker sent arrived damaged: build again")
        elif not survey.complete:
            self._succeed(task, self.present)
        else:
            if survey.remark:
                self.remarks[task.plan.name] = survey.remark
            task.begin(survey, self._work)
            self._known_units += task.units()
            self.resumed += task.units() - sum(map(task.units, task.missing))
            self._ready.extend((task, number) for number in sorted(task.missing))

    def _fail(self, task: BuiltTask, why: str) -> None:
        self._failed[task.plan.name] = why
        self._ready = deque(ready for ready in self._ready if ready[0] is not task)
        self._fail_children(task.plan.name)

    def _fail_children(self, name: str) -> None:
        for child, _ in self._waiting.pop(name, ()):
            self._fail(child, not_built(name))

    def _publish(self, task: BuiltTask) -> tuple[CatalogEntry, bool]:
        """Publish a task, on the publisher's thread.

        Returns:
            entry: of the catalog.
            new: whether it was not there before.

        Raises:
            TaskExistsError: another task of that name is there, and is not to be replaced.
            StorageError: the store refused.
            DamagedResultError: a job must be done again.
        """
        name = task.plan.name
        with Spool() as spool:
            made = task.assemble(self._layout, self._work, spool)
            revision = made.entry.revision
            if new := not (name in self._existing and self._is_there(name, revision)):
                try:
                    publish_task(self._storage, self._layout, name, made, replace=task.plan.replace)
                except TaskExistsError as error:
                    if not self._is_there(name, revision):  # else another build was faster
                        raise TaskExistsError(
                            f"the bank has a task {name!r} of other content: say `replace = true` "
                            "in the manifest, or choose another name"
                        ) from error
                    new = False
            if not new:
                self.repaired += self._mend(name, made)
        note = Note(key=task.key, identity=task.tuned.identity, revision=revision)
        self._work.remember(name, note)
        return made.entry, new

    def _mend(self, name: str, made: Prepared) -> int:
        """Write anew what is damaged of a revision that is in the bank already; how many objects.

        Raises:
            StorageError: the store refused.
        """
        folder = f"tasks/{name}/{made.entry.revision}"
        objects = ((f"{folder}/{key}", data) for key, data in made.objects)
        documents = [(f"{folder}/zarr.json", made.document)]
        documents += [(key, MARKER) for key in markers("tasks", [name])]
        with self._storage.exclusive():
            return mend(self._storage, chain(objects, documents))

    def _is_there(self, name: str, revision: str) -> bool:
        entry = read_root(self._storage)[0].tasks.get(name)
        return entry is not None and entry.revision == revision

    def _collect(self) -> None:
        """Take what the publisher has finished."""
        for future in [future for future in self._publishing if future.done()]:
            task = self._publishing.pop(future)
            try:
                entry, new = future.result()
                self._entries[task.plan.name] = entry
                self._succeed(task, self.built if new else self.present)
            except DamagedResultError as damaged:
                task.missing.add(damaged.job)
                self._ready.appendleft((task, damaged.job))
            except TvbankError as error:
                self._fail(task, str(error))

    def _show(self) -> None:
        done = len(self.built) + len(self.present) + len(self._failed)
        self._progress.report("tasks", done, self._total, "tasks")
        self._progress.report("units", self.units + self.resumed, self._known_units, "units")


@final
@dataclass(frozen=True)
class BuildReport:
    """How a build ended.

    Attributes:
        location: of the bank.
        built: names of the tasks that were published, in the manifest's order.
        present: names of those that were there already, with the same content.
        failed: why each of the others is not there.
        units: units, and tensors kept whole, that were encoded.
        resumed: those that an earlier, interrupted build had encoded.
        seconds: it took.
        repaired: objects of tasks that were there already, but damaged, written anew.
        remarks: what to know of how some of those tasks are stored, by name.
        parents: what those of them start from that do not start from the base, by name.
    """

    location: str
    built: tuple[str, ...]
    present: tuple[str, ...]
    failed: dict[str, str] = field(default_factory=dict)
    units: int = 0
    resumed: int = 0
    seconds: float = 0.0
    repaired: int = 0
    remarks: dict[str, str] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
