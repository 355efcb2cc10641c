"""The feedback page of a student and the page about the cohort: one HTML file each, without scripts or other files.

Whatever a student had a hand in passes through `escape`; should one place be forgotten, the page's content security
policy still forbids scripts, forms and everything from elsewhere.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from course_utils import errors
from course_utils.grading.submissions import printable, spoken
from course_utils.notebooks import find, ipynb

if TYPE_CHECKING:
    from course_utils.grading.reports import Student

LINE_LIMIT = 600  # characters of one line of a message
LINES = 12  # lines of a message
BINS = 10  # columns of a histogram
GAP = 0.4  # between the segments of a bar, in percent of its length: not only colours tell them apart
# An exercise's status: its mark, what it is called, the class that colours it.
WORDS = {
    "right": ("✔", "right", "right"),
    "diagnosed": ("✘", "not yet right: a known mistake", "known"),
    "wrong": ("✘", "not yet right", "wrong"),
    "error": ("✘", "stopped with an error", "wrong"),
    "not attempted": ("…", "not attempted", "open"),
    "missing": ("…", "not found", "open"),
    "needs_review": ("?", "a person will look at it", "review"),
    "accepted": ("✎", "points given by a person", "right"),
    "declined": ("✎", "a person gave no points", "wrong"),
    "infra_error": ("?", "not graded yet", "review"),
}
GROUPS = {
    "right": "right",
    "known": "a known mistake",
    "wrong": "wrong or an error",
    "open": "not attempted or not found",
    "review": "waits for a person or another run",
}
# A submission's status, as students read it. Before a person, or another run, has settled those in NOT_FINAL, no grade
# is passed on.
STATES = {
    "graded": "graded",
    "student_error": "the code ended the grader's process, or had to be stopped; the other exercises were graded",
    "unreadable": "the file could not be read as a notebook",
    "needs_review": "a person will look at it before the points are final",
    "infra_error": "it could not be graded yet, for a reason that is not in the notebook; it will be tried again",
}
NOT_FINAL = ("needs_review", "infra_error")
KNOWN_BY_ID = re.compile(r"(?P<name>.+)_(?P<id>[0-9]{1,18})", re.DOTALL)  # a student in Canvas and Moodle
# What an instructor does about a student without a grade, by the reason; any other reason is that of several files.
REMEDIES = {
    "needs_review": "needs review: write points into <code>decisions.csv</code>, beside this page, and run the same "
    "command again.",
    "infra_error": "infra error: the fault is the machine's. Run the same command again.",
}
SEVERAL = "several files with different points: take away those that do not count, and run the same command again."
FILES = 100  # that were not graded, named on the cohort's page
UNREADABLE = (
    "Open the notebook once more where you wrote it, save it, download it as a notebook (.ipynb), and look whether it "
    "opens again before you hand it in."
)
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
STYLE = """
:root { color-scheme: light dark; --ink: #1f1f1f; --paper: #fff; --soft: #5a5f66; --line: #d9dce1; --box: #f5f6f8;
  --right: #0b7a4b; --known: #8a5200; --wrong: #b3261e; --open: #6b7078; --review: #5b4bb5 }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #17191c; --soft: #a9afb8; --line: #3a3f46;
  --box: #22252a; --right: #4cc38a; --known: #f0a53c; --wrong: #ff8a80; --open: #9aa1ab; --review: #b3a6ff } }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 62rem;
  margin: 0 auto; padding: 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0 } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
h3 { font-size: 1rem; margin: 0 }
.soft { color: var(--soft) } .big { font-size: 1.25rem; font-weight: 600; margin: .3rem 0 }
.card { background: var(--box); border-left: 4px solid var(--c); border-radius: 4px; padding: .7rem .9rem;
  margin: .8rem 0 }
.card p { margin: .4rem 0 0 } .state { color: var(--c); font-weight: 600 }
.right { --c: var(--right) } .known { --c: var(--known) } .wrong { --c: var(--wrong) } .open { --c: var(--open) }
.review { --c: var(--review) }
code { font: .9em ui-monospace, monospace; background: color-mix(in srgb, var(--soft) 15%, transparent);
  padding: 0 .2em; border-radius: 3px } .in { display: block; padding-left: 1.5em }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line) }
