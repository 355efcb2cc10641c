"""From result files to what an instructor hands on: grade books, Gradescope's files, feedback pages, the cohort page.

Names, file names and messages were chosen by students: here they are made printable, and safe for the place they go
to. A spreadsheet runs cells that begin like a formula; Canvas reads a row whose name holds "Points Possible" as the
assignment's maximum. Points are never invented: where a person has to look first, or the machine failed, the grade
stays empty, not 0.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import math
import re
import unicodedata
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_utils.errors import CourseError
from course_utils.files import write_bytes, write_text
from course_utils.grading import pages
from course_utils.grading.submissions import printable

VERSION = 1  # of the result files
FIELDS = {
    "key": str,
    "student": str,
    "file": str,
    "status": str,
    "reason": str,
    "late": bool,
    "seconds": (int, float),
    "notes": list,
    "exercises": list,
}
EXERCISE_FIELDS = {
    "name": str,
    "lesson": str,
    "points": (int, float),
    "max_points": (int, float),
    "status": str,
    "message": str,
}
FORMULA = tuple("=+-@|%＝＋－＠−")  # what a cell must not begin with: a spreadsheet would compute it
OVERVIEW_COLUMNS = (
    *("Student", "ID", "SIS Login ID", "Identifier", "Grade", "Why no grade", "Points", "Maximum", "Status", "Late"),
    *("Deadline", "File", "Feedback", "Notes"),
)
EXCEL = "\ufeff"  # begins a file that Excel, opened by a double click, is to read as UTF-8
NO_MARKUP = str.maketrans("<>&", "‹›＆")  # escapes such as &lt; would bring a semicolon back into the cell
CANVAS_COLUMNS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
MOODLE_COLUMNS = ("Identifier", "Full name", "Grade", "Maximum Grade", "Last modified (grade)", "Feedback comments")
FEEDBACK_NAME = re.compile(r"[a-z0-9-]+-[0-9a-f]{10}\.html")
TEXT_LIMIT = 2_000  # characters of a message


@dataclass(frozen=True)
class Student:
    """One row of a grade book: the files of one student, and the grade that follows from them.

    `points` is None where no grade may be passed on yet; `why` then says what is missing.
    """

    name: str
    identifier: str  # the number that Canvas or Moodle put into the file's name, or ""
    login: str  # the name in the manifest, where there is no number
    points: float | None
    why: str
    results: tuple[dict[str, Any], ...]


def load(folder: Path) -> list[dict[str, Any]]:
    """The results in `folder`/*.json, by student and file. Raises CourseError for a file that is no result."""
    results = []
    for path in sorted(folder.glob("*.json")):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CourseError(f"{path} cannot be read as a result: {error}. Delete it and grade again.") from None
        problem = _problem(result)
        if problem:
            raise CourseError(f"{path} is not a result of this grader: {problem}. Delete it and grade again.")
        results.append(result)
    if not results:
        raise CourseError(f"there are no results in {folder}; `course grade` writes one JSON file a submission there")
    return sorted(results, key=lambda result: (result["student"], result["file"], result["key"]))


def _problem(result: Any) -> str:
    """What is wrong with a result file's content, or ""."""
    if not isinstance(result, dict) or result.get("version") != VERSION:
        return f"version {VERSION} was expected"
    problem = _wrong_field(result, FIELDS)
    if problem or result["status"] not in pages.STATES:
        return problem or f"the status is {printable(result['status'])!r}, not one of {', '.join(pages.STATES)}"
    for exercise in result["exercises"]:
        problem = _wrong_field(exercise, EXERCISE_FIELDS) if isinstance(exercise, dict) else "an exercise is no object"
        if problem:
            return problem
        if exercise["status"] not in pages.WORDS:
            return f"an exercise's status is {printable(exercise['status'])!r}"
        if not 0 <= exercise["points"] <= exercise["max_points"] < math.inf:
            return f"{exercise['points']} of {exercise['max_points']} points"
    return ""


def _wrong_field(content: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    wrong = [name for name, kind in fields.items() if not isinstance(content.get(name), kind)]
    return f"{wrong[0]} is {printable(repr(content.get(wrong[0])))}" if wrong else ""


def write(
    results: Sequence[dict[str, Any]],
    out: Path,
    title: str = "Generative networks",
    absent: Sequence[str] = (),
    ignored: Sequence[str] = (),
) -> list[Path]:
    """Write all reports into `out`, and return their paths; the cohort page, `index.html`, comes first.

    `title` names the assignment: it is the header of Canvas's column. `absent` are students who handed in nothing,
    `ignored` files that are no notebooks.
    Pages of an earlier run that no result stands behind any more are removed.
    """
    cohort = students(results)
    names = {result["key"]: feedback_name(result) for result in results}
    places = pages.places({exercise["lesson"] for result in results for exercise in result["exercises"]})
    written = {
        out / "index.html": pages.cohort_page(results, cohort, names, title, absent, ignored),
        out / "grades.csv": EXCEL + grades_csv(cohort),
        out / "grades-canvas.csv": canvas_csv(cohort, title),
        out / "grades-moodle.csv": moodle_csv(cohort),
    }
    feedback = {result["key"]: pages.student_page(result, places, title) for result in results}
    for result in results:
        written[out / "feedback" / names[result["key"]]] = feedback[result["key"]]
        if result["status"] != "infra_error":
            text = json.dumps(gradescope(result), indent=1, ensure_ascii=False)
            written[out / "gradescope" / names[result["key"]].removesuffix(".html") / "results.json"] = text + "\n"
    for path, text in written.items():
        write_text(text, path)
    archive = out / "feedback-moodle.zip"
    write_bytes(moodle_feedback(cohort, feedback), archive)
    _remove_stale(out, set(written))
    return [*written, archive]


def _remove_stale(out: Path, written: set[Path]) -> None:
    """Remove feedback of an earlier run, which somebody might hand back by mistake; nothing but what is named so."""
    found = [*(out / "feedback").glob("*.html"), *(out / "gradescope").glob("*/results.json")]
    for path in found:
        name = path.name if path.suffix == ".html" else f"{path.parent.name}.html"
        if path not in written and FEEDBACK_NAME.fullmatch(name):
            path.unlink()
            if path.suffix == ".json":
                with contextlib.suppress(OSError):
                    path.parent.rmdir()


