"""What a person decides about exercises that wait for one: `decisions.csv` beside the results.

Grading writes a line for each exercise that waits. The instructor fills in points and, if there is something to say to
the student, a reason, and runs the same command again: nothing is graded anew, and the reports have the points. Other
exercises may be given lines too. A decision is about one version of a file: a new one waits again.
"""

from __future__ import annotations

import copy
import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_utils.errors import CourseError
from course_utils.files import write_text
from course_utils.grading.reports import EXCEL, csv_text, safe_cell
from course_utils.grading.submissions import printable

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


def apply(results: Sequence[dict[str, Any]], decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    """Copies of the results with these points. A submission of which nothing waits any more has the status that it would
    have had without.

    Raises CourseError for points that an exercise cannot have and for exercises that a submission does not have.
    """
    decided = {(decision.key, decision.exercise): decision for decision in decisions if decision.points is not None}
    return [_decided(copy.deepcopy(result), decided) for result in results]


def _decided(result: dict[str, Any], decided: Mapping[tuple[str, str], Decision]) -> dict[str, Any]:
    mine = {exercise: decision for (key, exercise), decision in decided.items() if key == result["key"]}
    for mark in result["exercises"]:
        decision = mine.pop(mark["name"], None)
        if decision is not None:
            points = decision.points
            if points is None or not 0 <= points <= mark["max_points"]:
                raise CourseError(
                    f"{NAME}: {printable(result['file'])}: {mark['name']} gives 0 to {mark['max_points']} points, "
                    f"not {points}."
                )
            status = "accepted" if points else "declined"
            message = decision.reason or "a person has looked at it."
            mark |= {"status": status, "points": points, "mistake": None, "message": message}
    if mine:
        raise CourseError(f"{NAME}: {printable(result['file'])} has no exercise {printable(next(iter(mine)))!r}.")
    if result["status"] == "needs_review" and all(mark["status"] != "needs_review" for mark in result["exercises"]):
        result["status"] = "student_error" if result["reason"] else "graded"
    return result


def ask(results: Sequence[Mapping[str, Any]], decisions: Sequence[Decision], path: Path) -> int:
    """Write the file with a line for each exercise that waits; what is filled in stays. Returns how many wait."""
    kept = [decision.line for decision in decisions if decision.points is not None]
    lines = {(decision.key, decision.exercise): decision.line for decision in decisions}
    waiting = [
        lines.get((result["key"], mark["name"]))
        or {
            "student": safe_cell(result["student"]),
            "file": safe_cell(result["file"]),
            "key": result["key"],
            "exercise": mark["name"],
            "maximum": str(mark["max_points"]),
        }
        for result in results
        for mark in result["exercises"]
        if mark["status"] == "needs_review"
    ]
    if kept or waiting or path.exists():
        rows = ([line.get(name, "") for name in COLUMNS] for line in (*waiting, *kept))
        write_text(EXCEL + csv_text([COLUMNS, *rows]), path)
    return len(waiting)