td, th { overflow-wrap: break-word } th { white-space: nowrap } td.text { min-width: 16rem }
td.file { min-width: 12rem; overflow-wrap: anywhere; color: var(--soft); font-size: .85rem }
td.n, th.n { text-align: right; white-space: nowrap } td.name { white-space: nowrap; overflow-wrap: normal }
td.bar { width: 45%; min-width: 8rem; vertical-align: middle } a { color: inherit }
svg { display: block; width: 100% } rect { fill: var(--c) } rect.known, .key.known { fill: #d9902f; background: #d9902f } .columns rect { fill: var(--review) }
.scale { display: flex; justify-content: space-between; color: var(--soft); font-size: .85rem }
figure { margin: .5rem 0; max-width: 30rem } figcaption { color: var(--soft); font-size: .9rem }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; background: var(--c) }
.legend span { margin-right: 1.2em; white-space: nowrap }
@media (max-width: 34rem) { td.bar { min-width: 6rem } th, td { font-size: .9rem } .extra { display: none } }
"""


@dataclass(frozen=True)
class Place:
    """Where the course explains an exercise: the lesson's title, its section, and the exercise's own heading."""

    lesson: str
    section: str
    heading: str


def places(lessons: Iterable[str]) -> dict[str, Place]:
    """Where to read about the exercises of these lessons, by name; empty where the notebooks are not at hand."""
    found: dict[str, Place] = {}
    try:
        existing = find.lessons(find.find_root())
        wanted = set(lessons)
        for lesson in existing:
            if lesson.number in wanted:
                found |= _places(ipynb.read(lesson.path), lesson.title)
    except errors.CourseError:
        return found
    return found


def _places(notebook: Any, title: str) -> dict[str, Place]:
    found, section, heading = {}, "", ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for level, text in re.findall(r"^(##+) +(.+)$", cell.source, re.MULTILINE):
                section, heading = (text, "") if level == "##" else (section, text)
            continue
        name = ipynb.exercise_name(cell)
        if name:
            found[name] = Place(title, section, heading)
    return found


# -- text --------------------------------------------------------------------------------------------------------


def escape(text: str) -> str:
    """Text as HTML, fit for attributes too; control and direction characters are made visible."""
    return html.escape(printable(text, LINE_LIMIT))


def plain(text: str) -> str:
    """A message of several lines with nothing in it that steers a terminal or turns a line round."""
    lines = text.split("\n")
    kept = [printable(line, LINE_LIMIT) for line in lines[:LINES]]
    indents = ["    " if line.startswith("    ") else "" for line in lines]
    return "\n".join(indent + line for indent, line in zip(indents, kept, strict=False))


def rich(text: str) -> str:
    """A message as HTML: its lines, and `code` between backticks."""
    lines = []
    for line in plain(text).split("\n"):
        body = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(line.strip()))
        lines.append(f'<span class="in">{body}</span>' if line.startswith("    ") else body)
    return "<br>".join(lines).replace('<br><span class="in">', '<span class="in">')


def number(value: float) -> str:
    """Points without a superfluous .0; a dot, whatever the machine's language."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def total(result: Mapping[str, Any]) -> tuple[float, float]:
    """The points of a submission, and how many there are to be had."""
    marks = result["exercises"]
    return sum(mark["points"] for mark in marks), sum(mark["max_points"] for mark in marks)


def is_solved(mark: Mapping[str, Any]) -> bool:
    """Whether an exercise is right, or a person has given points for it."""
    return WORDS[mark["status"]][2] == "right"


def remarks(result: Mapping[str, Any]) -> list[str]:
    """What there is to say about a submission as a whole: the reason for its state, and notes."""
    return [text for text in (result["reason"], *map(str, result["notes"])) if text]


def display_name(student: str) -> str:
    """The student's name without the number that Canvas and Moodle append."""
    match = KNOWN_BY_ID.fullmatch(student)
    return printable(match["name"] if match else student) or "unnamed"


