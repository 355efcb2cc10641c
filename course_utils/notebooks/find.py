"""Where the course is on this machine, and its lessons: by number, by name, or by a notebook's path."""

from __future__ import annotations

import contextlib
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from course_utils.conventions import checkout, lesson_number
from course_utils.errors import CourseError
from course_utils.notebooks.ipynb import read

NUMBERED = re.compile(r"(\d\d[a-z]?)_")  # how a lesson's file name begins
PROJECT_NAME = 'name = "generative-networks-course"'
SOURCES = ("course_utils", "notebooks", "pyproject.toml")  # what a measured result depends on


def find_root() -> Path:
    """The course's repository: the working directory or one above it, else where this package was installed from."""
    here = Path.cwd().resolve()
    for directory in (here, *here.parents, *filter(None, [checkout()])):
        project = directory / "pyproject.toml"
        text = project.read_text(encoding="utf-8", errors="replace") if project.is_file() else ""
        if (directory / "notebooks").is_dir() and PROJECT_NAME in text.splitlines():
            return directory
    raise CourseError(
        f"{here} is not inside the course's repository (no pyproject.toml of the course beside notebooks/). "
        "Change to the folder that you cloned and try again."
    )


@dataclass(frozen=True)
class Lesson:
    """A notebook on disk. `number` is that of a main lesson ("02") or of a detour ("02a"), or the file's stem for a
    notebook outside the course."""

    number: str
    path: Path

    @property
    def title(self) -> str:
        """The first heading, else the file's name; a file that cannot be read has its name too."""
        with contextlib.suppress(CourseError):
            for cell in read(self.path).cells:
                heading = re.search(r"^# +(.+)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else None
                if heading:
                    return heading[1].strip()
        return self.path.stem


def lessons(root: Path) -> list[Lesson]:
    """All lessons of the course, in order: each main lesson (`NN_topic.ipynb`), then its detours (`NNa_topic.ipynb`)."""
    candidates = [(NUMBERED.match(path.name), path) for path in (root / "notebooks").glob("*.ipynb")]
    return sorted(
        (Lesson(match[1], path) for match, path in candidates if match), key=lambda lesson: (lesson.number, lesson.path)
    )


def find_lessons(wanted: list[str], root: Path | None) -> list[Lesson]:
    """The lessons called `01`, `1`, `02a`, `01_recurrent_networks` or by a notebook's path; all of them when none is named.

    Raises CourseError, listing what exists, for one that is not there. Without a `root` only paths are found.
    """
    existing = lessons(root) if root else []
    if not wanted and not existing:
        raise CourseError(f"there are no lessons (NN_topic.ipynb) in {root / 'notebooks' if root else 'reach'}")
    chosen = [_find(name, existing) for name in wanted] if wanted else existing
    return list(dict.fromkeys(chosen))


def _find(name: str, existing: list[Lesson]) -> Lesson:
    if name.endswith(".ipynb"):
        path = Path(name).resolve()
        if not path.is_file():
            raise CourseError(f"there is no notebook {name}")
        return next((lesson for lesson in existing if lesson.path.resolve() == path), Lesson(path.stem, path))
    number = lesson_number(name) if re.fullmatch(r"\d+[a-z]?", name) else name
    for lesson in existing:
        if number in (lesson.number, lesson.path.stem):
            return lesson
    there = "; ".join(f"{lesson.number} {lesson.path.stem.partition('_')[2].replace('_', ' ')}" for lesson in existing)
    raise CourseError(f"there is no lesson {name!r}. There are: {there or 'none yet'}. Or give a notebook's path.")


def version() -> str:
    """The course's version as git tells it: the tag that was handed out, if this is one; else the package's number."""
    from importlib import metadata

    number = metadata.version("generative-networks-course")
    with contextlib.suppress(CourseError, OSError, subprocess.CalledProcessError):
        root = find_root()
        changed = "+changes" in (commit(root) or "")
        return f"{number} ({git(root, 'describe', '--tags', '--always')}{', changed' if changed else ''})"
    return number


def commit(root: Path) -> str | None:
    """The short hash of HEAD, with "+changes" when the sources differ from it; None outside git."""
    try:
        head = git(root, "rev-parse", "--short", "--verify", "HEAD")
        return head + ("+changes" if git(root, "status", "--porcelain", "--", *SOURCES) else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def git(root: Path, *arguments: str) -> str:
    """What a command of git's prints about the repository `root`. Raises OSError without git, CalledProcessError if it fails."""
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
