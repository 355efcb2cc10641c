"""`course run` reports every planted failure as failed, with the right reason; also those that papermill lets pass.

The notebooks are made here, none of them imports torch, and all of them run in one go, two at a time.
"""

import io
import threading
from pathlib import Path

import nbformat
import pytest
from rich.console import Console

from course_utils import errors
from course_utils.conventions import OUTCOME_TYPE, PROFILES
from course_utils.notebooks import find, ipynb
from course_utils.notebooks.find import Lesson
from course_utils.running import failures, runner, worker
from course_utils.running.runs import Options, Run
from course_utils.running.worker import Job, Watch

PARAMETERS = 'PROFILE = "auto"'
TIMEOUT = 12

REPORT = """
from IPython.display import display
def report(name, value, goal, met, why="", real=True):
    data = [{"name": "digits", "source": "digits" if real else "stand-in: glyphs", "real": real}]
    result = dict(name=name, value=value, unit="%", goal=goal, met=met, judged=met is not None, why=why, seed=0,
                  profile=PROFILE, device="cpu", data=data)
    display({"text/plain": name, "application/vnd.course.report+json": result}, raw=True)
session = {"profile": PROFILE, "device": "cpu", "threads": 2, "precision": "fp32", "torch": "0", "seed": 0}
display({"text/plain": "session", "application/vnd.course.session+json": session}, raw=True)
"""
WIDGET_ERROR = """
import ipywidgets
def draw(x):
    raise ValueError("the slider went too far")
ipywidgets.interact(draw, x=(0, 3));
"""
REDRAWN = """
import ipywidgets
from IPython.display import display
slider = ipywidgets.IntSlider(max=3)
def draw(x):
    if x == 1:
        raise ValueError("only x = 1 fails")
display(ipywidgets.interactive_output(draw, {"x": slider}))
"""
THREAD_ERROR = """
import threading
thread = threading.Thread(target=lambda: {}["nothing"])
thread.start(); thread.join()
"""
LATE_THREAD = """
import threading, time
def later():
    time.sleep(0.3)
    raise OSError("too late for its cell")
late = threading.Thread(target=later); late.start()
"""

# name: (cells, what the reason must say)
FAILURES: dict[str, tuple[list[str], list[str]]] = {
    "exception": (["x = 1", "1 / 0", "x"], ["code cell 3 (`1 / 0`)", "ZeroDivisionError: division by zero"]),
    "interact": ([WIDGET_ERROR, "1"], ["callback", "ValueError: the slider went too far", "code cell 2"]),
    "redrawn": ([REDRAWN, "slider.value = 1", "slider.value = 2"], ["callback", "only x = 1 fails", "code cell 3"]),
    "output": (
        ["import ipywidgets\nwith ipywidgets.Output():\n    raise KeyError('lost')"],
        ["Output", "KeyError: 'lost'"],
    ),
    "click": (
        ["import ipywidgets\nb = ipywidgets.Button()\nb.on_click(lambda b: 1 / 0)\nb.click()"],
        ["ZeroDivisionError: division by zero"],
    ),
    "sys_exit": (["import sys; sys.exit(0)", "1", "2"], ["sys.exit(0)", "the 2 cells after it never ran"]),
    "quit": (["quit()", "1"], ["code cell 2 (`quit()`) ended the kernel"]),
    "killed": (["x = 1", "import os; os._exit(1)", "2"], ["the kernel died in code cell 3", "out of memory"]),
    "sigkill": (["import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"], ["the kernel died in code cell 2"]),
    "endless": (["while True: pass", "1"], ["code cell 2 (`while True: pass`)", f"longer than {TIMEOUT} s"]),
    "missing_data": (
        ["raise FileNotFoundError('MNIST is not in data/ and the machine is offline: run `course data fetch`')"],
        ["FileNotFoundError: MNIST is not in data/", "course data fetch"],
    ),
    "directory": (
        ["import os", "os.chdir('..')", "1"],
        ["code cell 3 (`os.chdir('..')`)", "working directory changed"],
    ),
    "command": (["!exit 3", "1"], ["code cell 2", "shell command failed", "3"]),
    "command_output": (["x = !ls /nowhere/at/all", "1"], ["code cell 2", "shell command failed"]),
    "thread": ([THREAD_ERROR, "1"], ["exception in thread", "KeyError: 'nothing'"]),
    "late_thread": ([LATE_THREAD, "late.join()"], ["exception in thread", "OSError: too late for its cell"]),
}


