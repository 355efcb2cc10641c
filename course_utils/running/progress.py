"""How far the lessons are, while they run: a table that changes in place in a terminal, lines in a log."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from course_utils.running.runs import Run

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

STYLES = {"waiting": "dim", "running": "cyan", "passed": "green", "failed": "bold red"}


@contextlib.contextmanager
def progress(runs: list[Run], console: Console) -> Iterator[Callable[[Run], None]]:
    """Show the runs on the console until the block ends. It yields what to call when one of them has changed."""
    with _live(runs, console) if console.is_terminal else _lines(runs, console) as changed:
        yield changed


@contextlib.contextmanager
def _live(runs: list[Run], console: Console) -> Iterator[Callable[[Run], None]]:
    """A table that changes in place. It redraws itself, so that seconds go on counting."""
    from rich.live import Live

    class Progress:
        def __rich__(self) -> Table:
            return progress_table(runs)

    with Live(Progress(), console=console, refresh_per_second=4):
        yield lambda run: None


@contextlib.contextmanager
def _lines(runs: list[Run], console: Console) -> Iterator[Callable[[Run], None]]:
    """One line when a lesson starts and one when it ends, for logs."""
    from rich.markup import escape

    lock = threading.Lock()
    told = {id(run): "waiting" for run in runs}

    def changed(run: Run) -> None:
        with lock:
            if told[id(run)] == run.state:
                return
            told[id(run)] = run.state
            line = f"{run.lesson.number}  {run.state}"
            if run.state != "running":
                line += f"  {run.cell}/{run.cells} cells  {run.seconds:.1f} s  {run.peak_gb:.2f} GB  {run.message}"
            console.print(escape(line.rstrip()), soft_wrap=True, highlight=False)

    yield changed


def progress_table(runs: list[Run]) -> Table:
    """The lessons with state, cells, seconds, memory, and what there is to say."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("lesson", "state", "cells", "seconds", "GB"):
        table.add_column(column, justify="left" if column in ("lesson", "state") else "right", no_wrap=True)
    table.add_column("", overflow="ellipsis", no_wrap=True)
    for run in runs:
        seconds = time.perf_counter() - run.began if run.state == "running" else run.seconds
        table.add_row(
            escape(run.lesson.path.stem),
            f"[{STYLES[run.state]}]{run.state}[/]",
            f"{run.cell}/{run.cells}" if run.cells else "",
            f"{seconds:.1f}" if seconds else "",
            f"{run.peak_gb:.2f}" if run.peak_gb else "",
            escape(run.message),
        )
    return table
