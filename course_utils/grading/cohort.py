"""The class as its results show it: one row a student with the grade that may be passed on, and the exercises.

Points are never invented: where a person has to look first, or the machine failed, the grade stays empty, not 0.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from course_utils.grading.result import KNOWN_BY_ID, NOBODY, UNLISTED, Result


@dataclass(frozen=True)
class Student:
    """One row of a grade book: the files of one student, and the grade that follows from them.

    `points` is None where no grade may be passed on yet; `why` then says what is missing: a status that is not final, that
    several files have different points, or that the manifest does not name the file.
    """

    name: str
    identifier: str  # the number that Canvas or Moodle put into the file's name, or ""
    login: str  # the name in the manifest, where there is no number
    points: float | None
    why: str
    results: tuple[Result, ...]


def students(results: Iterable[Result]) -> list[Student]:
    """The students in the order of their names, each with the grade that may be passed on.

    Whoever has a number is known by it alone, as in the grade book: two names with one number share a row.
    """
    results_of: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in results:
        match = KNOWN_BY_ID.fullmatch(result.student)
        results_of[(match["id"], "") if match else ("", result.student)].append(result)
    rows = []
    for (identifier, login), theirs in results_of.items():
        points, why = _grade(theirs)
        rows.append(Student(theirs[0].display_name, identifier, login, points, why, tuple(theirs)))
    return sorted(rows, key=lambda row: (row.name.casefold(), row.identifier))


def _grade(results: Sequence[Result]) -> tuple[float | None, str]:
    """The points to pass on, or None and the reason."""
    if results[0].student.startswith(NOBODY):
        return None, UNLISTED
    not_final = [result.status for result in results if not result.is_final]
    if not_final:
        return None, not_final[0]
    totals = {result.points for result in results}
    if len(totals) > 1:
        return None, f"{len(results)} files with different points"
    return totals.pop(), ""


def exercise_names(results: Iterable[Result]) -> list[tuple[str, str]]:
    """Lesson and name of all exercises, lessons in order, exercises as the results list them."""
    seen = dict.fromkeys((mark.lesson, mark.name) for result in results for mark in result.marks)
    return sorted(seen, key=lambda exercise: exercise[0])


def feedback_name(result: Result) -> str:
    """The feedback page's file name: a person recognises it, every system takes it, and no student chooses it alone."""
    return f"{plain_name(result.display_name)}-{hashlib.sha256(result.key.encode()).hexdigest()[:10]}.html"


def plain_name(name: str) -> str:
    """A student's name in at most forty letters, digits and hyphens."""
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", letters.lower()).strip("-")[:40].strip("-") or "student"