def make(path: Path, cells: list[str], parameters: str | None = PARAMETERS, tags: list[str] | None = None) -> Path:
    """A notebook with a parameters cell and these code cells; `tags` go to the last one."""
    sources = [] if parameters is None else [parameters]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources + cells])
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell(f"# The notebook {path.stem}"))
    if parameters is not None:
        notebook.cells[1].metadata["tags"] = ["parameters"]
    notebook.cells[-1].metadata["tags"] = tags or []
    ipynb.write(notebook, path)
    return path


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The runs of all planted notebooks, by name."""
    directory = tmp_path_factory.mktemp("planted")
    paths = [make(directory / f"{name}.ipynb", cells) for name, (cells, _) in FAILURES.items()]
    (directory / "empty.ipynb").write_text("")
    paths.append(directory / "empty.ipynb")
    reports = ['report("accuracy", 97.5, ">= 97", True)', 'report("error", 3.0, "<= 1", False)']
    paths.append(make(directory / "good.ipynb", [REPORT, *reports, "print(PROFILE)"]))
    memory = (
        "block = bytearray(400_000_000)\nfor i in range(0, len(block), 4096): block[i] = 1\nimport time; time.sleep(1)"
    )
    paths.append(make(directory / "hungry.ipynb", [memory]))
    lessons = [Lesson(path.stem, path) for path in paths]
    options = Options("smoke", jobs=2, out=directory / "out", timeout=TIMEOUT, html=False)
    runs = runner.run_lessons(lessons, options, Console(force_terminal=False, quiet=True))
    return {run.lesson.number: run for run in runs}


@pytest.mark.parametrize("name", FAILURES)
def test_a_planted_failure_is_reported_with_its_reason(name: str, planted: dict[str, Run]) -> None:
    run = planted[name]
    assert run.state == "failed"
    for part in FAILURES[name][1]:
        assert part in " / ".join(run.reasons)


def refused(path: Path) -> str:
    """Why the worker does not even start a kernel for the notebook in `path`."""
    job = Job(str(path), str(path.with_suffix(".out")), str(path.parent), "smoke", TIMEOUT)
    try:
        (reason,) = worker.run_job(job, Watch(io.StringIO()))["reasons"]
    except errors.CourseError as error:
        return str(error)
    assert not path.with_suffix(".out").exists()
    return reason


@pytest.mark.parametrize("parameters", ['PROFIL = "auto"', None, "print(PROFILE)"])
def test_a_notebook_that_does_not_take_the_profile_is_not_run(parameters: str | None, tmp_path: Path) -> None:
    assert "unknown parameter PROFILE" in refused(make(tmp_path / "x.ipynb", ["1"], parameters))


@pytest.mark.parametrize("tag", ["raises-exception", "skip-execution"])
def test_a_tag_that_hides_errors_is_a_failure(tag: str, tmp_path: Path) -> None:
    reason = refused(make(tmp_path / "x.ipynb", ["1 / 0"], tags=[tag]))
    assert f"code cell 2 (`1 / 0`) is tagged {tag}" in reason and "expect_error" in reason


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "is empty"),
        ("{ not JSON", "JSON"),
        ("[]", "not a notebook"),
        ("{}", "format 4"),
        ('{"nbformat": 4}', "cells"),
    ],
)
def test_a_file_that_is_no_notebook_says_so(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "x.ipynb").write_text(text)
    assert reason in refused(tmp_path / "x.ipynb")


def test_a_notebook_without_code_says_so(tmp_path: Path) -> None:
    assert refused(make(tmp_path / "x.ipynb", ["  "], parameters=None)) == "the notebook has no code to run"


def test_a_file_that_is_no_notebook_does_not_stop_the_others(planted: dict[str, Run]) -> None:
    assert planted["empty"].state == "failed"
    assert "is empty" in planted["empty"].message


def test_one_cause_is_reported_once(planted: dict[str, Run]) -> None:
    for name in ("exception", "interact", "output", "thread", "sys_exit", "command", "killed"):
        assert len(planted[name].reasons) == 1, planted[name].reasons


def test_a_failure_does_not_touch_the_other_lessons(planted: dict[str, Run]) -> None:
    good = planted["good"]
    assert (good.state, good.reasons, good.cell, good.cells) == ("passed", [], 5, 5)


def test_reports_and_session_are_collected_in_order(planted: dict[str, Run]) -> None:
    good = planted["good"]
    assert [(r["name"], r["value"], r["met"]) for r in good.reports] == [
        ("accuracy", 97.5, True),
        ("error", 3.0, False),
    ]
    assert good.session["profile"] == "smoke"
    assert [r["name"] for r in good.missed] == ["error"]


def test_the_profile_reaches_the_notebook_and_no_scaffolding_stays(planted: dict[str, Run]) -> None:
    executed = planted["good"].executed
    assert executed is not None
    notebook = ipynb.read(executed)
    assert notebook.cells[-1].outputs[0].text == "smoke\n"
    assert [cell.source for cell in notebook.cells[1:2]] == [PARAMETERS]
    assert len(notebook.cells) == 6
    assert [c.execution_count for c in ipynb.code_cells(notebook)] == [1, 2, 3, 4, 5]
    assert "in_kernel" not in executed.read_text() and "injected" not in executed.read_text()


def test_a_failed_notebook_is_kept_as_far_as_it_came(planted: dict[str, Run]) -> None:
    executed = planted["exception"].executed
    assert executed is not None
    cells = ipynb.read(executed).cells
    assert len(cells) == 5
    assert cells[3].outputs[0].ename == "ZeroDivisionError"


def test_peak_memory_and_seconds_are_measured(planted: dict[str, Run]) -> None:
    assert planted["hungry"].state == "passed"
    assert 0.4 < planted["hungry"].peak_gb < 1.0
    assert planted["hungry"].peak_gb > planted["good"].peak_gb + 0.2
    assert 1.0 < planted["hungry"].seconds < 60


def test_the_index_links_every_notebook_and_shows_states_and_results(planted: dict[str, Run]) -> None:
    executed = planted["good"].executed
    assert executed is not None
    page = (executed.parent / "index.html").read_text()
    assert 'href="good.ipynb"' in page and "The notebook good" in page
    assert "✘ missed" in page and "✔ met" in page
    assert "ZeroDivisionError" in page


def test_two_notebooks_of_one_name_are_refused_before_anything_runs(tmp_path: Path) -> None:
    paths = [make(tmp_path / part / "same.ipynb", ["1"]) for part in ("a", "b")]
    lessons = [Lesson("same", path) for path in paths]
    with pytest.raises(errors.CourseError, match="have the same name") as caught:
        runner.run_lessons(lessons, Options("smoke", out=tmp_path / "out"), Console(quiet=True))
    assert all(str(path) in str(caught.value) for path in paths)
    assert not (tmp_path / "out").exists()


def test_every_profile_limits_the_seconds_of_a_cell_unless_they_are_given() -> None:
    assert all(Options(profile).cell_seconds > 0 for profile in PROFILES)
    assert Options("smoke", timeout=7).cell_seconds == 7


def test_a_notebook_is_never_replaced_by_its_own_output(tmp_path: Path) -> None:
    path = tmp_path / "mine.ipynb"
    path.write_text("{}")
    with pytest.raises(errors.CourseError, match="where its own output would go"):
        runner.run_lessons(
            find.find_lessons([str(path)], tmp_path), Options("smoke", out=tmp_path), Console(quiet=True)
        )
    assert path.read_text() == "{}"


def test_a_worker_that_dies_is_a_failure_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lesson = Lesson("x", make(tmp_path / "x.ipynb", ["1"]))
    monkeypatch.setattr(runner.sys, "executable", "/bin/false")
    run = runner.run_lessons([lesson], Options("smoke", out=tmp_path / "out"), Console(quiet=True))[0]
    assert run.state == "failed"
    assert "ended with code 1" in run.message


def test_a_run_that_is_interrupted_tells_no_code_of_a_process(tmp_path: Path) -> None:
    """Ctrl-C kills the worker, whose code, -9, is nobody's business."""
    stop, told = threading.Event(), []
    (tmp_path / "out").mkdir()
    run = Run(Lesson("x", make(tmp_path / "x.ipynb", ["import time", "time.sleep(60)"])))

    def changed(run: Run) -> None:
        told.append((run.state, tuple(run.reasons)))
        stop.set()

    runner._run_one(run, Options("smoke", out=tmp_path / "out"), changed, stop)
    assert told and all(reasons == () for _, reasons in told) and run.reasons == []


