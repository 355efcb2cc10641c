"""Grade one submission: ask a box for observations, and make the score here, outside of it.

Everything that decides about points stays on this side: the inputs, which follow from a secret, the expected values,
and the judgement. What comes back from a box is only ever data, and none of its words reach the student: they could
carry the hidden inputs out (`_sanitised`). Nor do the values: `words.for_grader` tells of an outcome without them.
"""

from __future__ import annotations

import builtins
import contextlib
import hashlib
import hmac
import json
import re
import time
from collections.abc import Sequence, Set
from dataclasses import replace
from typing import Any

import msgspec

from course_utils.boxed import frames, wire
from course_utils.boxed.deadline import deadline
from course_utils.boxed.observe import Failure, Observation, Trial
from course_utils.exercises import words
from course_utils.exercises.advice import advised_part
from course_utils.exercises.catalogue import definition
from course_utils.exercises.define import Definition
from course_utils.exercises.findings import (
    CallsFailed,
    CannotJudge,
    Died,
    ForAPerson,
    Interfered,
    NotThere,
    Postponed,
    Raised,
    Status,
)
from course_utils.exercises.judge import Outcome, forbidden_operators, judge
from course_utils.grading.result import Graded, Mark
from course_utils.grading.session import Answers, BoxFactory, Session, Unavailable, opening

JUDGING_LIMIT = 60.0  # for judging one exercise, which takes a tenth of a second
PUBLIC_SEED = 0  # of the inputs on which an exception's line may be shown: it might tell about hidden ones
TYPES = {  # whose names a message may show
    *("tensor", "tuple", "list", "dict", "set", "str", "int", "float", "bool", "complex", "bytes", "None", "NoneType"),
    *("range", "generator", "function", "ndarray", "Parameter", "Size", "Generator", "object"),
}
EXCEPTIONS = {name for name, kind in vars(builtins).items() if isinstance(kind, type)} | {"WrongSignature"}
SOLVED = (Status.RIGHT, Status.NEARLY_RIGHT)


def seed(secret: bytes, student: str, exercise: str, trial: int = -1) -> int:
    """The seed (63 bits) of a student's exercise, or of one trial of it: the same in every process, known to nobody."""
    text = json.dumps([student, exercise, trial]).encode()
    return int.from_bytes(hmac.digest(secret, text, hashlib.sha256)[:8], "big") >> 1


def hidden_trials(exercise: Definition, secret: bytes, student: str) -> list[Trial]:
    """The trials of a student's exercise. No trial's own seed tells anything about the other trials."""
    made = exercise.trials(seed(secret, student, exercise.name))
    return [replace(trial, seed=seed(secret, student, exercise.name, n)) for n, trial in enumerate(made)]


def grade(
    cells: Sequence[str],
    names: Sequence[str],
    student: str,
    secret: bytes,
    box_factory: BoxFactory,
    shown: Sequence[str] = (),
) -> Graded:
    """Grade the exercises `names` of a notebook with these code cells; as it was saved, it shows those of `shown` as right.

    Raises KeyError for an unknown exercise; nothing for anything that the notebook does or that befalls the machine.
    """
    start = time.perf_counter()
    exercises = [definition(name) for name in names]
    try:
        frames.pack(opening(cells, exercises))
    except frames.Malformed as error:
        return blank("unreadable", f"the notebook's code cannot be sent to a box: {error}", names)
    with Session(cells, exercises, box_factory) as session:
        marks = [_grade_one(exercise, student, secret, session) for exercise in exercises]
    marks = _reviewed(marks, session, shown)
    statuses = {mark.status for mark in marks}
    status = next((s for s in (Status.INFRA_ERROR, Status.NEEDS_REVIEW) if s in statuses), "")
    status = status or ("student_error" if session.deaths else "graded")
    return Graded(
        status=status,
        reason="; ".join(dict.fromkeys(session.faults or session.deaths)),
        seconds=round(time.perf_counter() - start, 3),
        peak_memory=session.peak_memory,
        notes=tuple(session.notes),
        marks=tuple(marks),
    )


def blank(status: str, reason: str, names: Sequence[str]) -> Graded:
    """What `grade` returns, for a submission of which nothing could be run: no points, and the reason."""
    marks = tuple(
        Mark(
            name=exercise.name,
            lesson=exercise.lesson,
            points=0,
            max_points=exercise.points,
            status=Status.INFRA_ERROR if status == "infra_error" else Status.MISSING,
            message=f"not graded: {reason}",
        )
        for exercise in map(definition, names)
    )
    return Graded(status=status, reason=reason, seconds=0.0, notes=(), marks=marks)


