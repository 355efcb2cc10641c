"""Grade books: the tables that people, Canvas and Moodle read, Moodle's feedback files, and Gradescope's results.

Names, file names and messages were chosen by students: here they are made printable, and safe for the place they go
to. A spreadsheet runs cells that begin like a formula; Canvas reads a row whose name holds "Points Possible" as the
assignment's maximum.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from course_utils.grading.cohort import Student, exercise_names, feedback_name, plain_name
from course_utils.grading.result import Result, points_text
from course_utils.grading.text import plain, printable

FORMULA = tuple("=+-@|%＝＋－＠−")  # what a cell must not begin with: a spreadsheet would compute it
OVERVIEW_COLUMNS = (
    *("Student", "ID", "SIS Login ID", "Identifier", "Grade", "Why no grade", "Points", "Maximum", "Status", "Late"),
    *("Deadline", "File", "Feedback", "Notes"),
)
EXCEL = "\ufeff"  # begins a file that Excel, opened by a double click, is to read as UTF-8
NO_MARKUP = str.maketrans("<>&", "‹›＆")  # escapes such as &lt; would bring a semicolon back into the cell
CANVAS_COLUMNS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
MOODLE_COLUMNS = ("Identifier", "Full name", "Grade", "Maximum Grade", "Last modified (grade)", "Feedback comments")
TEXT_LIMIT = 2_000  # characters of a message


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
    exercises = exercise_names(result for row in cohort for result in row.results)
    headers = (*OVERVIEW_COLUMNS, *(safe_cell(f"{lesson} {name}") for lesson, name in exercises))
    return csv_text([headers, *(_overview_line(row, result, exercises) for row in cohort for result in row.results)])


def _overview_line(row: Student, result: Result, exercises: Sequence[tuple[str, str]]) -> list[str]:
    points_of = {(mark.lesson, mark.name): points_text(mark.points) for mark in result.marks}
    return [
        safe_cell(row.name),
        row.identifier,
        safe_cell(row.login),
        _participant(row),
        _grade_text(row),
        safe_cell(row.why),
        points_text(result.points),
        points_text(result.max_points),
        result.status,
        "late" if result.late else "",
        safe_cell(result.deadline),
        safe_cell(result.file),
        f"feedback/{feedback_name(result)}",
        safe_cell(" | ".join(result.remarks)),
        *(points_of.get(exercise, "") for exercise in exercises),
    ]


def _grade_text(row: Student) -> str:
    return "" if row.points is None else points_text(row.points)


# -- Canvas and Moodle -------------------------------------------------------------------------------------------


def canvas_csv(cohort: Sequence[Student], title: str) -> str:
    """The file that Canvas's grade book imports: five columns about the student, one about the assignment.

    Canvas takes every further column for an assignment, and looks for the student by ID, then login, then name. An
    empty cell would take away a grade that Canvas has, so whoever has none yet is left out.
    """
    maximum = max((result.max_points for row in cohort for result in row.results), default=0)
    rows = [[*CANVAS_COLUMNS, safe_cell(title)], ["    Points Possible", "", "", "", "", points_text(maximum)]]
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
        maximum = points_text(max(result.max_points for result in row.results))
        comment = safe_cell(" ".join(_summary(result) for result in row.results)).translate(NO_MARKUP)
        rows.append([_participant(row), safe_cell(row.name), _grade_text(row), maximum, "-", comment])
    return csv_text(rows)


def moodle_feedback(cohort: Sequence[Student], feedback: Mapping[str, str]) -> bytes:
    """The zip file that Moodle takes for feedback files: the pages, given by key, of those whom its worksheet lists.

    Moodle reads the number in the directory's name, and replaces a student's file that has the same name already:
    hence names that stay the same when a submission is graded again (mod/assign/feedback/file/importziplib.php).
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for row in _for_moodle(cohort):
            for count, result in enumerate(row.results, start=1):
                name = "feedback.html" if count == 1 else f"feedback-{count}.html"
                entry = zipfile.ZipInfo(f"{plain_name(row.name)}_{row.identifier}_assignsubmission_file/{name}")
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, feedback[result.key], zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _for_moodle(cohort: Sequence[Student]) -> list[Student]:
    """Those whom Moodle knows by a number, and who have a grade."""
    return [row for row in cohort if row.identifier and row.points is not None]


def _participant(row: Student) -> str:
    return f"Participant {row.identifier}" if row.identifier else ""


def _summary(result: Result) -> str:
    """One sentence on a submission."""
    right = [mark.name for mark in result.marks if mark.is_solved]
    nearly = [mark.name for mark in result.marks if mark.word.group == "nearly"]
    others = [mark.name for mark in result.marks if mark.name not in (*right, *nearly)]
    parts = [f"Right: {', '.join(right) or 'none'}."]
    for words, named in (("Nearly right", nearly), ("Not yet", others)):
        if named:
            parts.append(f"{words}: {', '.join(named)}.")
    return " ".join([*parts, *filter(None, [result.reason])])


# -- Gradescope --------------------------------------------------------------------------------------------------


def gradescope(result: Result) -> dict[str, Any]:
    """The content of Gradescope's results.json: one test an exercise, plain text throughout.

    Raises ValueError for a submission that could not be graded: without a file Gradescope says so, and gives no 0.
    """
    if result.status == "infra_error":
        raise ValueError(f"{printable(result.file)} was not graded; there is no score to pass on")
    tests = [
        {
            "name": printable(f"{mark.lesson} {mark.name}"),
            "score": mark.points,
            "max_score": mark.max_points,
            "status": "passed" if mark.is_solved else "failed",
            "output": plain(mark.message),
            "output_format": "text",
            "name_format": "text",
            "visibility": "visible",
        }
        for mark in result.marks
    ]
    remarks = result.remarks
    if result.status == "needs_review":
        remarks.insert(0, "A person looks at this submission before the points are final.")
    return {
        "score": result.points,
        "execution_time": round(result.seconds),
        "output": "\n".join(plain(remark) for remark in remarks),
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
        "extra_data": {"status": result.status, "course_version": printable(result.course_version)},
    }