def test_an_error_left_in_a_widgets_state_is_found_without_the_kernels_help(tmp_path: Path) -> None:
    notebook = ipynb.read(make(tmp_path / "x.ipynb", ["1"]))
    for cell in ipynb.code_cells(notebook):
        cell.execution_count = 1
    state = {"outputs": [{"output_type": "error", "ename": "ValueError", "evalue": "hidden", "traceback": []}]}
    notebook.metadata["widgets"] = {failures.WIDGET_STATE: {"state": {"a": {"state": state}}}}
    assert failures.find_failures(notebook, None) == [
        "an exception inside a widget's callback or Output, which hides it: ValueError: hidden"
    ]


def test_cells_that_never_ran_are_a_failure_even_when_nothing_says_why(tmp_path: Path) -> None:
    notebook = ipynb.read(make(tmp_path / "x.ipynb", ["1", "2"]))
    notebook.cells[1].execution_count = 1
    assert failures.find_failures(notebook, None) == [
        "the run ended before code cell 2: the 2 cells after it never ran"
    ]


def test_unsolved_exercises_are_named() -> None:
    cell = nbformat.v4.new_code_cell("@exercise\ndef f(x):\n    return x")
    bundle = {"text/plain": "✘ f: returned None.", OUTCOME_TYPE: {"exercise": "f", "status": "wrong"}}
    said = nbformat.v4.new_output("display_data", bundle)
    notebook = nbformat.v4.new_notebook(cells=[cell])
    assert "no feedback" in failures.unsolved_exercises(notebook)[0]
    cell.outputs = [said]
    assert failures.unsolved_exercises(notebook) == [
        "exercise f: the reference is not judged right. ✘ f: returned None."
    ]
    said["data"][OUTCOME_TYPE]["status"] = "right"
    assert failures.unsolved_exercises(notebook) == []


def test_what_looks_like_feedback_solves_no_exercise() -> None:
    cell = nbformat.v4.new_code_cell("@exercise\ndef f(x):\n    return x")
    cell.outputs = [nbformat.v4.new_output("display_data", {"text/plain": "✔ f: right on 25 random cases."})]
    cell.outputs += [nbformat.v4.new_output("stream", text="✔ f: right on 25 random cases.\n")]
    assert "no feedback" in failures.unsolved_exercises(nbformat.v4.new_notebook(cells=[cell]))[0]


def test_a_lesson_without_exercises_is_solved_as_it_is(tmp_path: Path) -> None:
    path = make(tmp_path / "detour.ipynb", ["print('it ran')"])
    job = Job(str(path), str(tmp_path / "run.ipynb"), str(tmp_path), "smoke", TIMEOUT, solved=True)
    result = worker.run_job(job, Watch(io.StringIO()))
    assert result["reasons"] == [] and "it ran" in (tmp_path / "run.ipynb").read_text(encoding="utf-8")
