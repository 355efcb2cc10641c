"""The notebooks as they are committed. `make test` runs them, too: under nbval, and with papermill, also solved."""

import re
from pathlib import Path
from typing import Any

import pytest

from course_utils.conventions import REPORT_TYPE, SESSION_TYPE
from course_utils.notebooks import find, hygiene, ipynb

ROOT = Path(__file__).parents[2]
LESSONS = [lesson.path for lesson in find.lessons(ROOT)]
TAGS = {"colab", "parameters", "nbval-ignore-output", "cover"}

every_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def outputs(path: Path) -> list[tuple[int, Any]]:
    """Every stored output with the number of its code cell."""
    cells = ipynb.code_cells(ipynb.read(path))
    return [(number, output) for number, cell in enumerate(cells, 1) for output in cell.outputs]


def test_the_readme_lists_every_lesson_once_in_order() -> None:
    listed = re.findall(
        r"^\| \d\d[a-z]? \| \[.*?\]\((notebooks/.*?)\)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE
    )
    assert listed == sorted(str(path.relative_to(ROOT)) for path in LESSONS) != []
    assert len({path.name.partition("_")[0] for path in LESSONS}) == len(LESSONS)


def test_every_detour_belongs_to_a_lesson_of_the_main_line() -> None:
    numbers = {lesson.number for lesson in find.lessons(ROOT)}
    assert {number for number in numbers if number[:2] not in numbers} == set()


@every_lesson
def test_a_lesson_is_fit_to_be_committed(path: Path) -> None:
    assert hygiene.hygiene_problems(path, ROOT) == []


@every_lesson
def test_every_lesson_starts_with_the_same_cells(path: Path) -> None:
    first, here = (ipynb.code_cells(ipynb.read(lesson))[:2] for lesson in (LESSONS[0], path))
    assert [cell.source for cell in here] == [cell.source for cell in first]


@every_lesson
def test_a_lesson_with_exercises_ends_with_their_table(path: Path) -> None:
    *cells, last = ipynb.code_cells(ipynb.read(path))
    if any(cell.source.startswith("@exercise") for cell in cells):
        assert last.source == "exercise.summary()"
        assert "all exercises" in last.outputs[0].data["text/plain"]
    else:
        assert last.source != "exercise.summary()", "a table without a row"


@every_lesson
def test_no_sentence_stands_twice_in_a_cell(path: Path) -> None:
    texts = [cell.source for cell in ipynb.read(path).cells if cell.cell_type == "markdown"]
    sentences = [[part for part in re.split(r"(?<=[.!?)])\s+", text) if len(part) > 40] for text in texts]
    assert [twice for cell in sentences for twice in set(cell) if cell.count(twice) > 1] == []


@every_lesson
def test_tags_mean_something(path: Path) -> None:
    cells = ipynb.code_cells(ipynb.read(path))
    assert {tag for cell in cells for tag in ipynb.tags(cell)} <= TAGS


@every_lesson
def test_widgets_are_not_compared_with_their_static_pictures(path: Path) -> None:
    cells = ipynb.code_cells(ipynb.read(path))
    widgets = [number for number, cell in enumerate(cells, 1) if "widgets.explore(" in cell.source]
    assert [n for n in widgets if "nbval-ignore-output" not in ipynb.tags(cells[n - 1])] == []


@every_lesson
def test_stored_outputs_hold_neither_errors_nor_warnings(path: Path) -> None:
    assert [(n, o.evalue) for n, o in outputs(path) if o.output_type == "error"] == []
    assert [(n, o.text) for n, o in outputs(path) if o.get("name") == "stderr"] == []


@every_lesson
def test_stored_results_are_those_of_a_laptop_on_real_data(path: Path) -> None:
    data = [output.data for _, output in outputs(path) if "data" in output]
    (session,) = (bundle[SESSION_TYPE] for bundle in data if SESSION_TYPE in bundle)
    assert (session["profile"], session["device"]) == ("cpu", "cpu")
    reports = [bundle[REPORT_TYPE] for bundle in data if REPORT_TYPE in bundle]
    assert reports
    assert [report["name"] for report in reports if report["goal"] and not report["judged"]] == []
