"""Judge what a candidate did: right, a known mistake, an error, or different — and say why.

The trusted half of an exercise: it knows references, mistakes and claims, and works on recorded `Observation`s
only, so the candidate may have run anywhere. Order of judgement: not attempted, nearly right (wrong on edge cases only),
named mistake, exception or time limit, generic transformation (`explain`), slip in the reference (`slips`), another form,
another value (`differ`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch

from course_utils.boxed.deadline import TimeIsOver, deadline
from course_utils.boxed.observe import TIME_LIMIT, Observation, Trial, observe
from course_utils.boxed.operators import behind, watched
from course_utils.exercises import words
from course_utils.exercises.advice import name_meant
from course_utils.exercises.agree import Comparison, agrees, is_right_in
from course_utils.exercises.catalogue import definition
from course_utils.exercises.define import Definition
from course_utils.exercises.differ import less_exact, other_form, other_value, overflow
from course_utils.exercises.explain import explain
from course_utils.exercises.findings import (
    BrokenClaim,
    Finding,
    ForbiddenCalls,
    NotAttempted,
    NotFinite,
    OnCase,
    OnlyOnEdge,
    OtherParameters,
    OtherShape,
    Raised,
    Right,
    Share,
    Status,
    TimeLimit,
    Transformation,
)
from course_utils.exercises.mistakes import Broken, Tried, named, named_by_claims, slip, too_large_for_claims
from course_utils.exercises.relations import VAGUE

KNOWN = (Status.DIAGNOSED, Status.NEARLY_RIGHT)  # of which it is known what is wrong
TOTAL_LIMIT = 10.0  # seconds for all calls of a candidate together
REFERENCE_LIMIT = 60.0  # seconds for a reference, which takes milliseconds: beyond, the machine stood still


@dataclass(frozen=True)
class Outcome:
    """The result of a check: how the answer stands, and what was found about it, in the order in which it is told."""

    status: Status
    findings: tuple[Finding, ...] = ()

    @property
    def message(self) -> str:
        """What the student reads in the notebook."""
        return words.for_notebook(self.findings)

    @property
    def mistake(self) -> str | None:
        """The key of the recognised mistake, or None: a name from the definition, or "generic:…" for one of the
        transformations that every exercise knows; several, joined by "+", where different results are wrong in different
        ways."""
        return self._joined(finding.key for finding in self.findings)

    @property
    def general_mistake(self) -> str | None:
        """The key without the numbers in it, which may follow from inputs that are hidden."""
        return self._joined(finding.general_key for finding in self.findings)

    def with_forbidden(self, used: Sequence[str], operators: Sequence[str] = (), case: int = 0) -> Outcome:
        """The outcome of an answer that also uses these calls, which its exercise forbids, or operators that do their work,
        seen on that case: before it earns points, a person looks at it."""
        earns = self.status in (Status.RIGHT, Status.NEARLY_RIGHT)
        finding = ForbiddenCalls(tuple(used), self.status, tuple(operators), case)
        return Outcome(Status.NEEDS_REVIEW if earns else self.status, (*self.findings, finding))

    def _joined(self, keys: Iterable[str | None]) -> str | None:
        known = dict.fromkeys(key for key in keys if key) if self.status in KNOWN else ()
        return "+".join(known) or None


def trials(name: str, seed: int, device: torch.device | str = "cpu") -> list[Trial]:
    """The trials of an exercise: the same seed gives the same trials."""
    return definition(name).trials(seed, device)


def check(name: str, candidate: Callable, seed: int = 0, device: torch.device | str = "cpu") -> Outcome:
    """Run and judge `candidate` in this process. Displays nothing; the same seed gives the same outcome.

    Raises KeyError for an unknown exercise and TypeError when `candidate` cannot be called.
    """
    if not callable(candidate):
        raise TypeError(f"the answer to {name} must be a function, not {type(candidate).__name__}")
    asked = trials(name, seed, device)
    return judge(name, asked, watch(candidate, asked))


def watch(
    candidate: Callable, asked: list[Trial], unseen: Callable[[], AbstractContextManager] = nullcontext
) -> list[Observation]:
    """What `candidate` does on the trials, as far as it gets; all calls but the first are made within `unseen()`."""
    observations, left = [], TOTAL_LIMIT
    for trial in asked:
        with unseen() if observations else nullcontext():
            observations.append(observe(candidate, trial, min(TIME_LIMIT, left)))
        left = max(left - observations[-1].seconds, 0.0)
        if observations[-1].event in ("timed out", "not attempted"):
            break
    return observations


def forbidden_operators(exercise: Definition, trial: Trial, seen: Sequence[str]) -> list[str]:
    """Those of the operators `seen` when an answer ran on this trial that do the work of a call which the exercise forbids;
    none that the reference uses itself."""
    return behind(exercise.forbidden, seen, watched(exercise.reference, trial, REFERENCE_LIMIT)) if seen else []


def judge(name: str, asked: list[Trial], observations: list[Observation]) -> Outcome:
    """The outcome of an exercise from what was observed; `observations` may stop early at a time limit.

    Raises RuntimeError if the machine stood still while a reference ran.
    """
    exercise = definition(name)
    if any(o.event == "not attempted" and not t.label for t, o in zip(asked, observations, strict=False)):
        return Outcome(Status.NOT_ATTEMPTED, (NotAttempted(begun=bool(observations[0].printed)),))
    expected = _expected(exercise, asked[: len(observations)])
    rows = [Comparison(*row, agrees(exercise, *row[1:])) for row in zip(asked, expected, observations, strict=False)]
    tried = Tried(exercise)
    if exercise.claims and any(too_large_for_claims(row) for row in rows):
        return _unnamed(tried, rows)
    broken = Broken(exercise, rows)
    if broken.is_right(rows):
        return Outcome(Status.RIGHT, (Right(len(rows)),))
    mistake = named_by_claims(tried, broken) if exercise.claims else named(tried, rows)
    if not mistake and not exercise.exact:
        rows = [replace(row, right=agrees(exercise, row.expected, row.actual, True), lenient=True) for row in rows]
        broken = broken.with_rows(rows)
        if broken.is_right(rows) and (advice := less_exact(rows)):
            return Outcome(Status.RIGHT, (Right(len(rows)), advice))
        mistake = None if exercise.claims else named(tried, rows, lenient=True)
    if labels := _failed_edges(broken, asked):
        label, *others = labels
        inner = (mistake,) if mistake else _why_on_edge(tried, label, broken)
        inner += (OnCase(label),) if others and not mistake else ()
        return Outcome(Status.NEARLY_RIGHT, (OnlyOnEdge(label, inner, tuple(others)),))
    return Outcome(Status.DIAGNOSED, (mistake,)) if mistake else _unnamed(tried, rows, broken.first)


def _expected(exercise: Definition, asked: list[Trial]) -> list[Observation]:
    """What the reference does. Raises RuntimeError when it cannot tell in time, which is nobody's mistake."""
    try:
        with deadline(REFERENCE_LIMIT):  # one for all: a thread for each call would cost more than the call
            return [observe(exercise.reference, trial, None) for trial in asked]
    except TimeIsOver:
        raise RuntimeError(
            f"the reference of {exercise.name} took more than {REFERENCE_LIMIT:g} seconds. Check it again."
        ) from None


