"""Lessons are found by number, name or path, and a working copy overwrites nothing."""

from pathlib import Path

import pytest

from course_utils.errors import CourseError
from course_utils.notebooks import find


@pytest.mark.parametrize("name", ["1", "01", "01_one", "notebooks/01_one.ipynb"])
def test_a_lesson_is_found_by_number_name_or_path(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    (found,) = find.find_lessons([name], root)
    assert (found.number, found.path.name, found.title) == ("01", "01_one.ipynb", "The first lesson")


def test_an_unknown_lesson_lists_what_there_is(root: Path) -> None:
    with pytest.raises(CourseError, match=r"no lesson '7'. There are: 01 one"):
        find.find_lessons(["7"], root)
    with pytest.raises(CourseError, match="no notebook nowhere"):
        find.find_lessons(["nowhere.ipynb"], root)


def test_any_notebook_can_be_named_by_its_path(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.ipynb"
    path.write_text("{}")
    assert find.find_lessons([str(path)], root)[0].number == "mine"


def test_all_lessons_are_meant_when_none_is_named_and_none_is_taken_twice(root: Path) -> None:
    assert [found.number for found in find.find_lessons([], root)] == ["01"]
    assert len(find.find_lessons(["1", "01"], root)) == 1


def test_a_detour_follows_its_lesson_and_is_found_by_its_number(root: Path) -> None:
    for name in ("02_two.ipynb", "01b_far.ipynb", "01a_near.ipynb", "10_ten.ipynb", "1c_no.ipynb", "01ab_no.ipynb"):
        (root / "notebooks" / name).write_text("{}")
    assert [found.number for found in find.lessons(root)] == ["01", "01a", "01b", "02", "10"]
    wanted = find.find_lessons(["1b", "01a", "01a_near", "1"], root)
    assert [found.path.name for found in wanted] == ["01b_far.ipynb", "01a_near.ipynb", "01_one.ipynb"]
    with pytest.raises(CourseError, match=r"no lesson '2a'. There are: 01 one; 01a near; 01b far; 02 two"):
        find.find_lessons(["2a"], root)


def test_the_repository_is_found_from_inside(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root / "notebooks")
    assert find.find_root() == root


def test_another_project_with_notebooks_is_not_taken_for_the_course(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "inner" / "notebooks").mkdir(parents=True)
    (root / "inner" / "pyproject.toml").write_text('[project]\nname = "mine"\n')
    monkeypatch.chdir(root / "inner")
    assert find.find_root() == root
    (root / "pyproject.toml").write_text('[project]\nname = "another"\n')
    monkeypatch.setattr(find, "checkout", lambda: None)
    with pytest.raises(CourseError, match="not inside the course's repository"):
        find.find_root()
