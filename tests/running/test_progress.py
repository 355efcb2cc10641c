"""What is shown while lessons run: a table that changes in place in a terminal, a line for each change in a log."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from course_utils.notebooks.find import Lesson
from course_utils.running.progress import progress, progress_table
from course_utils.running.runs import Run


@pytest.fixture
def run() -> Run:
    return Run(Lesson("02a", Path("02a_topic.ipynb")), cells=9)


def shown(run: Run, terminal: bool) -> str:
    """What the console has after the run began, reached its second cell, and failed there."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with progress([run], console) as changed:
        run.state, run.cell, run.label = "running", 1, "code cell 1 (`[x]`)"
        changed(run)
        run.cell = 2
        changed(run)
        run.state, run.seconds, run.reasons = "failed", 61.26, ["it raised [bold]", "it is late"]
        changed(run)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_log_gets_a_line_when_a_lesson_begins_and_one_when_it_ends(run: Run) -> None:
    begun, ended = shown(run, terminal=False).splitlines()
    assert begun == "02a  running"
    assert ended == "02a  failed  2/9 cells  61.3 s  0.00 GB  it raised [bold] (and 1 more)"


def test_a_terminal_gets_a_table_that_is_drawn_again(run: Run) -> None:
    told = shown(run, terminal=True)
    assert "\x1b[" in told and told.count("02a_topic") >= 2
    assert "it raised [bold] (and 1 more)" in told.rpartition("02a_topic")[2]


def test_the_table_names_the_cell_at_hand_and_lets_no_label_pass_for_markup(run: Run) -> None:
    run.state, run.cell, run.label = "running", 3, "code cell 3 (`[red]`)"
    console = Console(file=io.StringIO(), width=100)
    console.print(progress_table([run]))
    assert isinstance(console.file, io.StringIO)
    assert "3/9" in console.file.getvalue() and "code cell 3 (`[red]`)" in console.file.getvalue()


def test_what_should_be_known_of_a_run_that_passed_is_told_at_its_end(run: Run) -> None:
    run.state, run.cell, run.seconds, run.remark = "passed", 9, 45.0, "started twice: the kernel slept"
    assert run.message == "started twice: the kernel slept"
    run.reasons = ["it raised"]
    assert run.message == "it raised"
