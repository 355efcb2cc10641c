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
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import msgspec

from course_utils.boxed import frames, wire
from course_utils.boxed.observe import TIME_LIMIT, Failure, Observation, Trial
from course_utils.exercises import forbidden, words
from course_utils.exercises.advice import advised_part
from course_utils.exercises.catalogue import definition, names
from course_utils.exercises.define import Definition
from course_utils.exercises.findings import (
    CallsFailed,
    CannotJudge,
    Died,
    Interfered,
    NotThere,
    Postponed,
    Status,
)
from course_utils.exercises.judge import TOTAL_LIMIT, Outcome, judge
from course_utils.grading.result import Graded, Mark
from course_utils.grading.text import printable

# All seconds here are those that a box has used itself (`box.Times`): no verdict depends on how busy the machine is.
START_LIMIT = 40.0  # until a box has run a notebook's definitions
SLOW_START = 20.0  # after which an empty box is up: slower, and the machine is too slow to blame anybody
GRACE = 8.0  # that a box may take for one trial beyond the call itself: importing, copying, sending
FIRST_GRACE = 25.0  # the same for the first trial, before which the imports and constants around a function run
SUBMISSION_LIMIT = 120.0  # that the boxes of one submission may take, retries included, and EXERCISE_LIMIT more
EXERCISE_LIMIT = 40.0  # for each exercise; one box alone may use up SUBMISSION_LIMIT, so that a pause is no loss
ENOUGH = 0.9  # of its time: what has had less when it was over did not get a processor
NOTES = 20  # of the box's remarks on a notebook
TYPES = {  # whose names a message may show
    *("tensor", "tuple", "list", "dict", "set", "str", "int", "float", "bool", "complex", "bytes", "None", "NoneType"),
    *("range", "generator", "function", "ndarray", "Parameter", "Size", "Generator", "object"),
}
EXCEPTIONS = {name for name, kind in vars(builtins).items() if isinstance(kind, type)} | {"WrongSignature"}
DEATHS = {
    "time": "it ran longer than the time limit",
    "cpu": "it used more computing time than allowed",
    "memory": "it used more memory than allowed",
    "killed": "its process was killed",
}
NOTHING_FOUND = "none of these exercises is in the notebook: is it the right one?"


class Box(Protocol):
    """What the checker wants of a box; see `box.Box`."""

    channel: Any

    def why(self) -> str:
        """What ended it: "time", "cpu", "memory", "killed" or "exited N"."""
        ...

    def times(self) -> Any:
        """What it has taken until now, as `box.Times`."""
        ...


BoxFactory = Callable[[], AbstractContextManager[Box]]


class Unavailable(Exception):  # noqa: N818
    """No box can be had, or the machine is too busy: nothing that a student could be blamed for."""


@dataclass
class _Answers:
    """The observations of one exercise so far, and why there are no more of them."""

    observations: list[Observation] = field(default_factory=list)
    death: str = ""
    forged: bool = False
    certain: bool = False  # that the death is the notebook's own doing
    starved: bool = False  # its time was over before it had computed so long: others had the processors


def seed(secret: bytes, student: str, exercise: str, trial: int = -1) -> int:
    """The seed (63 bits) of a student's exercise, or of one trial of it: the same in every process, known to nobody."""
    text = json.dumps([student, exercise, trial]).encode()
    return int.from_bytes(hmac.digest(secret, text, hashlib.sha256)[:8], "big") >> 1


def hidden_trials(exercise: Definition, secret: bytes, student: str) -> list[Trial]:
    """The trials of a student's exercise. No trial's own seed tells anything about the other trials."""
    made = exercise.trials(seed(secret, student, exercise.name))
    return [replace(trial, seed=seed(secret, student, exercise.name, n)) for n, trial in enumerate(made)]


