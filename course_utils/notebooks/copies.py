"""Working copies of lessons in `work/`, which git ignores: answers survive the next `git pull`."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from course_utils.errors import CourseError
from course_utils.files import write_text
from course_utils.notebooks.find import Lesson, lessons
from course_utils.notebooks.ipynb import read
from course_utils.notebooks.normalise import source_hash

FOLDER = "work"


class State(StrEnum):
    """What became of a lesson's copy: made, left as it was, made anew, or left although the lesson has changed."""

    NEW = "new"
    KEPT = "kept"
    RENEWED = "renewed"
    BEHIND = "behind"


def working_copy(lesson: Lesson, root: Path) -> Path:
    """Copy the lesson to `work/`, under a new number if it is there already; returns the new path."""
    target = root / FOLDER / lesson.path.name
    count = 1
    while True:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("xb") as file:
                file.write(lesson.path.read_bytes())
            return target
        except FileExistsError:
            count += 1
            target = root / FOLDER / f"{lesson.path.stem}-{count}.ipynb"


def working_copies(root: Path) -> Iterator[tuple[Lesson, State]]:
    """See to it that `work/` has a copy of every lesson; yields each lesson with what was done.

    A copy in which nobody has changed a cell is made anew when its lesson has changed. Any other is left alone.
    """
    for lesson in lessons(root):
        target = root / FOLDER / lesson.path.name
        if not target.exists():
            working_copy(lesson, root)
            yield lesson, State.NEW
            continue
        state = _state(target, lesson)
        if state is State.RENEWED:
            write_text(lesson.path.read_text(encoding="utf-8"), target)
        yield lesson, state


def _state(copy: Path, lesson: Lesson) -> State:
    try:
        mine, now = read(copy), read(lesson.path)
    except CourseError:  # what cannot be read is somebody's all the same
        return State.KEPT
    made_from, is_now = (notebook.metadata.get("course", {}).get("source_hash") for notebook in (mine, now))
    if made_from == is_now:
        return State.KEPT
    return State.RENEWED if source_hash(mine) == made_from else State.BEHIND
