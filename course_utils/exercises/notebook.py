"""What a student meets in a notebook: `@exercise`, `hint`, `solution` and `exercise.summary()`."""

from __future__ import annotations

import contextlib
import html
import inspect
import os
import secrets
import textwrap
from collections.abc import Callable
from typing import Any

from course_utils import display, runtime
from course_utils.boxed.observe import observe
from course_utils.conventions import OUTCOME_TYPE
from course_utils.exercises.catalogue import definition, names
from course_utils.exercises.define import Definition
from course_utils.exercises.findings import Finding, ForbiddenCalls, Printed, Status, TooSlow
from course_utils.exercises.forbidden import calls
from course_utils.exercises.judge import Outcome, check

MARKS: dict[str, str] = {
    Status.RIGHT: "✔",
    Status.NEEDS_REVIEW: "✎",
    Status.DIAGNOSED: "✘",
    Status.WRONG: "✘",
    Status.ERROR: "✘",
    Status.NOT_ATTEMPTED: "…",
}
COLOURS = {"✔": display.RIGHT, "✎": display.NEARLY, "✘": display.WRONG, "…": display.OPEN}
WORDS: dict[str, str] = {
    Status.NEEDS_REVIEW: "a person decides",
    Status.DIAGNOSED: "not yet right",
    Status.WRONG: "not yet right",
}
SLOW = 10  # a right answer more than this many times slower than the reference is not used further on


class Exercise:
    """The decorator `@exercise`: judge the function under it at once, say what was found, and bind the name.

    The name is bound to the student's function when it is right and quick enough, and to the reference
    otherwise, so that the cells below always have something that works. A right answer that uses a call which the
    exercise forbids is bound as well, but earns no points before a person has looked at it.
    """

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self._hints_shown: dict[str, int] = {}

    def __call__(self, function: Callable) -> Callable:
        """Judge `function`, show the verdict, and return what its name shall mean from here on."""
        name = getattr(function, "__name__", repr(function))
        exercise = definition(name)
        outcome = check(name, function, seed=secrets.randbits(31), device=runtime.session_device())
        extra: list[Finding] = []
        if outcome.status == Status.RIGHT:
            slowdown = _slowdown(function, exercise)
            extra += [TooSlow(slowdown)] if slowdown > SLOW else []
        elif outcome.status not in (Status.NOT_ATTEMPTED, Status.ERROR):
            printed = observe(function, exercise.trials(0)[0]).printed
            extra += [Printed(printed.strip()[:400])] if printed else []
        bound = function if outcome.status == Status.RIGHT and not extra else exercise.reference
        status = outcome.status
        used = calls(exercise.forbidden, name, _cells(function)) if status != Status.NOT_ATTEMPTED else []
        if used:
            extra.append(ForbiddenCalls(tuple(used), right=status == Status.RIGHT))
            status = Status.NEEDS_REVIEW if status == Status.RIGHT else status
        self.outcomes[name] = Outcome(status, (*outcome.findings, *extra))
        _show_outcome(exercise, self.outcomes[name])
        return bound

    def summary(self) -> None:
        """Show a table of the exercises of the lessons at hand: what is done, and the points."""
        lessons = sorted({definition(name).lesson for name in self.outcomes})
        rows, earned, total = [], 0, 0
        for name in (n for lesson in lessons for n in names(lesson)):
            status = self.outcomes[name].status if name in self.outcomes else "cell not run"
            points = definition(name).points
            got = points if status == Status.RIGHT else 0
            earned, total = earned + got, total + points
            word = WORDS.get(status, status)
            rows.append((MARKS.get(status, "…"), name, word, f"{got} of {points}"))
        rows.append(("", "all exercises", "", f"{earned} of {total}"))
        _show_table(("", "exercise", "state", "points"), rows)

    def hint(self, function: Callable | str) -> None:
        """Show the next hint for an exercise: gentle ones first. Takes the function or its name."""
        exercise = _definition_of(function)
        if exercise is None:
            return
        shown = min(self._hints_shown.get(exercise.name, 0) + 1, len(exercise.staged_hints))
        self._hints_shown[exercise.name] = shown
        without = ", ".join(f"`{call}`" for call in exercise.forbidden)
        note = f"\n    To be written without {without}." if without else ""
        show(f"Hint {shown} of {len(exercise.staged_hints)}: {exercise.staged_hints[shown - 1]}{note}")


