"""A lesson's code is run as it stands in its notebook: what is wanted, and nothing else."""

from pathlib import Path
from typing import Any

import nbformat
import pytest

from course_utils.errors import CourseError
from course_utils.exercises.catalogue import definition
from course_utils.notebooks import find, ipynb, lesson_code


@pytest.fixture
def lesson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small lesson 05, in a folder of its own."""
    cells = [
        "import math\n\nprint('this is not run')",
        "SCALE = 2\n\n\ndef area(r):\n    return SCALE * math.pi * kl_to_standard_normal(r, r)\n\n\ndef other():\n    return 1",
        "class Shape:\n    size = 3",
    ]
    (tmp_path / "notebooks").mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    ipynb.write(notebook, tmp_path / "notebooks" / "05_small.ipynb")
    monkeypatch.setattr(find, "find_root", lambda: tmp_path)
    return tmp_path


def test_wanted_definitions_alone_are_there_with_what_is_given(
    lesson: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = lesson_code.load("05", "area", "Shape", SCALE=10)
    assert loaded.Shape.size == 3 and not hasattr(loaded, "other")
    assert capsys.readouterr().out == ""
    assert loaded.area.__globals__["SCALE"] == 10
    assert loaded.area.__globals__["kl_to_standard_normal"] is definition("kl_to_standard_normal").reference


def test_the_text_holds_what_runs_and_the_answers_that_it_uses(lesson: Path) -> None:
    code = lesson_code.load("05", "area").code
    assert "def area(r):" in code and "def kl_to_standard_normal(mu, logvar):" in code
    assert "def other" not in code and "def negative_elbo" not in code and "Shape" not in code


@pytest.mark.parametrize(("number", "wanted"), [("05", ("area", "nothing")), ("77", ())])
def test_what_is_not_there_is_named(lesson: Path, number: str, wanted: tuple[str, ...]) -> None:
    with pytest.raises(LookupError, match="defines no nothing" if wanted else "no lesson '77'"):
        lesson_code.load(number, *wanted)


def test_without_a_repository_the_installed_lessons_are_taken(lesson: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Any:
        raise CourseError("not inside the course's repository")

    monkeypatch.setattr(find, "find_root", nowhere)
    monkeypatch.setattr(lesson_code.sysconfig, "get_path", lambda name: {"data": str(lesson / "prefix")}[name])
    installed = lesson / "prefix" / lesson_code.INSTALLED
    installed.mkdir(parents=True)
    (lesson / "notebooks").rename(installed / "notebooks")
    assert lesson_code.load("05", "Shape").Shape.size == 3


def test_the_package_installs_its_lessons_where_they_are_looked_for() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'"{lesson_code.INSTALLED}/notebooks" = ["notebooks/*.ipynb"]' in text
