"""How far a run is, and the table that shows it."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from course_utils.grading.result import Result, points_text

if TYPE_CHECKING:
    from rich.table import Table


@dataclass
class Progress:
    """How far a run is. `counts` has the statuses of this run's results, `kept` counts those of earlier runs.

    `waits_for` says what is missing if nothing goes on, `boxes` how the workers' boxes are made.
    """

    total: int
    kept: int = 0
    retried: int = 0
    running: int = 0
    waits_for: str = ""
    boxes: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    points: float = 0
    max_points: float = 0
    last: deque[str] = field(default_factory=lambda: deque(maxlen=5))
    started: float = field(default_factory=time.perf_counter)

    @property
    def done(self) -> int:
        """Submissions with a result, from this run or an earlier one."""
        return self.kept + self.counts.total()

    @property
    def seconds(self) -> float:
        """Since the start of the run."""
        return time.perf_counter() - self.started

    def add(self, result: Result) -> None:
        """Count a result of this run."""
        self.counts[result.status] += 1
        self.points += result.points
        self.max_points += result.max_points
        points = f"{points_text(result.points)} of {points_text(result.max_points)}"
        self.last.append(
            f"{result.file}: {result.status}, {'no grade yet' if result.status == 'infra_error' else points}"
        )


Report = Callable[[Progress], None]


@contextlib.contextmanager
def live_table(console: Any = None) -> Iterator[Report]:
    """A `report` for `grader.run` that keeps a table on the terminal up to date."""
    from rich.live import Live

    said = ""

    def report(progress: Progress) -> None:
        nonlocal said
        if progress.waits_for not in ("", said):  # said once, also where there is no terminal
            live.console.print(f"Waiting for {progress.waits_for}.", markup=False)
        said = progress.waits_for
        live.update(table(progress))

    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield report


def table(progress: Progress) -> Table:
    """The state of a run; file names stand there as plain text, whatever markup they hold."""
    from rich.table import Table
    from rich.text import Text

    graded = progress.counts.total()
    rate = 60 * graded / progress.seconds if graded else 0.0
    left = progress.total - progress.done
    shown = Table(title=f"{progress.done} of {progress.total} submissions", show_header=False)
    for status, count in sorted(progress.counts.items()):
        shown.add_row(status, str(count))
    shown.add_row("kept from an earlier run", str(progress.kept))
    shown.add_row("tried again", str(progress.retried))
    shown.add_row("points of this run", f"{points_text(progress.points)} of {points_text(progress.max_points)}")
    to_go = f", {max(left / rate, 1):.0f} min to go" if rate and left else ""
    shown.add_row("speed", f"{rate:.0f} a minute{to_go}")
    if progress.boxes:
        shown.add_row("boxes", Text(progress.boxes))
    for line in progress.last:
        shown.add_row("", Text(line))
    return shown
