"""What a student meets in a notebook: `@exercise`, `hint`, `solution` and `exercise.summary()`."""

from __future__ import annotations

import contextlib
import difflib
import functools
import html
import inspect
import io
import os
import secrets
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from course_utils import display, runtime
from course_utils.boxed.forbidden import calls
from course_utils.boxed.observe import TIME_LIMIT, Observation, observe
from course_utils.boxed.operators import watched
from course_utils.conventions import OUTCOME_TYPE
from course_utils.exercises.catalogue import definition, names
from course_utils.exercises.define import Definition
from course_utils.exercises.findings import Finding, LessExact, StandIn, Status, TooSlow
from course_utils.exercises.judge import Outcome, forbidden_operators, judge, trials, watch

COLOURS = {
    display.SIGNS[Status.RIGHT]: display.RIGHT,
    display.SIGNS[Status.NEARLY_RIGHT]: display.NEARLY,
    display.SIGNS[Status.NEEDS_REVIEW]: display.REVIEW,
    display.SIGNS[Status.WRONG]: display.WRONG,
    display.SIGNS[Status.NOT_ATTEMPTED]: display.OPEN,
}
WORDS: dict[str, str] = {
    Status.NEEDS_REVIEW: "a person decides",
    Status.DIAGNOSED: "not yet right",
    Status.WRONG: "not yet right",
}
SLOW = 10  # a right answer more than this many times slower than the reference is not used further on
PRINTED = 1_000  # characters shown of what an answer printed


class Answers:
    """A student's own functions, as attributes: `exercise.mine.rnn_step`, whatever `rnn_step` means by now."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"no answer called {name!r} has been judged in this notebook; run its cell. There are: "
            f"{', '.join(vars(self)) or 'none'}"
        )


class Exercise:
    """The decorator `@exercise`: judge the function under it at once, say what was found, and bind the name.

    The name is bound to the student's function when it is right and quick enough, and to the reference
    otherwise, so that the cells below always have something that works; `exercise.mine` has the student's in any case.
    A right answer that uses a call which the exercise forbids is bound as well, but earns no points before a person has
    looked at it.
    """

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.mine = Answers()
        self._hints_shown: dict[str, int] = {}

    def __call__(self, function: Any = None) -> Any:
        """Judge `function`, show the verdict, and return what its name shall mean from here on."""
        if function is None:  # @exercise()
            return self
        name = _name_of(function)
        if name not in names() or not callable(function):
            return _not_an_exercise(function, name)
        exercise = definition(name)
        setattr(self.mine, name, function)
        asked = trials(name, secrets.randbits(31), runtime.session_device())
        observations = watch(function, asked, _unseen)
        outcome = judge(name, asked, observations)
        bound, extra = _bound(function, exercise, outcome)
        outcome = Outcome(outcome.status, (*outcome.findings, *extra))
        if outcome.status != Status.NOT_ATTEMPTED:
            used, seen = calls(exercise.forbidden, name, _cells(function)), []
            if exercise.forbidden and exercise.earned(outcome.status):
                with _unseen():
                    seen = forbidden_operators(exercise, asked[0], watched(function, asked[0], TIME_LIMIT))
            outcome = outcome.with_forbidden(used, seen, 1) if used or seen else outcome
            if bound is not function:
                outcome = Outcome(outcome.status, (*outcome.findings, StandIn(name)))
        self.outcomes[name] = outcome
        _show_outcome(exercise, outcome, _printed(observations, outcome.status))
        return bound

    def summary(self) -> None:
        """Show a table of the exercises of the lessons at hand: what is done, and the points."""
        lessons = sorted({definition(name).lesson for name in self.outcomes})
        rows, earned, total = [], 0.0, 0
        for name in (n for lesson in lessons for n in names(lesson)):
            status = self.outcomes[name].status if name in self.outcomes else "cell not run"
            points = definition(name).points
            got = definition(name).earned(status)
            earned, total = earned + got, total + points
            word = WORDS.get(status, status)
            rows.append((display.SIGNS.get(status, "…"), name, word, f"{got:g} of {points}"))
        rows.append(("", "all exercises", "", f"{earned:g} of {total}"))
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
    if _solutions_are_off():
        show("Solutions are switched off here (COURSE_SOLUTIONS=off). Try `hint(...)`.")
        return
    exercise = _definition_of(function)
    if exercise is None:
        return
    source = exercise.source()
    display.show({"text/plain": source, "text/markdown": f"```python\n{source}```"})


def _solutions_are_off() -> bool:
    return os.environ.get("COURSE_SOLUTIONS", "on").lower() in ("off", "0", "no")


# -- which exercise, which function --------------------------------------------------------------------------------


def _name_of(function: Any) -> str:
    """The exercise that a function answers, also beneath a decorator, a `partial` or `torch.jit.script`; else its name."""
    pending, seen = [function], []
    while pending and len(seen) < 20:
        part = pending.pop(0)
        seen.append(part)
        for name in (getattr(part, "__name__", None), getattr(part, "name", None)):
            if isinstance(name, str) and name in names():
                return name
        inner = [getattr(part, "__wrapped__", None), getattr(part, "func", None)]
        for cell in getattr(part, "__closure__", None) or ():
            with contextlib.suppress(ValueError):  # an empty one
                inner.append(cell.cell_contents)
        pending += [thing for thing in inner if callable(thing) and all(thing is not other for other in seen)]
    return str(getattr(function, "__name__", type(function).__name__))


def _not_an_exercise(function: Any, name: str) -> Any:
    """Say that no exercise has this name. What is meant gets its reference, so that the lesson goes on."""
    if name == "<lambda>" or not callable(function):
        what = "a lambda has no name" if callable(function) else f"this is {name}, no function"
        show(f"✘ {what}. Write `def NAME(...):` with the name that stands in the exercise, and `@exercise` above it.")
        return function
    meant = difflib.get_close_matches(name, names(), n=1)
    if not meant:
        show(f"✘ No exercise `{name}`. A function is judged by its name: keep the one that stands in the exercise.")
        return function
    show(
        f"✘ No exercise `{name}`; did you mean `{meant[0]}`? Functions are judged by their names, here and in grading: keep "
        f"the one that stands in the exercise. The lesson goes on with the reference."
    )
    getattr(function, "__globals__", {}).setdefault(meant[0], _reference(definition(meant[0])))
    return function


def _bound(function: Callable, exercise: Definition, outcome: Outcome) -> tuple[Callable, list[Finding]]:
    """The function that the exercise's name shall mean, and what is to be said about that."""
    if outcome.status != Status.RIGHT or any(isinstance(finding, LessExact) for finding in outcome.findings):
        return _reference(exercise), []
    with _unseen():
        slowdown = _slowdown(function, exercise)
    return (_reference(exercise), [TooSlow(slowdown)]) if slowdown > SLOW else (function, [])


