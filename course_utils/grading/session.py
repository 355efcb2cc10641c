"""A submission's talk with its boxes: what is asked, how long is waited, and what came of it.

What comes back is only ever data, whatever the box was made to send; `checker.py` judges it.
"""

from __future__ import annotations

import contextlib
import difflib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from course_utils.boxed import frames, operators, wire
from course_utils.boxed.forbidden import DEFINITIONS, PLAIN_NAME
from course_utils.boxed.observe import TIME_LIMIT, Observation, Trial
from course_utils.exercises.catalogue import definition, names
from course_utils.exercises.define import Definition
from course_utils.exercises.findings import Status
from course_utils.exercises.judge import TOTAL_LIMIT
from course_utils.grading.text import printable

# All seconds here are those that a box has used itself (`box.Times`): no verdict depends on how busy the machine is.
START_LIMIT = 40.0  # until a box has run a notebook's definitions
SLOW_START = 20.0  # after which an empty box is up: slower, and the machine is too slow to blame anybody
GRACE = 8.0  # that a box may take for one trial beyond the call itself: importing, copying, sending
FIRST_GRACE = 25.0  # the same for the first trial, before which the imports and constants around a function run
SUBMISSION_LIMIT = 120.0  # that the boxes of one submission may take, retries included, and EXERCISE_LIMIT more
EXERCISE_LIMIT = 40.0  # for each exercise; one box alone may use up SUBMISSION_LIMIT, so that a pause is no loss
SOON = 0.1  # so little by the clock counts as it is: looking closer costs the grader more than a call takes
ENOUGH = 0.9  # of its time: what has had less when it was over did not get a processor
NOTES = 20  # of the box's remarks on a notebook
LACKING = 5  # packages that an exercise lacks, as far as they are named
DEATHS = {
    "time": "it ran longer than the time limit",
    "cpu": "it used more computing time than allowed",
    "memory": "it used more memory than allowed",
    "files": "it made more files than allowed",
    "killed": "its process was killed",
}


class Box(Protocol):
    """What the checker wants of a box; see `box.Box`."""

    channel: Any

    def why(self) -> str:
        """What ended it: "time", "cpu", "memory", "files", "killed" or "exited N"."""
        ...

    def times(self) -> Any:
        """What it has taken until now, as `box.Times`."""
        ...


BoxFactory = Callable[[], AbstractContextManager[Box]]


class Unavailable(Exception):  # noqa: N818
    """No box can be had, or the machine is too busy: nothing that a student could be blamed for."""


@dataclass
class Answers:
    """The observations of one exercise so far, and why there are no more of them."""

    observations: list[Observation] = field(default_factory=list)
    death: str = ""
    forged: bool = False
    certain: bool = False  # that the death is the notebook's own doing
    starved: bool = False  # its time was over before it had computed so long: others had the processors


def opening(cells: Sequence[str], exercises: Sequence[Definition]) -> dict[str, Any]:
    """What a box is told first."""
    forbidden = {exercise.name: list(exercise.forbidden) for exercise in exercises}
    return {"cells": list(cells), "names": list(forbidden), "forbidden": forbidden}


@dataclass(frozen=True)
class Read:
    """What a box has read about an exercise, before it ran anything: forbidden calls in its text, other exercises that it
    calls, and packages that it imports and that are not there."""

    forbidden: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