def _grade_one(exercise: Definition, student: str, secret: bytes, session: Session) -> Mark:
    start = time.perf_counter()
    try:
        trials = hidden_trials(exercise, secret, student)
        outcome = _outcome(exercise, trials, session)
    except Unavailable as fault:
        session.faults.append(str(fault))
        outcome = Outcome(Status.INFRA_ERROR, (Postponed(str(fault)),))
    seconds = round(time.perf_counter() - start, 3)
    return Mark(
        name=exercise.name,
        lesson=exercise.lesson,
        points=exercise.earned(outcome.status),
        max_points=exercise.points,
        status=outcome.status,
        mistake=outcome.general_mistake,
        message=words.for_grader(outcome.findings),
        seconds=seconds,
    )


def _reviewed(marks: Sequence[Mark], session: Session, shown: Sequence[str]) -> list[Mark]:
    """Set aside what may have been right in the notebook, or belongs to another one.

    An exercise that failed and calls another one that failed: in the notebook, that one's name means the reference; in a
    box, it means the student's own. One that the notebook shows as right, as it was saved. And the first one of a
    notebook that has none of them.
    """
    failed = {mark.name for mark in marks if mark.status not in (Status.RIGHT, Status.INFRA_ERROR)}
    reviewed = []
    for mark in marks:
        called = tuple(name for name in session.read(mark.name).calls if name in failed)
        if mark.name in failed and mark.status not in (Status.MISSING, Status.NEEDS_REVIEW) and called:
            mark = _for_a_person(mark, words.for_grader([CallsFailed(called)]))
        if mark.name in shown and not mark.points and mark.status not in (Status.NEEDS_REVIEW, Status.INFRA_ERROR):
            mark = _for_a_person(mark, mark.message + words.for_grader([ForAPerson("shown as right")]))
        reviewed.append(mark)
    if {mark.status for mark in reviewed} == {Status.MISSING}:
        lessons = session.lessons()
        said = words.for_grader([ForAPerson("other lesson" if lessons else "nothing", lessons)])
        reviewed[0] = _for_a_person(reviewed[0], reviewed[0].message + said)
    return reviewed


def _for_a_person(mark: Mark, message: str) -> Mark:
    return msgspec.structs.replace(mark, status=Status.NEEDS_REVIEW, points=0, mistake=None, message=message)


def _outcome(exercise: Definition, trials: list[Trial], session: Session) -> Outcome:
    """The outcome; in a fresh box if what an earlier exercise did to the box may be behind it.

    Processes that it left behind, say, or computing time that it used up.
    """
    deaths = len(session.deaths)
    outcome = _attempt(exercise, trials, session)
    died, before = len(session.deaths) > deaths, session.before
    if outcome.status == Status.ERROR and ((died and before) or Status.ERROR in before):
        del session.deaths[deaths:]
        session.close()
        outcome = _attempt(exercise, trials, session)
    lacks = session.read(exercise.name).lacks
    if outcome.status in (Status.ERROR, Status.WRONG) and lacks:
        return Outcome(Status.NEEDS_REVIEW, (*outcome.findings, ForAPerson("package", lacks)))
    if any(isinstance(finding, Raised) for finding in outcome.findings):
        outcome = _in_public(exercise, outcome, session)
    session.record(outcome.status)
    return outcome


def _in_public(exercise: Definition, outcome: Outcome, session: Session) -> Outcome:
    """The same with what is found on inputs that anybody may know, if it ends in an exception there too: which line raises
    one may tell of the inputs."""
    trials = exercise.trials(PUBLIC_SEED)
    with contextlib.suppress(Unavailable):
        answers = session.ask(exercise.name, trials)
        if answers is not None and not answers.death:
            public = _judged(exercise, trials, answers.observations, session, session.lines)
            if public.status == outcome.status and any(isinstance(finding, Raised) for finding in public.findings):
                return public
    return outcome