def _reference(exercise: Definition) -> Callable:
    """The reference; where solutions are switched off, a function that calls it and does not show it to `help` or `??`."""
    if not _solutions_are_off():
        return exercise.reference
    name, reference = exercise.name, exercise.reference

    def stand_in(*arguments: Any, **named: Any) -> Any:
        return definition(name)(*arguments, **named)

    functools.update_wrapper(stand_in, reference, assigned=("__name__", "__qualname__", "__doc__"), updated=())
    stand_in.__signature__ = inspect.signature(reference)  # type: ignore[attr-defined]
    del stand_in.__wrapped__  # type: ignore[attr-defined]
    return stand_in


@contextlib.contextmanager
def _unseen() -> Iterator[None]:
    """What code in here displays or writes to stderr is not shown: with the first case it has been."""
    from IPython.core.getipython import get_ipython
    from IPython.utils.capture import capture_output

    with capture_output() if get_ipython() else contextlib.redirect_stderr(io.StringIO()):
        yield


def _printed(observations: list[Observation], status: Status) -> str:
    """What the answer printed: on the case that stopped it, if one did, else on the first."""
    stopped = [o for o in observations if o.event != "returned"] if status != Status.RIGHT else []
    text = (*stopped, *observations)[0].printed.strip("\n")
    return text if len(text) <= PRINTED else f"{text[:PRINTED]} …"


# -- how it is shown -----------------------------------------------------------------------------------------------


def _show_outcome(exercise: Definition, outcome: Outcome, printed: str) -> None:
    """Display an outcome as feedback, and as data for programs that read the notebook."""
    data = {
        "exercise": exercise.name,
        "lesson": exercise.lesson,
        "status": outcome.status.value,
        "mistake": outcome.mistake,
        "points": exercise.earned(outcome.status),
        "max_points": exercise.points,
    }
    show(f"{display.SIGNS[outcome.status]} {exercise.name}: {outcome.message}", {OUTCOME_TYPE: data}, printed)


def show(text: str, data: dict[str, Any] | None = None, printed: str = "") -> None:
    """Display feedback as plain text and as HTML, with `code` and the mark's colour; `data` by further MIME types.

    What an answer `printed` follows, in a font of fixed width, as tensors need it.
    """
    mark = text[:1] if text[:1] in COLOURS else ""
    body = display.code_as_html(text[len(mark) :].strip())
    lines = "<br>".join(line.replace("    ", "&emsp;&emsp;") for line in body.split("\n"))
    style = f"{display.ink(COLOURS[mark])};font-weight:bold" if mark else ""
    page = f'<div style="margin:4px 0"><span style="{style}">{mark}</span> {lines}</div>'
    if printed:
        text += f"\n    It printed:\n{textwrap.indent(printed, '        ')}"
        page += f'<div>&emsp;&emsp;It printed:</div><pre style="margin:0 0 4px 4em">{html.escape(printed)}</pre>'
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
    name = function if isinstance(function, str) else _name_of(function)
    if name not in names():
        meant = difflib.get_close_matches(name, names(), n=1)
        advice = f"Did you mean `{meant[0]}`?" if meant else f"Pass the exercise itself, as in `hint({names()[0]})`."
        show(f"There is no exercise called `{name}`. {advice}")
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
