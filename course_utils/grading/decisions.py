"""What a person decides about exercises that wait for one: `decisions.csv` beside the results.

Grading writes a line for each exercise that waits. The instructor fills in points and, if there is something to say to
the student, a reason, and runs the same command again: nothing is graded anew, and the reports have the points. Other
exercises may be given lines too. A decision is about one version of a file: a new one waits again.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from course_utils.errors import CourseError
from course_utils.files import write_text
from course_utils.grading.books import EXCEL, csv_text, safe_cell
from course_utils.grading.result import Mark, Result, points_text
from course_utils.grading.text import printable

NAME = "decisions.csv"  # in the folder of the reports
COLUMNS = ("student", "file", "key", "exercise", "maximum", "points", "reason")


@dataclass(frozen=True)
class Decision:
    """The points of one exercise of one submission, by a person; None as long as they are not filled in."""

    key: str
    exercise: str
    points: float | None
    reason: str
    line: Mapping[str, str]  # as it stands in the file


def read(path: Path) -> list[Decision]:
    """All lines of the file, if there is one. Raises CourseError for a line that makes no sense, with its number."""
    if not path.exists():
        return []
    try:
        rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""))
        missing = {"key", "exercise", "points"} - set(rows.fieldnames or ())
        if missing:
            raise CourseError(
                f"{path}: the first line must name the columns {', '.join(COLUMNS)}, with commas between."
            )
        return [_decision(row, f"{path}, row {number}") for number, row in enumerate(rows, 2)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CourseError(f"{path} cannot be read: {error}. Save it as CSV UTF-8, with commas.") from None


def _decision(row: Mapping[str, Any], where: str) -> Decision:
    line = {name: row.get(name) or "" for name in COLUMNS}
    text = line["points"].strip()
    try:
        points = float(text) if text else None
    except ValueError:
        raise CourseError(f"{where}: {printable(text)!r} is no number of points, such as 2 or 0.5.") from None
    return Decision(line["key"].strip(), line["exercise"].strip(), points, line["reason"].strip(), line)


def apply(results: Sequence[Result], decisions: Sequence[Decision]) -> list[Result]:
    """The results with these points. A submission of which nothing waits any more has the status that it would have had
    without.

    Raises CourseError for points that an exercise cannot have and for exercises that a submission does not have.
    """
    decided = {(decision.key, decision.exercise): decision for decision in decisions if decision.points is not None}
    return [_decided(result, decided) for result in results]


def _decided(result: Result, decided: Mapping[tuple[str, str], Decision]) -> Result:
    mine = {exercise: decision for (key, exercise), decision in decided.items() if key == result.key}
    file = printable(result.file)
    marks = tuple(_overruled(mark, mine.pop(mark.name, None), file) for mark in result.marks)
    if mine:
        raise CourseError(f"{NAME}: {file} has no exercise {printable(next(iter(mine)))!r}.")
    status = result.status
    if status == "needs_review" and all(mark.status != "needs_review" for mark in marks):
        status = "student_error" if result.reason else "graded"
    return msgspec.structs.replace(result, marks=marks, status=status)


def _overruled(mark: Mark, decision: Decision | None, file: str) -> Mark:
    """The mark with the points of the decision, if there is one. Raises CourseError for points that it cannot have."""
    if decision is None or decision.points is None:
        return mark
    points = decision.points
    if not 0 <= points <= mark.max_points:
        raise CourseError(
            f"{NAME}: {file}: {mark.name} gives 0 to {points_text(mark.max_points)} points, not {points}."
        )
    status = "accepted" if points else "declined"
    message = decision.reason or "a person has looked at it."
    return msgspec.structs.replace(mark, status=status, points=points, mistake=None, message=message)


def ask(results: Sequence[Result], decisions: Sequence[Decision], path: Path) -> int:
    """Write the file with a line for each exercise that waits; what is filled in stays. Returns how many wait."""
    kept = [decision.line for decision in decisions if decision.points is not None]
    lines = {(decision.key, decision.exercise): decision.line for decision in decisions}
    waiting = [
        lines.get((result.key, mark.name))
        or {
            "student": safe_cell(result.student),
            "file": safe_cell(result.file),
            "key": result.key,
            "exercise": mark.name,
            "maximum": points_text(mark.max_points),
        }
        for result in results
        for mark in result.marks
        if mark.status == "needs_review"
    ]
    if kept or waiting or path.exists():
        rows = ([line.get(name, "") for name in COLUMNS] for line in (*waiting, *kept))
        write_text(EXCEL + csv_text([COLUMNS, *rows]), path)
    return len(waiting)
