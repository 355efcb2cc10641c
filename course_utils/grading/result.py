"""The result of grading one submission: a type, its words, and the JSON file that keeps it.

`Graded` is what the checker makes of a notebook; a `Result` also says whose notebook that was. Points are bounded, and
states and statuses are among those that the pages have words for: nothing else can be made or read.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NamedTuple

import msgspec

from course_utils.display import SIGNS
from course_utils.errors import CourseError
from course_utils.grading.text import printable

VERSION = 1  # of the result files
KNOWN_BY_ID = re.compile(r"(?P<name>.+)_(?P<id>[0-9]{1,18})", re.DOTALL)  # a student in Canvas and Moodle

UNLISTED = "not in the manifest"  # why a file gives nobody a grade
NOBODY = f"{UNLISTED}: "  # begins the "student" of such a file


class Word(NamedTuple):
    """How pages show an exercise's status: a sign, what it is called, and the group whose colour it has."""

    sign: str
    text: str
    group: str


# An exercise's status.
WORDS = {
    "right": Word(SIGNS["right"], "right", "right"),
    "nearly right": Word(SIGNS["nearly right"], "nearly right: all but edge cases", "nearly"),
    "diagnosed": Word(SIGNS["diagnosed"], "not yet right: a known mistake", "known"),
    "wrong": Word(SIGNS["wrong"], "not yet right", "wrong"),
    "error": Word(SIGNS["error"], "stopped with an error", "wrong"),
    "not attempted": Word(SIGNS["not attempted"], "not attempted", "open"),
    "missing": Word(SIGNS["missing"], "not found", "open"),
    "needs_review": Word(SIGNS["needs_review"], "a person will look at it", "review"),
    "accepted": Word(SIGNS["right"], "points given by a person", "right"),
    "declined": Word(SIGNS["wrong"], "a person gave no points", "wrong"),
    "infra_error": Word(SIGNS["infra_error"], "not graded yet", "review"),
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


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one exercise. `status` is one of `WORDS`, `mistake` the key of a known one, `seconds` wall time.

    Raises ValueError for another status, and for points that are not between 0 and `max_points`.
    """

    name: str
    lesson: str
    points: int | float
    max_points: int | float
    status: str
    mistake: str | None = None
    message: str
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.status not in WORDS:
            raise ValueError(f"the status is {printable(repr(self.status))}, not one of {', '.join(WORDS)}")
        if not 0 <= self.points <= self.max_points < math.inf:
            raise ValueError(f"{self.points} of {self.max_points} points")

    @property
    def word(self) -> Word:
        """How pages show its status."""
        return WORDS[self.status]

    @property
    def is_solved(self) -> bool:
        """Whether the exercise is right, or a person has given points for it."""
        return self.word.group == "right"


class Graded(msgspec.Struct, frozen=True, kw_only=True):
    """What the checker makes of one notebook. `status` is one of `STATES`, with a `reason` if there is one to give.

    `seconds` is wall time, `peak_memory` bytes of all processes of a box together, `notes` are remarks on the file.
    Raises ValueError for another status and for a time that is none.
    """

    status: str
    reason: str
    seconds: float
    peak_memory: int = 0
    notes: tuple[str, ...]
    marks: tuple[Mark, ...] = msgspec.field(name="exercises")

    def __post_init__(self) -> None:
        if self.status not in STATES:
            raise ValueError(f"the status is {printable(repr(self.status))}, not one of {', '.join(STATES)}")
        if not 0 <= self.seconds < math.inf:
            raise ValueError(f"{self.seconds} seconds")

    @property
    def points(self) -> int | float:
        """The points of all exercises together."""
        return sum(mark.points for mark in self.marks)

    @property
    def max_points(self) -> int | float:
        """How many points there are to be had."""
        return sum(mark.max_points for mark in self.marks)

    @property
    def is_final(self) -> bool:
        """Whether its points may be passed on, or a person or another run has to settle them first."""
        return self.status not in NOT_FINAL

    @property
    def remarks(self) -> list[str]:
        """What there is to say about the submission as a whole: the reason for its state, and notes."""
        return [text for text in (self.reason, *self.notes) if text]


class Result(Graded, frozen=True, kw_only=True):
    """A graded submission, as its result file keeps it.

    `key` follows from student, path and content; `student` and `file` are printable; `deadline` is ISO 8601, or "".
    `fingerprint` is a hash, keyed by the secret, of what it says and of all that it depends on beside the notebook.
    """

    version: int = VERSION
    key: str
    student: str
    file: str
    late: bool
    deadline: str = ""
    course_version: str = ""
    fingerprint: str = ""

    @property
    def display_name(self) -> str:
        """The student's name without the number that Canvas and Moodle append."""
        return display_name(self.student)


def display_name(student: str) -> str:
    """A student's name without the number that Canvas and Moodle append."""
    match = KNOWN_BY_ID.fullmatch(student)
    return printable(match["name"] if match else student) or "unnamed"


def points_text(value: float) -> str:
    """Points without a superfluous .0; a dot, whatever the machine's language."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


# -- the file ----------------------------------------------------------------------------------------------------


def to_json(result: Result) -> bytes:
    """The content of a result file, for programs and for people: whose it is comes first."""
    fields = msgspec.to_builtins(result)
    first = {name: fields.pop(name) for name in ("version", "key", "student", "file")}
    return msgspec.json.format(msgspec.json.encode(first | fields), indent=1) + b"\n"


def from_json(data: bytes) -> Result:
    """The result that a file holds; fields that it has beside those of a result are left aside.

    Raises CourseError with the field that is not as it should be, and what to do.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _not_a_result(f"it is not valid JSON ({error})") from None
    version = content.get("version") if isinstance(content, dict) else None
    if version != VERSION:
        raise _not_a_result(f"version {VERSION} was expected, and it is {printable(repr(version))}")
    try:
        return msgspec.convert(content, Result)
    except msgspec.ValidationError as error:
        raise _not_a_result(_problem(content, str(error))) from None


def _not_a_result(problem: str) -> CourseError:
    return CourseError(f"this is not a result of this grader: {problem}. Delete the file and grade again.")


def _problem(content: dict[str, Any], said: str) -> str:
    """msgspec's complaint about the content with the field by name, and its value: it gives the path and the type."""
    complaint, _, path = said.partition(" - at `$")
    place = path.strip(".`")
    if not complaint.startswith("Expected"):
        return f"{place}: {complaint}" if place else complaint
    value: Any = content
    for part in re.findall(r"\w+", place):
        value = value[int(part) if part.isdecimal() else part]
    return f"{place} is {printable(repr(value))} ({complaint[0].lower()}{complaint[1:]})"
