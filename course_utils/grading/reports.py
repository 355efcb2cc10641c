"""Write everything that an instructor hands on: the page about the cohort, feedback, grade books, Gradescope's files."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from course_utils.files import write_bytes, write_text
from course_utils.grading import books, pages
from course_utils.grading.cohort import feedback_name, students
from course_utils.grading.result import NOT_FINAL, UNLISTED, Result

FEEDBACK_NAME = re.compile(r"[a-z0-9-]+-[0-9a-f]{10}\.html")  # what `feedback_name` gives


def write(
    results: Sequence[Result],
    out: Path,
    title: str = "Generative networks",
    absent: Sequence[str] = (),
    ignored: Sequence[str] = (),
) -> list[Path]:
    """Write all reports into `out`, and return their paths; the cohort page, `index.html`, comes first.

    `title` names the assignment: it is the header of Canvas's column. `absent` are students who handed in nothing,
    `ignored` files that are no notebooks. Pages of an earlier run that no result stands behind any more are removed.
    """
    cohort = students(results)
    names = {result.key: feedback_name(result) for result in results}
    places = pages.places({mark.lesson for result in results for mark in result.marks})
    texts = {
        out / "index.html": pages.cohort_page(results, cohort, names, title, absent, ignored),
        out / "grades.csv": books.EXCEL + books.grades_csv(cohort),
        out / "grades-canvas.csv": books.canvas_csv(cohort, title),
        out / "grades-moodle.csv": books.moodle_csv(cohort),
    }
    feedback = {result.key: pages.student_page(result, places, title) for result in results}
    for result in results:
        texts[out / "feedback" / names[result.key]] = feedback[result.key]
        if result.status != "infra_error":
            text = json.dumps(books.gradescope(result), indent=1, ensure_ascii=False)
            texts[out / "gradescope" / names[result.key].removesuffix(".html") / "results.json"] = text + "\n"
    for path, text in texts.items():
        write_text(text, path)
    archive = out / "feedback-moodle.zip"
    write_bytes(books.moodle_feedback(cohort, feedback), archive)
    _remove_stale(out, set(texts))
    return [*texts, archive]


def _remove_stale(out: Path, written: set[Path]) -> None:
    """Remove feedback of an earlier run, which somebody might hand back by mistake; nothing but what is named so."""
    for path in [*(out / "feedback").glob("*.html"), *(out / "gradescope").glob("*/results.json")]:
        name = path.name if path.suffix == ".html" else f"{path.parent.name}.html"
        if path not in written and FEEDBACK_NAME.fullmatch(name):
            path.unlink()
            if path.suffix == ".json":
                with contextlib.suppress(OSError):
                    path.parent.rmdir()


def what_waits(results: Sequence[Result], decisions: Path) -> list[str]:
    """What to do about the submissions that have no grade yet: a line for each kind of them."""
    waiting = Counter(each.status for each in results if not each.is_final)
    cohort = students(results)
    unlisted = sum(student.why == UNLISTED for student in cohort)
    several = [student for student in cohort if student.why and student.why not in (*NOT_FINAL, UNLISTED)]
    lines = []
    if waiting["needs_review"]:
        lines.append(
            f"{waiting['needs_review']} of {len(results)} wait for a person: write points into {decisions} and run the same "
            "command again."
        )
    if waiting["infra_error"]:
        lines.append(f"{waiting['infra_error']} of {len(results)} could not be graded yet: run the same command again.")
    if unlisted:
        lines.append(
            f"{unlisted} of {len(results)} files are not in the manifest: add them to it or take them away, and run the same "
            "command again."
        )
    if several:
        lines.append(
            f"{len(several)} of {len(cohort)} students handed in several files with different points: take away those "
            "that do not count, and run the same command again."
        )
    return lines