def _unnamed(tried: Tried, rows: list[Comparison], broken: str | None = None) -> Outcome:
    """What to say when no named mistake of the exercise explains the answer; `broken`: a claim that does not hold."""
    exercise = tried.exercise
    if error := _error(exercise, rows):
        return Outcome(Status.ERROR, (error,))
    form = _form(exercise, rows)
    of_value = not form or isinstance(form[0], (OtherShape, NotFinite))
    explanation = () if exercise.claims else explain(tried, rows)
    vague = all(isinstance(it, Transformation) and it.kind in VAGUE for it in explanation)
    if vague and of_value and (made := slip(tried, rows)):
        return Outcome(Status.DIAGNOSED, (made,))
    if explanation:
        return Outcome(Status.DIAGNOSED, explanation)
    if form:
        return Outcome(Status.WRONG, form)
    if broken:
        return Outcome(Status.WRONG, (BrokenClaim(broken, exercise.claims[broken].sentence),))
    return Outcome(Status.WRONG, _value(exercise, rows))


# -- answers that are right but for edge cases ---------------------------------------------------------------------


def _failed_edges(broken: Broken, asked: list[Trial]) -> list[str]:
    """The edge cases that an answer fails which is right in all that was asked beside them; none if it is not.

    One judged by claims fails an edge case if a claim that holds on the ordinary cases breaks together with it.
    """
    rows = broken.rows
    ordinary = [row for row in rows if not row.trial.label]
    complete = len(ordinary) == sum(not trial.label for trial in asked) > 0 and not _out_of_time(rows)
    if not complete or not broken.is_right(ordinary):
        return []
    edges: dict[str, list[Comparison]] = {}
    for row in rows:
        if row.trial.label:
            edges.setdefault(row.trial.label, []).append(row)
    return [label for label, its in edges.items() if not broken.is_right(ordinary + its)]


