"""One protocol for progress: what is given to it, and the bar that shows it."""

import io

from rich.console import Console
from watching import Seen

from tvbank._progress import SILENT, Bar, Counter, listener


def test_a_function_is_called_with_what_is_counted_in_its_unit():
    seen = []
    progress = listener(lambda done, total: seen.append((done, total)))
    progress.report("choosing", 1, 2, "units")
    progress.report("", 3, 4)
    assert seen == [(3, 4)]


def test_an_object_is_taken_as_it_is_and_nothing_is_silent():
    seen = Seen()
    assert listener(seen) is seen
    assert listener(None) is SILENT
    SILENT.report("", 1, 1)


def test_a_counter_adds_up_and_ends_at_the_whole():
    seen = Seen()
    counter = Counter(seen, 10, "steps", "learning")
    counter.advance()
    counter.advance(4)
    counter.end()
    assert seen.counts == {"learning": [(1, 10), (5, 10), (10, 10)]}


def shown(**options):
    console = Console(file=io.StringIO(), width=120, **options)
    with Bar("adding [cats]", console, keep=True) as bar:
        bar.report("choosing", 3, 6, "units")
        bar.report("choosing", 6, 6, "units")
        bar.report("", 2**20, 2**21, detail="loss 0.5")
    return console.file.getvalue()


def test_the_bar_has_a_row_a_stage_with_counts_in_its_unit():
    first, second = shown().splitlines()
    assert "adding [cats]: choosing" in first
    assert "6/6" in first
    assert "1.0/2.0 MiB" in second
    assert "loss 0.5" in second


def test_without_a_terminal_there_is_no_bar(capsys):
    with Bar("adding") as bar:
        bar.report("", 1, 2)
    assert capsys.readouterr() == ("", "")