def feedback_name(result: Mapping[str, Any]) -> str:
    """A file name that a person recognises, that every system takes, and that no student chooses alone."""
    plain = _plain(pages.display_name(result["student"]))
    return f"{plain}-{hashlib.sha256(result['key'].encode()).hexdigest()[:10]}.html"


def _plain(name: str) -> str:
    """A student's name in at most forty letters, digits and hyphens."""
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", letters.lower()).strip("-")[:40].strip("-") or "student"


# -- one row a student -------------------------------------------------------------------------------------------


def students(results: Iterable[dict[str, Any]]) -> list[Student]:
    """The students in the order of their names, each with the grade that may be passed on.

    Whoever has a number is known by it alone, as in the grade book: two names with one number share a row.
    """
    of: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        match = pages.KNOWN_BY_ID.fullmatch(result["student"])
        of[(match["id"], "") if match else ("", result["student"])].append(result)
    rows = []
    for (identifier, login), theirs in of.items():
        student = theirs[0]["student"]
        points, why = _grade(theirs)
        rows.append(Student(pages.display_name(student), identifier, login, points, why, tuple(theirs)))
    return sorted(rows, key=lambda row: (row.name.casefold(), row.identifier))


def _grade(results: Sequence[Mapping[str, Any]]) -> tuple[float | None, str]:
    """The points to pass on, or None and the reason."""
    open_ones = [result for result in results if result["status"] in pages.NOT_FINAL]
    if open_ones:
        return None, open_ones[0]["status"]
    totals = {pages.total(result)[0] for result in results}
    if len(totals) > 1:
        return None, f"{len(results)} files with different points"
    return totals.pop(), ""


# -- CSV ---------------------------------------------------------------------------------------------------------