def _why_on_edge(tried: Tried, label: str, broken: Broken) -> tuple[Finding, ...]:
    """What is wrong on an edge case, by which alone an answer is wrong, where no mistake's name says it."""
    exercise, rows = tried.exercise, broken.rows
    its = [row for row in rows if row.trial.label == label]
    wrong = [row for row in its if not row.right]
    if error := _error(exercise, wrong):
        return (replace(error, label="") if isinstance(error, (Raised, TimeLimit)) else error,)
    if not wrong:
        ordinary = [row for row in rows if not row.trial.label]
        claim = exercise.claims[next(broken.among(ordinary + its))]
        return (BrokenClaim(claim.key, claim.sentence),)
    explanation = () if exercise.claims else explain(tried, wrong)
    form = None if explanation else other_form(exercise, wrong[0])
    made = None if explanation or form else slip(tried, rows)
    return explanation or (made or form or overflow(wrong[0], rows) or other_value(wrong[0]),)


# -- answers without a named mistake -------------------------------------------------------------------------------


def _error(exercise: Definition, rows: list[Comparison]) -> Finding | None:
    """A time limit, or an exception that is not asked for."""
    for row in rows:
        if row.actual.event == "timed out":
            if _out_of_time(rows):
                return TimeLimit(TOTAL_LIMIT, together=True)
            limit, where = TimeLimit(TIME_LIMIT, rows[-1].trial.label), row.actual.failure
            if where is None:
                return limit
            return replace(limit, line_number=where.line_number, line=where.line, stage=where.message)
        if row.actual.event in ("raised", "not attempted") and not row.right:
            return _exception(exercise, row)
    return None


def _out_of_time(rows: list[Comparison]) -> bool:
    """Whether all calls together took too long."""
    return sum(row.actual.seconds for row in rows) >= TOTAL_LIMIT


def _exception(exercise: Definition, row: Comparison) -> Finding:
    failure, asked = row.actual.failure, row.expected.failure
    if failure is None:
        raise ValueError("a raised observation without its failure")
    if failure.kind == "WrongSignature":
        return OtherParameters(tuple(row.trial.arguments), failure.message)
    where = (failure.line_number, failure.line, row.trial.label)
    asked_for = (asked.kind, asked.message) if asked else ("", "")
    shapes = tuple((name, tuple(v.shape)) for name, v in row.trial.arguments.items() if isinstance(v, torch.Tensor))
    meant = name_meant(failure.message, tuple(row.trial.arguments))
    return Raised(exercise.name, failure.kind, failure.message, *where, *asked_for, shapes, meant)


def _form(exercise: Definition, rows: list[Comparison]) -> tuple[Finding, ...]:
    """What is wrong in form, NaN and infinities included."""
    for row in sorted(rows, key=lambda row: bool(row.trial.label)):  # ordinary cases first: easier to imagine
        finding = None if row.right else other_form(exercise, row) or overflow(row, rows)
        if finding:
            return (finding, OnCase(row.trial.label)) if row.trial.label else (finding,)
    return ()


def _value(exercise: Definition, rows: list[Comparison]) -> tuple[Finding, ...]:
    """What differs in value, and how often."""
    wrong = [row for row in rows if not row.right]
    names = () if exercise.claims else rows[0].trial.outputs
    right = tuple(name for name in names if all(is_right_in(name, row) for row in rows))
    return (other_value(wrong[0]), Share(len(wrong), len(rows), right))