exercise = Exercise()


def hint(function: Callable | str) -> None:
    """Show the next hint for an exercise; call it again for a stronger one. `hint(rnn_step)`."""
    exercise.hint(function)


def solution(function: Callable | str) -> None:
    """Show the reference solution, unless the instructor has switched it off (COURSE_SOLUTIONS=off)."""
    if os.environ.get("COURSE_SOLUTIONS", "on").lower() in ("off", "0", "no"):
        show("Solutions are switched off here (COURSE_SOLUTIONS=off). Try `hint(...)`.")
        return
    exercise = _definition_of(function)
    if exercise is None:
        return
    source = exercise.source()
    display.show({"text/plain": source, "text/markdown": f"```python\n{source}```"})


def _show_outcome(exercise: Definition, outcome: Outcome) -> None:
    """Display an outcome as feedback, and as data for programs that read the notebook."""
    data = {
        "exercise": exercise.name,
        "lesson": exercise.lesson,
        "status": outcome.status.value,
        "mistake": outcome.mistake,
        "points": exercise.points if outcome.status == Status.RIGHT else 0,
        "max_points": exercise.points,
    }
    show(f"{MARKS[outcome.status]} {exercise.name}: {outcome.message}", {OUTCOME_TYPE: data})


def show(text: str, data: dict[str, Any] | None = None) -> None:
    """Display feedback as plain text and as HTML, with `code` and the mark's colour; `data` by further MIME types."""
    mark = text[:1] if text[:1] in COLOURS else ""
    body = display.code_as_html(text[len(mark) :].strip())
    lines = "<br>".join(line.replace("    ", "&emsp;&emsp;") for line in body.split("\n"))
    colour = COLOURS.get(mark, "inherit")
    page = f'<div style="margin:4px 0"><span style="color:{colour};font-weight:bold">{mark}</span> {lines}</div>'
    display.show({"text/plain": text, "text/html": page, **(data or {})})


def _show_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    plain = "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    )
    head = "".join(f'<th style="text-align:left">{h}</th>' for h in header)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align:left">{html.escape(cell)}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    display.show({"text/plain": plain, "text/html": f"<table><tr>{head}</tr>{body}</table>"})


def _cells(function: Callable) -> list[str]:
    """The code that has been run in this notebook, as far as it is at hand; last, the function's cell and itself."""
    history = getattr(function, "__globals__", {}).get("In", [])
    cells = [cell for cell in history if isinstance(cell, str)] if isinstance(history, list) else []
    with contextlib.suppress(OSError, TypeError, SyntaxError):  # built in, say, or typed where nothing is kept
        cells.append("".join(inspect.findsource(function)[0]))
        cells.append(textwrap.dedent(inspect.getsource(function)))
    return cells


def _definition_of(function: Callable | str) -> Definition | None:
    name = function if isinstance(function, str) else getattr(function, "__name__", "")
    if name not in names():
        show(f"There is no exercise called `{name}`. Pass the exercise itself, as in `hint({names()[0]})`.")
        return None
    return definition(name)


def _slowdown(function: Callable, definition: Definition) -> float:
    """How many times longer than the reference the answer takes at the lesson's own size (1.0 if unknown)."""
    trial = definition.typical_trial(seed=0)
    if trial is None:
        return 1.0
    reference = min(observe(definition.reference, trial).seconds for _ in range(3))
    times = [observe(function, trial).seconds]
    if times[0] > SLOW * max(reference, 1e-4):
        times.append(observe(function, trial).seconds)
    return min(times) / max(reference, 1e-4)