def grade(cells: Sequence[str], names: Sequence[str], student: str, secret: bytes, box_factory: BoxFactory) -> Graded:
    """Grade the exercises `names` of a notebook with these code cells.

    Raises KeyError for an unknown exercise; nothing for anything that the notebook does or that befalls the machine.
    """
    start = time.perf_counter()
    exercises = [definition(name) for name in names]
    try:
        frames.pack({"cells": list(cells), "names": list(names)})
    except frames.Malformed as error:
        return blank("unreadable", f"the notebook's code cannot be sent to a box: {error}", names)
    with _Session(cells, [exercise.name for exercise in exercises], box_factory) as session:
        marks = [_grade_one(exercise, student, secret, session) for exercise in exercises]
    marks = _review_dependent(marks, cells)
    statuses = {mark.status for mark in marks}
    notes = [NOTHING_FOUND] if statuses == {Status.MISSING} else []
    status = next((s for s in (Status.INFRA_ERROR, Status.NEEDS_REVIEW) if s in statuses), "")
    status = status or ("student_error" if session.deaths else "graded")
    return Graded(
        status=status,
        reason="; ".join(dict.fromkeys(session.faults or session.deaths)),
        seconds=round(time.perf_counter() - start, 3),
        peak_memory=session.peak_memory,
        notes=(*notes, *session.notes),
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


def _grade_one(exercise: Definition, student: str, secret: bytes, session: _Session) -> Mark:
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


def _review_dependent(marks: Sequence[Mark], cells: Sequence[str]) -> list[Mark]:
    """Set aside what failed and calls another exercise that failed: in the notebook, that one's name means the reference,
    so that the caller may have been right there; in a box, it means the student's own."""
    failed = {mark.name for mark in marks if mark.status not in (Status.RIGHT, Status.INFRA_ERROR)}
    reviewed = []
    for mark in marks:
        if mark.name in failed and mark.status not in (Status.MISSING, Status.NEEDS_REVIEW):
            called = sorted(forbidden.called(mark.name, cells) & failed)
            if called:
                message = words.for_grader([CallsFailed(tuple(called))])
                review = {"status": Status.NEEDS_REVIEW, "points": 0, "mistake": None, "message": message}
                mark = msgspec.structs.replace(mark, **review)
        reviewed.append(mark)
    return reviewed


def _outcome(exercise: Definition, trials: list[Trial], session: _Session) -> Outcome:
    """The outcome; in a fresh box if what an earlier exercise did to the box may be behind it.

    Processes that it left behind, say, or computing time that it used up.
    """
    before, deaths = list(session.served), len(session.deaths)
    outcome = _attempt(exercise, trials, session)
    died = len(session.deaths) > deaths
    if outcome.status == Status.ERROR and ((died and before) or Status.ERROR in before):
        del session.deaths[deaths:]
        session.close()
        outcome = _attempt(exercise, trials, session)
    session.record(outcome.status)
    return outcome


def _attempt(exercise: Definition, trials: list[Trial], session: _Session) -> Outcome:
    """Ask for the observations and judge them; what may be the machine's fault is asked for once more."""
    answers = session.ask(exercise.name, trials)
    if answers is not None and not session.hopeless and _doubtful(answers):
        session.check_machine()
        answers = session.ask(exercise.name, trials)
    if answers is not None and answers.starved:
        raise Unavailable("the machine is too busy: the box hardly got a processor")
    if answers is None:
        return Outcome(
            Status.MISSING, (NotThere(exercise.name, forbidden.near_miss(exercise.name, session.cells, names())),)
        )
    if answers.forged:
        session.deaths.append(f"{exercise.name}: what came back is no observation")
        return Outcome(Status.ERROR, (Interfered(),))
    if answers.death:
        session.deaths.append(f"{exercise.name}: {answers.death}")
        return Outcome(Status.ERROR, (Died(answers.death),))
    return _judged(exercise, trials, answers.observations, session)


def _doubtful(answers: _Answers) -> bool:
    """Whether a slow or failing machine may be behind it: a time limit, or a process that somebody has killed."""
    if answers.death:
        return not answers.certain
    return any(observation.event == "timed out" for observation in answers.observations)


def _judged(exercise: Definition, trials: list[Trial], observed: list[Observation], session: _Session) -> Outcome:
    known = [
        _sanitised(observation, trial, session.lines) for observation, trial in zip(observed, trials, strict=False)
    ]
    try:
        outcome = judge(exercise.name, trials, known)
        words.for_grader(outcome.findings)  # a sentence may fail too
    except Exception as error:  # a bug of ours must cost nobody a point, and a hostile result must not stop the run
        session.notes.append(f"{exercise.name}: judging failed with {type(error).__name__}")
        return Outcome(Status.NEEDS_REVIEW, (CannotJudge(),))
    if outcome.status == Status.RIGHT and len(known) != len(trials):
        return Outcome(Status.NEEDS_REVIEW, (CannotJudge(),))
    if outcome.status not in (Status.RIGHT, Status.NEARLY_RIGHT):
        return outcome
    used = forbidden.calls(exercise.forbidden, exercise.name, session.cells)
    return outcome.with_forbidden(used) if used else outcome


# -- talking to boxes --------------------------------------------------------------------------------------------


class _Session:
    """The boxes of one submission, one after the other: after a death, the next exercise gets a fresh one."""

    def __init__(self, cells: Sequence[str], names: list[str], box_factory: BoxFactory) -> None:
        self.cells, self.names, self._factory = list(cells), names, box_factory
        self.lines = {line.strip() for cell in cells for line in cell.splitlines()}
        self.notes: list[str] = []
        self.deaths: list[str] = []
        self.faults: list[str] = []
        self.peak_memory = 0
        self.served: list[str] = []  # the statuses of the exercises that the running box has been asked for
        self.hopeless = ""  # why no box ever gets through the definitions
        self._boxes = contextlib.ExitStack()
        self._box: Any = None
        self._defined: set[str] = set()
        self._starts, self._started, self._starved = 0, False, False
        self._left = SUBMISSION_LIMIT + EXERCISE_LIMIT * len(names)

    def __enter__(self) -> _Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the box that is running, if any."""
        if self._box is not None:
            box, self._box, self.served = self._box, None, []
            self._boxes.close()
            self.peak_memory = max(self.peak_memory, int(getattr(box, "peak_memory", 0)))

    def record(self, status: str) -> None:
        """Note how an exercise ended, for as long as its box lives."""
        if self._box is not None and status != Status.MISSING:
            self.served.append(status)

    def ask(self, name: str, trials: list[Trial]) -> _Answers | None:
        """What a box answers to the trials, as far as it gets; None if the notebook has no such function."""
        if self._left <= 0 and not self.hopeless:
            self.check_machine()
            self.hopeless = "all exercises together ran longer than the time limit"
        if self.hopeless:
            return _Answers(death=self.hopeless)
        return self._ask(name, trials)

    def _ask(self, name: str, trials: list[Trial]) -> _Answers | None:
        answers = _Answers()
        learned = self._box is not None
        try:
            if not learned:
                self._open(self.names)
                self._learn()
                learned = True
            if name not in self._defined:
                return None
            self._run(trials, answers)
        except frames.Malformed:
            answers.forged = answers.certain = True
            answers.death = "it sent something else than an observation"
        except frames.WireError as error:
            late = isinstance(error, frames.Late)
            answers.starved = late and self._starved
            answers.death, answers.certain = self._death(late)
            answers.certain = answers.certain and learned
        if answers.death:
            self._starts += not learned
            self.hopeless = answers.death if self._starts > 1 else ""
            self.close()
        return answers

    def check_machine(self) -> None:
        """Raise Unavailable unless an empty notebook finds a box here, and soon."""
        self.close()
        try:
            self._open([])
            with self._patience(START_LIMIT) as patience:
                self._box.channel.receive(patience)
                seconds = patience.seconds_used()
        except frames.WireError as error:
            raise Unavailable(f"a box with an empty notebook failed too ({type(error).__name__})") from None
        finally:
            self.close()
        if seconds > SLOW_START:
            raise Unavailable(f"the machine is too slow: an empty box took {seconds:.0f} seconds")

    def _open(self, names: list[str]) -> None:
        try:
            self._box = self._boxes.enter_context(self._factory())
        except Exception as error:
            self._box = None
            raise Unavailable(f"no box could be started ({type(error).__name__}: {printable(str(error))})") from None
        self._box.channel.send(
            {"cells": self.cells if names else [], "names": names}, deadline=time.monotonic() + START_LIMIT
        )

    def _learn(self) -> None:
        """Receive which functions the notebook defines; the remarks of the first box only, which has seen no input."""
        with self._patience(START_LIMIT) as patience:
            message, _ = self._box.channel.receive(patience)
        defined, notes = message.get("found"), message.get("notes")
        if not isinstance(defined, dict) or not isinstance(notes, list):
            raise frames.Malformed("no list of what was found")
        self._defined = defined.keys() & set(self.names)
        if not self._started:
            self.notes += [printable(note, 300) for note in notes[:NOTES] if isinstance(note, str)]
        self._started = True

    def _run(self, trials: list[Trial], answers: _Answers) -> None:
        """Send the trials one by one, without the names of edge cases. Raises WireError."""
        left = TOTAL_LIMIT
        for trial in trials:
            limit = min(TIME_LIMIT, left)
            observation, used = self._observed(trial, limit, GRACE if answers.observations else FIRST_GRACE)
            if observation.event == "timed out" and not answers.observations:  # what it has imported is there by now
                observation, used = self._observed(trial, limit, GRACE)
            answers.observations.append(observation)
            left = max(left - min(observation.seconds, used), 0.0)
            if observation.event in ("timed out", "not attempted"):
                answers.starved = observation.event == "timed out" and used < ENOUGH * limit
                break

    def _observed(self, trial: Trial, limit: float, grace: float) -> tuple[Observation, float]:
        """What a box answers to one trial, and the seconds that it used. Raises WireError."""
        with self._patience(limit + grace) as patience:
            self._send_trial(trial, limit, patience)
            message, tensors = self._box.channel.receive(patience)
            used = patience.seconds_used()
        observation = wire.observation_from_wire(message, tensors, trial)
        if message.get("notes"):  # its words might tell the inputs
            self._note(f"{trial.exercise}: some of the statements around the function failed")
        return observation, used

    @contextlib.contextmanager
    def _patience(self, seconds: float) -> Iterator[_Patience]:
        """A deadline for the running box; what it uses until it is met is taken from the submission's time."""
        patience = _Patience(self._box, seconds)
        try:
            yield patience
        except frames.Late:
            self._starved = patience.seconds_used() < ENOUGH * seconds
            raise
        finally:
            self._left -= min(seconds - patience(), SUBMISSION_LIMIT)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _send_trial(self, trial: Trial, limit: float, deadline: _Patience) -> None:
        try:
            message, tensors = wire.trial_to_wire(replace(trial, label=""))
            self._box.channel.send({"trial": message, "time_limit": limit}, tensors, deadline=deadline)
        except frames.Malformed as error:
            raise Unavailable(f"a trial of {trial.exercise} cannot be sent ({error})") from None

    def _death(self, late: bool) -> tuple[str, bool]:
        """Why the box is gone, in words of our own, and whether only the notebook can have brought that about."""
        reason = str(self._box.why() or "") if self._box is not None else ""
        exited = re.fullmatch(r"exited (-?\d{1,3})", reason)
        if exited:
            return f"it exited with status {exited[1]}", True
        text = DEATHS.get(reason, DEATHS["time"] if late else "its process ended")
        return text, reason in ("memory", "cpu")


class _Patience:
    """How many seconds a box has left, of so many of its own: to be asked again and again."""

    def __init__(self, box: Box, seconds: float) -> None:
        self._box, self._seconds, self._began = box, seconds, box.times()

    def __call__(self) -> float:
        return self._seconds - self._box.times().charged(self._began)

    def seconds_used(self) -> float:
        """The seconds that the box has used itself."""
        return self._box.times().since(self._began)


# -- what a box's words become -----------------------------------------------------------------------------------


def _sanitised(observation: Observation, trial: Trial, lines: set[str]) -> Observation:
    """The observation with none of the box's own words in what a message may show.

    Points do not depend on what is replaced: the names of types that are no plain values, an exception's message, and
    printed text. An exception keeps the line only if it stands in the notebook.
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


def _sanitised_failure(failure: Failure, lines: set[str]) -> Failure:
    kind = failure.kind if failure.kind in EXCEPTIONS else "Exception"
    line = failure.line.strip()
    shown = bool(line) and line in lines
    known = failure.message if failure.message in words.STOPPED else advised_part(failure.message)
    return Failure(kind, failure.parents, known, 1 if shown else None, line if shown else "")
