"""The runner in the box: call a student's functions and send home what they did.

Started as `python -m course_utils.boxed.serve READER WRITER` with two inherited file descriptors, it speaks
first when spoken to:

* to {"cells": [source, …], "names": [exercise, …], "forbidden": {exercise: [call, …]}} it answers with what reading the
  notebook tells, before any of it is run: see `survey`;
* to {"trial": …, "time_limit": seconds} and the trial's tensors it answers with the observation's message and tensors,
  and "notes": what failed among the statements around the definition, the first time;
* to the same with "watched": true it answers {"operators": [name, …]}, those of torch that the function uses.

It ends when the other side closes. It shares its process with the student's code and protects nothing: whatever is
sent from here is only a claim about what a function returned. So a wild answer, a silent one, or none at all because
the process is gone must be, and is, the grader's business. What an exercise's code does to global settings and to its
own namespace is undone before the next exercise.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_utils.boxed.extract import Extract, Program, definitions, filename, lacking, run
from course_utils.boxed.forbidden import called, calls, defined
from course_utils.boxed.frames import Channel, Closed
from course_utils.boxed.observe import TIME_LIMIT, Failure, Observation, Trial, failure_of, observe
from course_utils.boxed.operators import watched
from course_utils.boxed.undisturbed import undisturbed
from course_utils.boxed.wire import observation_to_wire, trial_from_wire

MISSING = (NameError, KeyError, ImportError, AttributeError)  # what a function raises that came without all it needs


class Runner:
    """The functions of one notebook, each defined when it is first asked for and forgotten when another one is."""

    def __init__(self, cells: list[str], names: list[str]) -> None:
        self.extract: Extract = definitions(cells, names)
        self._current: Program | None = None
        self._candidate: Callable = _nothing
        self._failure: Failure | None = None
        self._notes: list[str] = []
        self._whole = False  # whether all statements of the notebook have been run for this exercise

    def answer(self, trial: Trial, time_limit: float) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The message and the tensors that answer a trial. Raises KeyError for an exercise that was not found."""
        program = self.extract.programs[trial.exercise]
        if program is not self._current:
            self._define(program)
        message, tensors = observation_to_wire(self._observe(trial, time_limit))
        message["notes"], self._notes = self._notes, []
        return message, tensors

    def operators(self, trial: Trial, time_limit: float) -> list[str]:
        """The operators that the function uses. Raises KeyError for an exercise that was not found."""
        if self.extract.programs[trial.exercise] is not self._current:
            self._define(self.extract.programs[trial.exercise])
        return [] if self._failure else watched(self._candidate, trial, time_limit)

    def _define(self, program: Program) -> None:
        """Make the function. An exception of its own statement is kept, as the outcome of every call."""
        self._current, self._candidate, self._failure = program, _nothing, None
        if program.lost:
            message, number, line = program.lost
            kind, colon, text = message.partition(": ")
            parents = ("SyntaxError", "Exception", "BaseException", "object")
            kind, text = (kind, text) if colon else ("SyntaxError", message)
            self._failure = Failure(kind, parents, text, number or None, line)
            return
        self._whole = False
        if not self._run(program):
            self._run_whole()

    def _run(self, program: Program) -> bool:
        """Define the function; False if it may only lack something."""
        with undisturbed(0):
            try:
                self._candidate, self._notes = run(self.extract, program)
                self._failure = None
            except BaseException as error:
                self._failure = failure_of(error, filename(program.cell))
                return not isinstance(error, MISSING)
        return True

    def _run_whole(self) -> bool:
        """Define it once more with all statements of the notebook, if not yet done; whether it is there then."""
        if self._whole or self._current is None:
            return False
        self._whole, before, failure = True, self._candidate, self._failure
        self._run(self.extract.whole(self._current))
        if self._failure is not None:
            self._candidate, self._failure = before, failure
            return False
        return True

    def _observe(self, trial: Trial, time_limit: float) -> Observation:
        if self._failure is not None:
            return Observation("raised", failure=self._failure)
        try:
            record = observe(self._candidate, trial, time_limit)
            lacks = record.failure is not None and {kind.__name__ for kind in MISSING} & set(record.failure.parents)
            return observe(self._candidate, trial, time_limit) if lacks and self._run_whole() else record
        except BaseException as error:  # KeyboardInterrupt, or an exception that arrives late
            file = filename(self._current.cell) if self._current else None
            return Observation("raised", failure=failure_of(error, file))


def _nothing(*_: Any) -> None:
    """Stands for a function that could not be defined."""


def survey(extract: Extract, cells: list[str], forbidden: dict[str, list[str]]) -> dict[str, Any]:
    """What reading a notebook tells: {"found": {exercise: {"cell": its number, "forbidden": calls that it is to be
    written without, "calls": other exercises that it calls, "lacks": packages that are not here}}, "defined": names of
    functions, "notes": remarks}."""
    found = {
        name: {
            "cell": program.cell,
            "forbidden": calls(forbidden.get(name, ()), name, cells),
            "calls": sorted(called(name, cells) & forbidden.keys()),
            "lacks": lacking(program),
        }
        for name, program in extract.programs.items()
    }
    return {"found": found, "defined": defined(cells), "notes": extract.notes}


def serve(reader: int, writer: int) -> None:
    """Answer over two file descriptors until the other side closes. Raises WireError when it sends nonsense."""
    for descriptor in (reader, writer):
        os.set_inheritable(descriptor, False)
    channel, home = Channel(reader, writer), os.getpid()
    torch.set_num_threads(1)
    message, _ = channel.receive()
    runner = Runner(message["cells"], message["names"])
    channel.send(survey(runner.extract, message["cells"], message["forbidden"]))
    while True:
        message, tensors = channel.receive()
        trial = trial_from_wire(message["trial"], tensors)
        limit = message.get("time_limit", TIME_LIMIT)
        if message.get("watched"):
            answer = {"operators": runner.operators(trial, limit)}, {}
        else:
            answer = runner.answer(trial, limit)
        if os.getpid() != home:  # a process that the student's code has forked, and that has come back here
            os._exit(0)
        channel.send(*answer)


def main() -> None:
    """Serve, and then leave at once, whatever threads or exit handlers the student's code has left behind."""
    gc.freeze()  # what has been imported so far is no garbage
    gc.enable()
    try:
        serve(int(sys.argv[1]), int(sys.argv[2]))
    except Closed:
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


if __name__ == "__main__":
    main()