def exercise_names(results: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Lesson and name of all exercises, lessons in order, exercises as the results list them."""
    seen = dict.fromkeys((mark["lesson"], mark["name"]) for result in results for mark in result["exercises"])
    return sorted(seen, key=lambda exercise: exercise[0])


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


# -- the student's page ------------------------------------------------------------------------------------------


def student_page(result: Mapping[str, Any], places: Mapping[str, Place], title: str) -> str:
    """What a student gets back: points, and for each exercise its state, what was found, and where to read again."""
    points, most = total(result)
    final = ", not final" if result["status"] in NOT_FINAL else ""
    name = display_name(result["student"])
    parts = [
        f"<h1>{escape(title)}: feedback for {escape(name)}</h1>",
        f'<p class="big">{number(points)} of {number(most)} points{final}</p>',
        f"<p>{escape(result['file'])}{_lateness(result)}</p>",
    ]
    if result["status"] != "graded":
        colour = "wrong" if result["status"] in ("unreadable", "student_error") else "review"
        why = f"<p>{rich(result['reason'])}</p>" if result["reason"] else ""
        parts.append(f'<section class="card {colour}"><h3>{escape(STATES[result["status"]])}</h3>{why}</section>')
    if result["status"] == "unreadable":
        parts.append(f"<p>{UNREADABLE}</p>")
    else:
        parts.append("<h2>Exercises</h2>")
        parts += [_card(mark, places.get(mark["name"])) for mark in result["exercises"]]
    if result["notes"]:
        items = "".join(f"<li>{rich(str(note))}</li>" for note in result["notes"])
        parts.append(f"<h2>Notes on the file</h2><ul>{items}</ul>")
    parts.append(f'<p class="soft">{_method(result)}</p>')
    return _page(f"Feedback for {name}", "\n".join(parts))


def _lateness(result: Mapping[str, Any]) -> str:
    deadline = f" (deadline {escape(spoken(result['deadline']))})" if result.get("deadline") else ""
    return f" · handed in late{deadline}" if result["late"] else ""


def _card(mark: Mapping[str, Any], place: Place | None) -> str:
    sign, word, colour = WORDS[mark["status"]]
    heading = escape(place.heading) if place and place.heading else f"Lesson {escape(mark['lesson'])}"
    again = "" if is_solved(mark) or mark["status"] == "infra_error" else _read_again(mark, place)
    return (
        f'<section class="card {colour}"><h3>{heading} · <code>{escape(mark["name"])}</code></h3>'
        f'<p><span class="state">{sign} {word}</span> · {number(mark["points"])} of {number(mark["max_points"])}'
        f" points</p><p>{rich(mark['message'])}</p>{again}</section>"
    )


def _read_again(mark: Mapping[str, Any], place: Place | None) -> str:
    where = f"lesson {escape(mark['lesson'])}"
    if place:
        section = f", section “{escape(place.section)}”" if place.section else ""
        where = f"lesson “{escape(place.lesson)}”{section}"
    return (
        f'<p class="soft">Read again: {where}. In the notebook, <code>hint({escape(mark["name"])})</code> helps on.</p>'
    )


def _method(result: Mapping[str, Any]) -> str:
    version = f" Graded with the exercises of course version {escape(str(result['course_version']))}." * bool(
        result.get("course_version")
    )
    return (
        "Each function was called with inputs that nobody has seen before, and its results were compared with those of "
        "a correct one. An exercise gives all its points or none."
        f"{version}"
    )


# -- the cohort's page -------------------------------------------------------------------------------------------


def cohort_page(
    results: Sequence[Mapping[str, Any]],
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
    late = sum(result["late"] for result in results)
    grades = [row.points for row in cohort if row.points is not None]
    middle = f", median {number(median(grades))} points" if grades else ""
    counts = Counter(result["status"] for result in results)
    states = ", ".join(f"{counts[status]} {status.replace('_', ' ')}" for status in STATES if counts[status])
    versions = sorted({str(result["course_version"]) for result in results if result.get("course_version")})
    parts = [
        f"<h1>{escape(title)}: the cohort</h1>",
        f'<p class="big">{len(results)} submissions of {len(cohort)} students{middle}</p>',
        f'<p class="soft">{states}; {late} late. Course version {escape(", ".join(versions) or "unknown")}.</p>',
        _waiting(cohort, feedback),
        _solve_rates(results),
        _mistakes(results),
        _histograms(results, grades),
        _everybody(cohort, feedback),
        f"<h2>Nothing handed in</h2><p>{', '.join(escape(display_name(student)) for student in absent)}</p>"
        if absent
        else "",
        _not_graded(ignored),
    ]
    return _page(f"{title}: the cohort", "\n".join(parts))


def _waiting(cohort: Sequence[Student], feedback: Mapping[str, str]) -> str:
    rows = [
        f"<tr><td>{_link(row, result, feedback)}</td><td>{escape(row.why.replace('_', ' '))}</td>"
        f'<td class="text">{rich(_why(result))}</td></tr>'
        for row in cohort
        if row.why
        for result in row.results
    ]
    if not rows:
        return "<h2>Waiting for a person</h2><p>Nobody.</p>"
    asked = {REMEDIES.get(row.why, SEVERAL) for row in cohort if row.why}
    items = "".join(f"<li>{remedy}</li>" for remedy in (*REMEDIES.values(), SEVERAL) if remedy in asked)
    return (
        f"<h2>Waiting for a person</h2><p>{len(rows)} without a grade until this is settled:</p><ul>{items}</ul>"
        f"{_wide('<tr><th>submission</th><th>state</th><th>reason</th></tr>', rows)}"
    )


def _not_graded(ignored: Sequence[str]) -> str:
    """The files that are no notebooks: somebody may have handed in a PDF, or a zip within the zip."""
    if not ignored:
        return ""
    items = "".join(f"<li>{escape(name)}</li>" for name in ignored[:FILES])
    more = f"<p>… and {len(ignored) - FILES} more.</p>" if len(ignored) > FILES else ""
    return f"<h2>Files that were not graded</h2><p>They are no notebooks (.ipynb).</p><ul>{items}</ul>{more}"


def _why(result: Mapping[str, Any]) -> str:
    """What the exercises that wait for a person say, else the reason for a submission's state, else its points."""
    waiting = [f"{m['name']}: {m['message']}" for m in result["exercises"] if m["status"] == "needs_review"]
    if result["status"] != "needs_review" or not waiting:
        waiting = [result["reason"] or f"{result['file']}: {number(total(result)[0])} points"]
    return "\n".join(waiting)


def _link(row: Student, result: Mapping[str, Any], feedback: Mapping[str, str]) -> str:
    return f'<a href="feedback/{escape(feedback[result["key"]])}">{escape(row.name)}</a>'


def _wide(head: str, rows: Sequence[str]) -> str:
    return f'<div class="wide"><table>{head}{"".join(rows)}</table></div>'


def _solve_rates(results: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for lesson, name in exercise_names(results):
        marks = [m for result in results for m in result["exercises"] if (m["lesson"], m["name"]) == (lesson, name)]
        groups = Counter(WORDS[mark["status"]][2] for mark in marks)
        judged = len(marks) - groups["review"]
        share = f"{groups['right'] / judged:.0%}" if judged else "–"
        rows.append(
            f'<tr><td class="name">{escape(lesson)} <code>{escape(name)}</code></td><td class="n">{share}</td>'
            f'<td class="n extra">{groups["right"]} of {judged}</td><td class="bar">{_bar(name, groups)}</td></tr>'
        )
    legend = "".join(f'<span><i class="key {group}"></i> {text}</span> ' for group, text in GROUPS.items())
    head = '<tr><th>exercise</th><th class="n">solved</th><th class="n extra"></th><th>all submissions</th></tr>'
    return f'<h2>How many solved what</h2>{_wide(head, rows)}<p class="soft legend">{legend}</p>'


def _bar(name: str, groups: Mapping[str, int]) -> str:
    """One stacked bar as SVG: it stretches with the page, so it holds no text but its description."""
    rectangles, x, whole = [], 0.0, sum(groups.values())
    for group in GROUPS:
        width = 100 * groups.get(group, 0) / whole
        if width:
            rectangles.append(f'<rect class="{group}" x="{x:.3f}" y="0" width="{width - GAP:.3f}" height="10"/>')
        x += width
    said = ", ".join(f"{groups[group]} {text}" for group, text in GROUPS.items() if groups.get(group))
    return (
        f'<svg viewBox="0 0 100 10" height="14" preserveAspectRatio="none" role="img" aria-label="{escape(name)}: '
        f'{said}"><title>{escape(name)}: {said}</title>{"".join(rectangles)}</svg>'
    )


def _mistakes(results: Sequence[Mapping[str, Any]], most: int = 12) -> str:
    counts: Counter[tuple[str, str]] = Counter()
    sentences: dict[tuple[str, str], Counter[str]] = {}
    for result in results:
        for mark in result["exercises"]:
            if mark.get("mistake"):
                what = (mark["name"], str(mark["mistake"]))
                counts[what] += 1
                sentences.setdefault(what, Counter())[mark["message"]] += 1
    if not counts:
        return "<h2>The most common mistakes</h2><p>No mistake was recognised.</p>"
    rows = [
        f'<tr><td class="n">{count}</td><td class="name"><code>{escape(name)}</code></td>'
        f'<td class="text">{rich(sentences[name, key].most_common(1)[0][0])}</td></tr>'
        for (name, key), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]
    ]
    head = '<tr><th class="n">times</th><th>exercise</th><th>what the students were told</th></tr>'
    return f"<h2>The most common mistakes</h2>{_wide(head, rows)}"


def _histograms(results: Sequence[Mapping[str, Any]], grades: Sequence[float]) -> str:
    seconds = [float(result["seconds"]) for result in results if result["status"] not in ("unreadable", "infra_error")]
    most = max((total(result)[1] for result in results), default=0)
    parts = []
    if grades and most:
        parts.append(
            "<h2>Points</h2>"
            + _histogram(grades, most, "points", "students", int(most) + 1 if most <= 2 * BINS else BINS)
        )
    if seconds:
        peak = max((result.get("peak_memory") or 0) for result in results) / 1e6
        memory = f"<p>The largest took {peak:.0f} MB of memory.</p>" if peak else ""
        figure = _histogram(seconds, max(*seconds, 1.0), "seconds", "submissions")
        parts.append(f"<h2>Time to grade a submission</h2>{figure}{memory}")
    return "".join(parts)


def _histogram(values: Sequence[float], most: float, unit: str, what: str, bins: int = BINS) -> str:
    """Columns over 0 … `most`, the last one with its right end; `most` + 1 columns give one to each whole number."""
    counts = Counter(min(int(bins * value / most), bins - 1) for value in values)
    tallest, width = max(counts.values()), 100 / bins
    columns = "".join(
        f'<rect x="{place * width + 0.5:.1f}" y="{30 - 28 * count / tallest:.2f}" width="{width - 1:.1f}" '
        f'height="{28 * count / tallest:.2f}"><title>{count} {what}</title></rect>'
        for place, count in sorted(counts.items())
    )
    said = f"{len(values)} {what}: from {_short(min(values))} to {_short(max(values))} {unit}, "
    said += f"median {_short(median(values))}; the tallest column is {tallest}."
    return (
        f'<figure><svg class="columns" viewBox="0 0 100 30" height="110" preserveAspectRatio="none" role="img" '
        f'aria-label="{said}">{columns}</svg><div class="scale"><span>0</span><span>{_short(most / 2)}</span>'
        f"<span>{_short(most)} {unit}</span></div><figcaption>{said}</figcaption></figure>"
    )


def _short(value: float) -> str:
    return number(round(value, 1))


def _everybody(cohort: Sequence[Student], feedback: Mapping[str, str]) -> str:
    rows = []
    for row in cohort:
        for result in row.results:
            points, most = total(result)
            marks = " ".join(
                f'<span class="state {WORDS[m["status"]][2]}" title="{escape(m["name"])}: {WORDS[m["status"]][1]}">'
                f"{WORDS[m['status']][0]}</span>"
                for m in result["exercises"]
            )
            state = result["status"].replace("_", " ") + (", late" if result["late"] else "")
            file = "<br>".join(map(escape, [result["file"], *remarks(result)]))
            open_ = "" if row.points is not None else " (open)"
            rows.append(
                f'<tr><td>{_link(row, result, feedback)}</td><td class="n">{number(points)} of {number(most)}{open_}</td>'
                f'<td class="name">{marks}</td><td>{state}</td><td class="file">{file}</td></tr>'
            )
    head = '<tr><th>student</th><th class="n">points</th><th>exercises</th><th>state</th><th>file</th></tr>'
    return f"<h2>All submissions</h2>{_wide(head, rows)}"
