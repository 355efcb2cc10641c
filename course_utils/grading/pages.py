"""The feedback page of a student and the page about the cohort: one HTML file each, without scripts or other files.

The pages stand in `templates/`. Whatever a student had a hand in is made visible and escaped where a template puts it
in (`visible`); should one place be forgotten, the page's content security policy still forbids scripts, forms and
everything from elsewhere.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from course_utils import errors, templates
from course_utils.display import code_as_html
from course_utils.grading.cohort import Student, exercise_names
from course_utils.grading.result import STATES, UNLISTED, Mark, Result, display_name, points_text
from course_utils.grading.text import LINE_LIMIT, plain, printable, spoken
from course_utils.notebooks import find, ipynb

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
BINS = 10  # columns of a histogram
GAP = 0.4  # between the segments of a bar, in percent of its length: not only colours tell them apart
FILES = 100  # that were not graded, named on the cohort's page
MISTAKES = 12  # rows about the most common ones
# The groups of an exercise's statuses, in the order of a bar's segments.
GROUPS = {
    "right": "right",
    "nearly": "nearly right: all but edge cases",
    "known": "a known mistake",
    "wrong": "wrong or an error",
    "open": "not attempted or not found",
    "review": "waits for a person or another run",
}
# What an instructor does about a student without a grade, by the reason; any other reason is that of several files.
REMEDIES = {
    "needs_review": "needs review: write points into `decisions.csv`, beside this page, and run the same command again.",
    "infra_error": "infra error: the fault is the machine's. Run the same command again.",
    UNLISTED: f"{UNLISTED}: add the file to the manifest or, if nobody who is enrolled has handed it in, take it away.",
}
SEVERAL = "several files with different points: take away those that do not count, and run the same command again."


# -- where to read again -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where the course explains an exercise: the lesson's title, its section, and the exercise's own heading."""

    lesson: str
    section: str
    heading: str


def places(lessons: Iterable[str]) -> dict[str, Place]:
    """Where to read about the exercises of these lessons, by name; empty where the notebooks are not at hand."""
    place_of: dict[str, Place] = {}
    try:
        wanted = set(lessons)
        for lesson in find.lessons(find.find_root()):
            if lesson.number in wanted:
                place_of |= _places(ipynb.read(lesson.path), lesson.title)
    except errors.CourseError:
        return place_of
    return place_of


def _places(notebook: Any, title: str) -> dict[str, Place]:
    place_of, section, heading = {}, "", ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for level, text in re.findall(r"^(##+) +(.+)$", cell.source, re.MULTILINE):
                section, heading = (text, "") if level == "##" else (section, text)
            continue
        name = ipynb.exercise_name(cell)
        if name:
            place_of[name] = Place(title, section, heading)
    return place_of


# -- what templates put in ---------------------------------------------------------------------------------------


def visible(value: Any) -> Any:
    """A value as a template may put it in: of text one line, whose control and direction characters can be seen."""
    return printable(value, LINE_LIMIT) if isinstance(value, str) and not isinstance(value, Markup) else value


def message(text: str) -> Markup:
    """A message as HTML for the body of a page: escaped, its lines kept, `code` between backticks set as code."""
    lines = []
    for line in plain(text).split("\n"):
        body = code_as_html(line.strip())
        lines.append(f'<span class="in">{body}</span>' if line.startswith("    ") else body)
    return Markup("<br>".join(lines).replace('<br><span class="in">', '<span class="in">'))


def short(value: float) -> str:
    """A number of points or seconds with one digit after the point at most."""
    return points_text(round(value, 1))


@functools.cache
def _environment() -> Environment:
    """Templates that make visible and escape whatever they put in."""
    environment = templates.environment(TEMPLATES, finalize=visible)
    environment.filters |= {"message": message, "points": points_text, "short": short, "spoken": spoken}
    return environment


# -- the pages ---------------------------------------------------------------------------------------------------


def student_page(result: Result, places: Mapping[str, Place], title: str) -> str:
    """What a student gets back: points, and for each exercise its state, what was found, and where to read again."""
    template = _environment().get_template("student.html")
    return template.render(result=result, places=places, title=title, states=STATES)


def cohort_page(
    results: Sequence[Result],
    cohort: Sequence[Student],
    feedback: Mapping[str, str],
    title: str,
    absent: Sequence[str] = (),
    ignored: Sequence[str] = (),
) -> str:
    """The instructor's page: who waits for a person, where the class fails and at which mistakes, times, all students.

    `feedback` maps the keys of results to the file names of the feedback pages; `absent` handed in nothing, and
    `ignored` are files that are no notebooks.
    """
    template = _environment().get_template("cohort.html")
    return template.render(
        title=title,
        results=results,
        cohort=cohort,
        feedback=feedback,
        absent=[display_name(student) for student in absent],
        ignored=ignored,
        files=FILES,
        groups=GROUPS,
        **_waiting(cohort),
        **_figures(results, cohort),
    )