def safe_cell(text: str) -> str:
    """Text for a CSV cell that no spreadsheet takes for a formula, wherever it is set to split a line.

    A semicolon separates columns in half of Europe's spreadsheets: what follows it would be a cell of its own.
    """
    text = printable(text, TEXT_LIMIT).replace(";", ",")
    return "'" + text if text.startswith(FORMULA) else text


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """The text of a CSV file: commas, quotes where they must be, lines that end as RFC 4180 wants it."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerows(rows)
    return buffer.getvalue()


def grades_csv(cohort: Sequence[Student]) -> str:
    """Everything in one table, for people: one line a submission, one column an exercise.

    Its first columns are those by which Canvas (Student, ID, SIS Login ID) and Moodle (Identifier) know a student.
    """
    exercises = pages.exercise_names(result for row in cohort for result in row.results)
    headers = (*OVERVIEW_COLUMNS, *(safe_cell(f"{lesson} {name}") for lesson, name in exercises))
    return csv_text([headers, *(_overview_line(row, result, exercises) for row in cohort for result in row.results)])


def _overview_line(row: Student, result: Mapping[str, Any], exercises: Sequence[tuple[str, str]]) -> list[str]:
    marks = {(mark["lesson"], mark["name"]): pages.number(mark["points"]) for mark in result["exercises"]}
    points, most = pages.total(result)
    return [
        safe_cell(row.name),
        row.identifier,
        safe_cell(row.login),
        _participant(row),
        _grade_text(row),
        safe_cell(row.why),
        pages.number(points),
        pages.number(most),
        result["status"],
        "late" if result["late"] else "",
        safe_cell(result.get("deadline") or ""),
        safe_cell(result["file"]),
        f"feedback/{feedback_name(result)}",
        safe_cell(" | ".join(pages.remarks(result))),
        *(marks.get(exercise, "") for exercise in exercises),
    ]


def _grade_text(row: Student) -> str:
    return "" if row.points is None else pages.number(row.points)


def canvas_csv(cohort: Sequence[Student], title: str) -> str:
    """The file that Canvas's grade book imports: five columns about the student, one about the assignment.

    Canvas takes every further column for an assignment, and looks for the student by ID, then login, then name. An
    empty cell would take away a grade that Canvas has, so whoever has none yet is left out.
    """
    maximum = max((pages.total(result)[1] for row in cohort for result in row.results), default=0)
    rows = [[*CANVAS_COLUMNS, safe_cell(title)], ["    Points Possible", "", "", "", "", pages.number(maximum)]]
    for row in cohort:
        if row.points is None:
            continue
        name = re.sub("points possible", "points_possible", safe_cell(row.name), flags=re.IGNORECASE)
        rows.append([name, row.identifier, "", safe_cell(row.login), "", _grade_text(row)])
    return csv_text(rows)


def moodle_csv(cohort: Sequence[Student]) -> str:
    """Moodle's offline grading worksheet, for those whom Moodle's download gave a number.

    Moodle wants the columns Identifier, Grade and Last modified (grade), and takes feedback comments for HTML.
    """
    rows: list[Sequence[str]] = [MOODLE_COLUMNS]
    for row in _for_moodle(cohort):
        maximum = max(pages.total(result)[1] for result in row.results)
        comment = safe_cell(" ".join(_summary(result) for result in row.results)).translate(NO_MARKUP)
        line = [_participant(row), safe_cell(row.name), _grade_text(row), pages.number(maximum), "-", comment]
        rows.append(line)
    return csv_text(rows)


def moodle_feedback(cohort: Sequence[Student], feedback: Mapping[str, str]) -> bytes:
    """The zip file that Moodle takes for feedback files: the pages, given by key, of those whom its worksheet lists.

    Moodle reads the number in the directory's name, and replaces a student's file that has the same name already:
    hence names that stay the same when a submission is graded again (mod/assign/feedback/file/importziplib.php).
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for row in _for_moodle(cohort):
            for number, result in enumerate(row.results, start=1):
                name = "feedback.html" if number == 1 else f"feedback-{number}.html"
                entry = zipfile.ZipInfo(f"{_plain(row.name)}_{row.identifier}_assignsubmission_file/{name}")
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, feedback[result["key"]], zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _for_moodle(cohort: Sequence[Student]) -> list[Student]:
    """Those whom Moodle knows by a number, and who have a grade."""
    return [row for row in cohort if row.identifier and row.points is not None]


def _participant(row: Student) -> str:
    return f"Participant {row.identifier}" if row.identifier else ""


def _summary(result: Mapping[str, Any]) -> str:
    """One sentence on a submission."""
    right = [mark["name"] for mark in result["exercises"] if pages.is_solved(mark)]
    others = [mark["name"] for mark in result["exercises"] if not pages.is_solved(mark)]
    parts = [f"Right: {', '.join(right) or 'none'}."]
    if others:
        parts.append(f"Not yet: {', '.join(others)}.")
    return " ".join([*parts, *filter(None, [result["reason"]])])


# -- Gradescope --------------------------------------------------------------------------------------------------


def gradescope(result: Mapping[str, Any]) -> dict[str, Any]:
    """The content of Gradescope's results.json: one test an exercise, plain text throughout.

    Raises ValueError for a submission that could not be graded: without a file Gradescope says so, and gives no 0.
    """
    if result["status"] == "infra_error":
        raise ValueError(f"{printable(result['file'])} was not graded; there is no score to pass on")
    tests = [
        {
            "name": f"{mark['lesson']} {printable(mark['name'])}",
            "score": mark["points"],
            "max_score": mark["max_points"],
            "status": "passed" if pages.is_solved(mark) else "failed",
            "output": pages.plain(mark["message"]),
            "output_format": "text",
            "name_format": "text",
            "visibility": "visible",
        }
        for mark in result["exercises"]
    ]
    remarks = pages.remarks(result)
    if result["status"] == "needs_review":
        remarks.insert(0, "A person looks at this submission before the points are final.")
    return {
        "score": pages.total(result)[0],
        "execution_time": round(result["seconds"]),
        "output": "\n".join(pages.plain(remark) for remark in remarks),
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
        "extra_data": {"status": result["status"], "course_version": printable(str(result.get("course_version", "")))},
    }