def _attempt(exercise: Definition, trials: list[Trial], session: Session) -> Outcome:
    """Ask for the observations and judge them; what may be the machine's fault is asked for once more."""
    answers = session.ask(exercise.name, trials)
    if answers is not None and not session.hopeless and _doubtful(answers):
        session.check_machine()
        answers = session.ask(exercise.name, trials)
    if answers is not None and answers.starved:
        raise Unavailable("the machine is too busy: the box hardly got a processor")
    if answers is None:
        return Outcome(Status.MISSING, (NotThere(exercise.name, session.near_miss(exercise.name)),))
    if answers.forged:
        session.deaths.append(f"{exercise.name}: what came back is no observation")
        return Outcome(Status.ERROR, (Interfered(),))
    if answers.death:
        session.deaths.append(f"{exercise.name}: {answers.death}")
        return Outcome(Status.ERROR, (Died(answers.death),))
    outcome = _judged(exercise, trials, answers.observations, session)
    return _without_forbidden(exercise, trials, outcome, session) if outcome.status in SOLVED else outcome


def _without_forbidden(exercise: Definition, trials: list[Trial], outcome: Outcome, session: Session) -> Outcome:
    """The outcome, for a person if the answer uses what its exercise forbids: in its text, or seen when it ran."""
    if not exercise.forbidden:
        return outcome
    ordinary = [place for place, trial in enumerate(trials) if not trial.label]
    place = ordinary[trials[0].seed % len(ordinary)]
    found = forbidden_operators(exercise, trials[place], session.watch(trials[place]))
    used = session.read(exercise.name).forbidden
    return outcome.with_forbidden(used, found, place + 1) if used or found else outcome


def _doubtful(answers: Answers) -> bool:
    """Whether a slow or failing machine may be behind it: a time limit, or a process that somebody has killed."""
    if answers.death:
        return not answers.certain
    return any(observation.event == "timed out" for observation in answers.observations)


def _judged(
    exercise: Definition,
    trials: list[Trial],
    observed: list[Observation],
    session: Session,
    lines: Set[str] = frozenset(),
) -> Outcome:
    """What is to be said of these observations; of an exception its line, if it is one of `lines`."""
    known = [_sanitised(observation, trial, lines) for observation, trial in zip(observed, trials, strict=False)]
    try:
        with deadline(JUDGING_LIMIT):
            outcome = judge(exercise.name, trials, known)
            words.for_grader(outcome.findings)  # a sentence may fail too
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a bug of ours must cost nobody a point, and a hostile result must not stop the run
        session.notes.append(f"{exercise.name}: judging failed with {type(error).__name__}")
        return Outcome(Status.NEEDS_REVIEW, (CannotJudge(),))
    if outcome.status == Status.RIGHT and len(known) != len(trials):
        return Outcome(Status.NEEDS_REVIEW, (CannotJudge(),))
    return outcome


# -- what a box's words become -----------------------------------------------------------------------------------


def _sanitised(observation: Observation, trial: Trial, lines: Set[str]) -> Observation:
    """The observation with none of the box's own words in what a message may show.

    Points do not depend on what is replaced: the names of types that are no plain values, an exception's message, and
    printed text. An exception keeps its line only if it is one of `lines`.
    """
    result = re.compile(rf"(?:{'|'.join(map(re.escape, trial.outputs))})(?:\[\d+\])*")
    return replace(
        observation,
        outputs=_sanitised_values(observation.outputs),
        states=_sanitised_values(observation.states),
        gradients=_sanitised_values(observation.gradients),
        structure=_sanitised_type(observation.structure),
        failure=_sanitised_failure(observation.failure, lines) if observation.failure else None,
        shared={
            name if result.fullmatch(name) else trial.outputs[0]: argument
            for name, argument in observation.shared.items()
        },
        printed="…" if observation.printed.strip() else "",
    )


def _sanitised_values(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _sanitised_value(value) for name, value in values.items()}


def _sanitised_value(value: Any) -> Any:
    if isinstance(value, wire.Foreign):
        module = "numpy" if type(value).__module__ == "numpy" else ""
        return wire.foreign(_sanitised_type(value.type_name), module)
    return value


def _sanitised_type(text: str) -> str:
    whole = len(text) <= 200 and all(word in TYPES for word in re.findall(r"[^\s()\[\],]+", text))
    return text if whole else "object"


def _sanitised_failure(failure: Failure, lines: Set[str]) -> Failure:
    kind = failure.kind if failure.kind in EXCEPTIONS else "Exception"
    line = failure.line.strip()
    shown = bool(line) and line in lines
    known = failure.message if failure.message in words.STOPPED else advised_part(failure.message)
    return Failure(kind, failure.parents, known, 1 if shown else None, line if shown else "")