def _waiting(cohort: Sequence[Student]) -> dict[str, Any]:
    """Who waits for a person, with what to look at, and what is to be done about them."""
    asked = {REMEDIES.get(row.why, SEVERAL) for row in cohort if row.why}
    return {
        "waiting": [(row, result, _why(result)) for row in cohort if row.why for result in row.results],
        "remedies": [remedy for remedy in (*REMEDIES.values(), SEVERAL) if remedy in asked],
    }


def _why(result: Result) -> str:
    """What the exercises that wait for a person say, else the reason for a submission's state, else its points."""
    waiting = [f"{mark.name}: {mark.message}" for mark in result.marks if mark.status == "needs_review"]
    if result.status != "needs_review" or not waiting:
        waiting = [result.reason or f"{result.file}: {points_text(result.points)} points"]
    return "\n".join(waiting)


# -- figures of the cohort's page --------------------------------------------------------------------------------


def _figures(results: Sequence[Result], cohort: Sequence[Student]) -> dict[str, Any]:
    """All that is counted."""
    grades = [row.points for row in cohort if row.points is not None]
    counts = Counter(result.status for result in results)
    return {
        "middle": median(grades) if grades else None,
        "states": [(status, counts[status]) for status in STATES if counts[status]],
        "late": sum(result.late for result in results),
        "versions": sorted({result.course_version for result in results} - {""}),
        "rates": _solve_rates(results),
        "mistakes": _mistakes(results),
        "points": _points(results, grades),
        "seconds": _seconds(results),
        "peak_memory": max((result.peak_memory for result in results), default=0),
    }


@dataclass(frozen=True)
class Segment:
    """A part of a bar: its group, where it begins, and its width, both in percent of the bar."""

    group: str
    x: float
    width: float


@dataclass(frozen=True)
class Rate:
    """How many solved an exercise: `right` of the `judged`, and all submissions as a bar that `said` describes."""

    lesson: str
    name: str
    right: int
    judged: int
    segments: tuple[Segment, ...]
    said: str


def _solve_rates(results: Sequence[Result]) -> list[Rate]:
    """How many solved each exercise, in the order of the lessons."""
    rates = []
    for lesson, name in exercise_names(results):
        marks = [mark for result in results for mark in result.marks if (mark.lesson, mark.name) == (lesson, name)]
        rates.append(_rate(lesson, name, marks))
    return rates


def _rate(lesson: str, name: str, marks: Sequence[Mark]) -> Rate:
    counts = Counter(mark.word.group for mark in marks)
    segments, x = [], 0.0
    for group in GROUPS:
        width = 100 * counts[group] / len(marks)
        if width:
            segments.append(Segment(group, x, width - GAP))
        x += width
    said = ", ".join(f"{counts[group]} {text}" for group, text in GROUPS.items() if counts[group])
    return Rate(lesson, name, counts["right"], len(marks) - counts["review"], tuple(segments), said)


def _mistakes(results: Sequence[Result]) -> list[tuple[int, str, str]]:
    """The most common mistakes: how often, in which exercise, and what was said about it most often."""
    counts: Counter[tuple[str, str]] = Counter()
    sentences: dict[tuple[str, str], Counter[str]] = {}
    for mark in (mark for result in results for mark in result.marks):
        if mark.mistake:
            what = (mark.name, mark.mistake)
            counts[what] += 1
            sentences.setdefault(what, Counter())[mark.message] += 1
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MISTAKES]
    return [(count, what[0], sentences[what].most_common(1)[0][0]) for what, count in most]


@dataclass(frozen=True)
class Column:
    """A column of a histogram: left end and width in percent of the figure, height up to 28, and what it counts."""

    x: float
    width: float
    height: float
    count: int


@dataclass(frozen=True)
class Histogram:
    """Columns over 0 … `most` of some unit; `what` they count; `said` tells it in a sentence."""

    columns: tuple[Column, ...]
    most: float
    unit: str
    what: str
    said: str


def histogram(values: Sequence[float], most: float, unit: str, what: str, bins: int = BINS) -> Histogram:
    """Columns over 0 … `most`, the last one with its right end; `most` + 1 columns give one to each whole number."""
    counts = Counter(min(int(bins * value / most), bins - 1) for value in values)
    tallest, width = max(counts.values()), 100 / bins
    columns = tuple(
        Column(place * width + 0.5, width - 1, 28 * count / tallest, count) for place, count in sorted(counts.items())
    )
    said = f"{len(values)} {what}: from {short(min(values))} to {short(max(values))} {unit}, "
    said += f"median {short(median(values))}; the tallest column is {tallest}."
    return Histogram(columns, most, unit, what, said)


def _points(results: Sequence[Result], grades: Sequence[float]) -> Histogram | None:
    """The grades that may be passed on; None where there are none."""
    most = max((result.max_points for result in results), default=0)
    if not grades or not most:
        return None
    return histogram(grades, most, "points", "students", int(most) + 1 if most <= 2 * BINS else BINS)


def _seconds(results: Sequence[Result]) -> Histogram | None:
    """How long it took to grade a submission; None where no code was run."""
    seconds = [result.seconds for result in results if result.status not in ("unreadable", "infra_error")]
    return histogram(seconds, max(*seconds, 1.0), "seconds", "submissions") if seconds else None