class Session:
    """The boxes of one submission, one after the other: after a death, the next exercise gets a fresh one."""

    def __init__(self, cells: Sequence[str], exercises: Sequence[Definition], box_factory: BoxFactory) -> None:
        self._cells, self._exercises, self._factory = list(cells), exercises, box_factory
        self.lines = {line.strip() for cell in cells for line in cell.splitlines()}
        self.notes: list[str] = []
        self.deaths: list[str] = []
        self.faults: list[str] = []
        self.peak_memory = 0
        self.served: list[str] = []  # the statuses of the exercises that the running box has been asked for
        self.before: list[str] = []  # the same, when it was asked the last time
        self.hopeless = ""  # why no box ever gets through the definitions
        self._boxes = contextlib.ExitStack()
        self._box: Any = None
        self._found: dict[str, Read] = {}
        self._defined: list[str] = []  # the names of all functions
        self._starts, self._started, self._starved = 0, False, False
        self._left = SUBMISSION_LIMIT + EXERCISE_LIMIT * len(exercises)

    def __enter__(self) -> Session:
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

    def read(self, name: str) -> Read:
        """What the text of an exercise tells; nothing of one that was not found."""
        return self._found.get(name, Read())

    def near_miss(self, name: str) -> str:
        """The function that is called nearly like this exercise, and is none itself; "" if there is none."""
        others = [own for own in self._defined if own not in names()]
        return next(iter(difflib.get_close_matches(name, others, n=1)), "")

    def lessons(self) -> tuple[str, ...]:
        """The lessons whose exercises the notebook defines."""
        return tuple(sorted({definition(own).lesson for own in self._defined if own in names()}))

    def watch(self, trial: Trial) -> list[str]:
        """The operators of torch that an exercise uses on this trial; none that torch does not have, and none if the box
        does not tell."""
        try:
            with self._patience(TIME_LIMIT + GRACE) as patience:
                self._send_trial(trial, TIME_LIMIT, patience, watched=True)
                seen = self._box.channel.receive(patience)[0].get("operators")
        except frames.WireError:
            self.close()
            seen = None
        seen = seen if isinstance(seen, list) else []
        return [name for name in seen[: operators.KEPT] if isinstance(name, str) and operators.is_one(name)]

    def ask(self, name: str, trials: list[Trial]) -> Answers | None:
        """What a box answers to the trials, as far as it gets; None if the notebook has no such function."""
        if self._left <= 0 and not self.hopeless:
            self.check_machine()
            self.hopeless = "all exercises together ran longer than the time limit"
        if self.hopeless:
            return Answers(death=self.hopeless)
        return self._ask(name, trials)

    def _ask(self, name: str, trials: list[Trial]) -> Answers | None:
        answers, self.before = Answers(), list(self.served)
        learned = self._box is not None
        try:
            if not learned:
                self._open(opening(self._cells, self._exercises))
                self._learn()
                learned = True
            if name not in self._found:
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
            self._open(opening([], []))
            with self._patience(START_LIMIT) as patience:
                self._box.channel.receive(patience)
                seconds = patience.seconds_used()
        except frames.WireError as error:
            raise Unavailable(f"a box with an empty notebook failed too ({type(error).__name__})") from None
        finally:
            self.close()
        if seconds > SLOW_START:
            raise Unavailable(f"the machine is too slow: an empty box took {seconds:.0f} seconds")

    def _open(self, opening: dict[str, Any]) -> None:
        try:
            self._box = self._boxes.enter_context(self._factory())
        except Exception as error:
            self._box = None
            raise Unavailable(f"no box could be started ({type(error).__name__}: {printable(str(error))})") from None
        self._box.channel.send(opening, deadline=time.monotonic() + START_LIMIT)

    def _learn(self) -> None:
        """Receive what the box has read in the notebook, before it runs any of it; the remarks of the first box only."""
        with self._patience(START_LIMIT) as patience:
            message, _ = self._box.channel.receive(patience)
        found, notes = message.get("found"), message.get("notes")
        if not isinstance(found, dict) or not isinstance(notes, list):
            raise frames.Malformed("no list of what was found")
        asked = {exercise.name for exercise in self._exercises}
        self._defined = _plain_names(message.get("defined"), DEFINITIONS)
        self._found = {
            exercise.name: Read(
                tuple(call for call in _texts(found[exercise.name], "forbidden") if call in exercise.forbidden),
                tuple(name for name in _texts(found[exercise.name], "calls") if name in asked),
                tuple(_plain_names(_texts(found[exercise.name], "lacks"), LACKING)),
            )
            for exercise in self._exercises
            if exercise.name in found
        }
        if not self._started:
            self.notes += [printable(note, 300) for note in notes[:NOTES] if isinstance(note, str)]
        self._started = True

    def _run(self, trials: list[Trial], answers: Answers) -> None:
        """Send the trials one by one, without the names of edge cases. Raises WireError."""
        left = TOTAL_LIMIT
        for trial in trials:
            limit = min(TIME_LIMIT, left)
            computed = self._box.times().cpu_seconds
            observation, used = self._observed(trial, limit, GRACE if answers.observations else FIRST_GRACE)
            computed = self._box.times().cpu_seconds - computed
            if observation.event == "timed out" and not answers.observations and computed > limit / 2:
                observation, used = self._observed(trial, limit, GRACE)  # what it has imported is there by now
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

    def _send_trial(self, trial: Trial, limit: float, patience: _Patience, watched: bool = False) -> None:
        try:
            message, tensors = wire.trial_to_wire(replace(trial, label=""))
            asked = {"trial": message, "time_limit": limit, "watched": watched}
            self._box.channel.send(asked, tensors, deadline=patience)
        except frames.Malformed as error:
            raise Unavailable(f"a trial of {trial.exercise} cannot be sent ({error})") from None

    def _death(self, late: bool) -> tuple[str, bool]:
        """Why the box is gone, in words of our own, and whether only the notebook can have brought that about."""
        reason = str(self._box.why() or "") if self._box is not None else ""
        exited = re.fullmatch(r"exited (-?\d{1,3})", reason)
        if exited:
            return f"it exited with status {exited[1]}", True
        text = DEATHS.get(reason, DEATHS["time"] if late else "its process ended")
        return text, reason in ("memory", "files", "cpu")


class _Patience:
    """How many seconds a box has left, of so many of its own: to be asked again and again."""

    def __init__(self, box: Box, seconds: float) -> None:
        self._box, self._seconds, self._began = box, seconds, box.times()

    def __call__(self) -> float:
        passed = time.monotonic() - self._began.clock
        return self._seconds - (passed if passed < SOON else self._box.times().charged(self._began))

    def seconds_used(self) -> float:
        """The seconds that the box has used itself."""
        passed = time.monotonic() - self._began.clock
        return passed if passed < SOON else self._box.times().since(self._began)


def _texts(entry: Any, name: str) -> list[str]:
    """A list of texts in what a box has found. Raises Malformed."""
    texts = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise frames.Malformed(f"no list of {name}")
    return texts


def _plain_names(given: Any, most: int) -> list[str]:
    """The first names of a list that are plain ones."""
    known = given if isinstance(given, list) else []
    return [name for name in known[:most] if isinstance(name, str) and PLAIN_NAME.fullmatch(name)]
