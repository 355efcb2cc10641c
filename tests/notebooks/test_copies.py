"""Working copies: made once, renewed while nobody has worked in them, and never overwritten."""

from pathlib import Path

from course_utils.notebooks import copies, find, ipynb, normalise
from course_utils.notebooks.copies import State


def states(root: Path) -> list[State]:
    return [state for _, state in copies.working_copies(root)]


def change(path: Path, source: str, fresh: bool = False) -> None:
    """Write `source` into the last cell, as somebody who works in a copy does; `fresh`: as who refreshes a lesson."""
    notebook = ipynb.read(path)
    notebook.cells[-1].source = source
    if fresh:
        notebook.metadata["course"] = {"source_hash": normalise.source_hash(notebook)}
    ipynb.write(notebook, path)


def test_a_working_copy_never_overwrites_one(root: Path) -> None:
    (found,) = find.lessons(root)
    first = copies.working_copy(found, root)
    first.write_text("my answers")
    second, third = (copies.working_copy(found, root) for _ in range(2))
    assert first.read_text() == "my answers"
    assert [path.name for path in (first, second, third)] == ["01_one.ipynb", "01_one-2.ipynb", "01_one-3.ipynb"]
    assert second.read_bytes() == found.path.read_bytes()


def test_every_lesson_gets_a_copy_once(root: Path) -> None:
    assert states(root) == [State.NEW]
    assert (root / "work/01_one.ipynb").read_bytes() == (root / "notebooks/01_one.ipynb").read_bytes()
    assert states(root) == [State.KEPT]


def test_a_copy_that_nobody_has_worked_in_follows_its_lesson(root: Path) -> None:
    assert states(root) == [State.NEW]
    change(root / "notebooks/01_one.ipynb", "# better now", fresh=True)
    assert states(root) == [State.RENEWED]
    assert (root / "work/01_one.ipynb").read_bytes() == (root / "notebooks/01_one.ipynb").read_bytes()


def test_answers_are_left_alone_and_the_changed_lesson_is_told(root: Path) -> None:
    assert states(root) == [State.NEW]
    change(root / "work/01_one.ipynb", "# my answer")
    mine = (root / "work/01_one.ipynb").read_bytes()
    assert states(root) == [State.KEPT]
    change(root / "notebooks/01_one.ipynb", "# better now", fresh=True)
    assert states(root) == [State.BEHIND]
    assert (root / "work/01_one.ipynb").read_bytes() == mine


def test_what_cannot_be_read_is_left_alone(root: Path) -> None:
    (root / "work").mkdir()
    (root / "work/01_one.ipynb").write_text("half a notebook")
    assert states(root) == [State.KEPT]
    assert (root / "work/01_one.ipynb").read_text() == "half a notebook"
