"""The cells that a lesson's headlines need: enough to run alone, and no more than is read."""

import ast
import io
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from rich.console import Console

from course_utils.errors import CourseError
from course_utils.notebooks import find, headlines, ipynb
from course_utils.running.runner import run_lessons
from course_utils.running.runs import Options

LESSONS = find.lessons(Path(__file__).parents[2])
LONG = [lesson for lesson in LESSONS if headlines.has_headlines(ipynb.read(lesson.path))]


@pytest.mark.parametrize(
    ("cells", "kept"),
    [
        (["a = 1", "b = 2", "a"], {0, 2}),
        (["a = 1", "a = 2", "a"], {1, 2}),  # the latest before
        (["a = 1", "a", "a = 2"], {2}),
        (["a = 1", "b = a", "b"], {0, 1, 2}),
        (["a = 1", "a += 1", "a"], {0, 1, 2}),
        (["a = {}", "a['x'] = 1", "b = 1", "a"], {0, 1, 3}),
        (["import x.y as z", "import v.w", "z, v"], {0, 1, 2}),
        (["def f():\n    return a", "a = 1", "a = 2", "f()"], {0, 1, 3}),  # bound later than the function is
        (["a = 1", "def f():\n    return a", "f()"], {0, 1, 2}),
        (["a = 1", "def f(a, *b, c=2):\n    d = 1\n    return [d for d in b]", "d = 4", "f()"], {1, 3}),
        (
            ["b = 1", "class A(B):\n    c = b\n    def f(self):\n        return g", "g = 1", "class B: pass", "A"],
            {0, 1, 2, 4},
        ),
        (["a = 1", "for i, a in x:\n    a", "a"], {1, 2}),
        (["e = 1", "x = 1", "with x as e:\n    print(e)"], {1, 2}),
        (["g = 1", "f = lambda t: t + g", "f(1)"], {0, 1, 2}),
        (["a = 1", "def f(t=a):\n    def inner():\n        return t\n    return inner", "t = 1", "f"], {0, 1, 3}),
    ],
)
def test_the_cells_that_bind_what_is_read_are_kept(cells: list[str], kept: set[int]) -> None:
    assert headlines.needed(cells, [len(cells) - 1]) == kept


def test_a_size_for_the_night_is_what_makes_a_headline() -> None:
    assert headlines.has_night_size("n = session.choose(smoke=1, cpu=2, gpu=3, night=4)")
    assert not headlines.has_night_size("n = session.choose(smoke=1, cpu=2, gpu=3)\nnight = 4")


def test_only_what_the_headlines_need_is_left_of_a_notebook() -> None:
    sources = ["PROFILE = 'auto'", "x = 3", "y = 4", "n = session.choose(smoke=1, cpu=x, gpu=3, night=4)", "n + y"]
    notebook = new_notebook(cells=[new_markdown_cell("# One"), *map(new_code_cell, sources)])
    notebook.cells[1].metadata["tags"] = ["parameters"]
    short = headlines.only_headlines(notebook)
    assert [cell.source for cell in short.cells] == [sources[0], sources[1], sources[3]]
    assert len(notebook.cells) == 6


def test_a_notebook_without_headlines_is_refused() -> None:
    with pytest.raises(CourseError, match="no size for the night"):
        headlines.only_headlines(new_notebook(cells=[new_code_cell("1")]))


def test_there_are_lessons_with_headlines() -> None:
    assert {"05", "08", "08a", "09"} <= {lesson.number for lesson in LONG}


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)
def test_checkpoints_bear_the_number_of_their_lesson(lesson: find.Lesson) -> None:
    nodes = [node for cell in ipynb.code_cells(ipynb.read(lesson.path)) for node in ast.walk(ast.parse(cell.source))]
    given = [
        key.value for node in nodes if isinstance(node, ast.Call) for key in node.keywords if key.arg == "checkpoint"
    ]
    names = {node.value for value in given for node in ast.walk(value) if isinstance(node, ast.Constant) and node.value}
    assert {name for name in names if not headlines.names_checkpoint(name, lesson.number)} == set()


@pytest.mark.parametrize("lesson", LONG, ids=lambda lesson: lesson.number)
def test_the_cells_of_a_headline_run_alone(
    lesson: find.Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"COURSE_CACHE": str(tmp_path), "COURSE_DATA": "", "COURSE_OFFLINE": "1"}.items():
        monkeypatch.setenv(name, value)
    options = Options("smoke", out=tmp_path / "out", html=False, headlines=True)
    (run,) = run_lessons([lesson], options, Console(file=io.StringIO()))
    assert run.reasons == []
    assert any("core_seconds" in report for report in run.reports)
