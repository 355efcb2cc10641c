"""What can be found about an answer, as facts: which result, which kind, which numbers, which case.

`judge` finds them, `words` makes sentences of them. A finding holds no tensor and no object of the student's, only
plain values. One that names a mistake has a `key`, and a `general_key` without the numbers in it, which may follow from
inputs that nobody is to know.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from torch import Tensor

from course_utils.boxed.observe import Observation

Shape = tuple[int, ...]


class Status(StrEnum):
    """How an answer stands; the last two only in grading."""

    RIGHT = "right"
    NEARLY_RIGHT = "nearly right"
    DIAGNOSED = "diagnosed"
    WRONG = "wrong"
    ERROR = "error"
    NOT_ATTEMPTED = "not attempted"
    NEEDS_REVIEW = "needs_review"
    MISSING = "missing"
    INFRA_ERROR = "infra_error"


class Leaf(NamedTuple):
    """One value of an observation: the dict in which it stands, and its name there."""

    part: str
    name: str


def leaves(observation: Observation) -> dict[Leaf, Any]:
    """All leaves of an observation: results, then states, then gradients."""
    parts = {"outputs": observation.outputs, "states": observation.states, "gradients": observation.gradients}
    return {Leaf(part, name): value for part, values in parts.items() for name, value in values.items()}


@dataclass(frozen=True)
class Finding:
    """The base of all findings."""

    @property
    def key(self) -> str | None:
        """The key of the mistake that this is, if it is one."""
        return None

    @property
    def general_key(self) -> str | None:
        """The key without what may follow from the inputs."""
        return self.key


# -- how far an answer got -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Right(Finding):
    """Right on so many random cases."""

    cases: int


@dataclass(frozen=True)
class LessExact(Finding):
    """Right, but `leaf` is a number instead of a tensor or the reverse, of another precision, or right to seven digits."""

    leaf: Leaf
    expected: str
    actual: str


@dataclass(frozen=True)
class NotAttempted(Finding):
    """Still the stub; `begun`: it does something before it says so."""

    begun: bool


@dataclass(frozen=True)
class TimeLimit(Finding):
    """Stopped after so many seconds: one call, on the edge case `label` if there is one, or all of them `together`.

    Where it stood, if that is known; and what was under way there: "importing", "compiling", "waiting" or nothing.
    """

    seconds: float
    label: str = ""
    together: bool = False
    line_number: int | None = None
    line: str = ""
    stage: str = ""


@dataclass(frozen=True)
class OtherParameters(Finding):
    """The function cannot be called with these arguments; `message` is Python's."""

    arguments: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class Raised(Finding):
    """An exception on an ordinary case or the edge case `label`, where arguments had these shapes; perhaps instead of
    another one, which is asked for. `meant`: the name that may be meant by one that there is not."""

    exercise: str
    kind: str
    message: str
    line_number: int | None
    line: str
    label: str = ""
    asked_kind: str = ""
    asked_message: str = ""
    shapes: tuple[tuple[str, Shape], ...] = ()
    meant: str = ""


# -- mistakes that have a name -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NamedMistake(Finding):
    """A mistake from the exercise's definition; of one result among several, `leaf`, or of `others` as well."""

    name: str
    sentence: str
    leaf: Leaf | None = None
    others: tuple[Leaf, ...] = ()

    @property
    def key(self) -> str:
        """The mistake's name in the definition."""
        return self.name


@dataclass(frozen=True)
class BrokenClaim(Finding):
    """A property that the result should have and has not."""

    claim: str
    sentence: str


@dataclass(frozen=True)
class Transformation(Finding):
    """`leaf` is what was expected but transformed, and so are `others`.

    `kind` is one of those of `transformations.py`; `parameters` says how; `size` is the number behind a named factor.
    """

    kind: str
    leaf: Leaf
    parameters: tuple[Any, ...] = ()
    shape: Shape = ()
    expected_shape: Shape = ()
    size: int = 0
    others: tuple[Leaf, ...] = ()

    @property
    def key(self) -> str:
        """generic:shifted:0:1, say."""
        return ":".join([self.general_key, *map(str, self.parameters)])

    @property
    def general_key(self) -> str:
        """generic:shifted, say."""
        return f"generic:{self.kind}"


@dataclass(frozen=True)
class NotFinite(Finding):
    """So many of a leaf's entries are infinite or, some at least, NaN, where finite ones are asked for."""

    leaf: Leaf
    has_nan: bool
    count: int
    entries: int
    others: tuple[Leaf, ...] = ()

    @property
    def key(self) -> str:
        """The same for all."""
        return "generic:unstable"


@dataclass(frozen=True)
class OtherOrder(Finding):
    """The results come in another order than asked for."""

    order: tuple[str, ...]
    asked: tuple[str, ...]

    @property
    def key(self) -> str:
        """The same for all."""
        return "generic:order"


@dataclass(frozen=True)
class Cut(Finding):
    """The values are right, but no gradient arrives at these arguments or parameters."""

    names: tuple[str, ...]

    @property
    def key(self) -> str:
        """The same for all."""
        return "generic:cut"


@dataclass(frozen=True)
class NotCut(Finding):
    """The values are right, but gradients flow where none should."""

    @property
    def key(self) -> str:
        """The same for all."""
        return "generic:not-cut"


@dataclass(frozen=True)
class OnlyOnEdge(Finding):
    """Right on every ordinary case, but not on this edge case; there, `inner` is what is wrong. Nor on `others`."""

    label: str
    inner: tuple[Finding, ...]
    others: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The named mistake that is made there, else the edge case, in words."""
        named = [finding.key for finding in self.inner if isinstance(finding, NamedMistake)]
        return "+".join(named) or f"generic:edge:{self.label}"


# -- another form than asked for -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class OnCase(Finding):
    """What has been said of the form is of this edge case."""

    label: str


@dataclass(frozen=True)
class NotRaised(Finding):
    """A result where an exception is asked for."""

    kind: str
    message: str


@dataclass(frozen=True)
class NoResult(Finding):
    """None where a result is asked for; `printed`: it was printed instead."""

    printed: bool


@dataclass(frozen=True)
class YieldsResult(Finding):
    """A generator function where a function is asked for."""


@dataclass(frozen=True)
class OtherResults(Finding):
    """Another number of results, or lists of another length, than those named `asked`; `structure` as `describe` says."""

    asked: tuple[str, ...]
    asked_structure: str
    structure: str


@dataclass(frozen=True)
class NoTensor(Finding):
    """A value of another type (`kind`) where a tensor is asked for."""

    leaf: Leaf
    expected_shape: Shape
    kind: str


@dataclass(frozen=True)
class NoPlainTensor(Finding):
    """A tensor of a class of its own."""

    leaf: Leaf
    kind: str


@dataclass(frozen=True)
class OtherShape(Finding):
    """A tensor of another shape."""

    leaf: Leaf
    expected: Shape
    actual: Shape


@dataclass(frozen=True)
class OtherDtype(Finding):
    """A tensor of another dtype; `like_arguments`: the expected one is that of the arguments."""

    leaf: Leaf
    expected: str
    actual: str
    like_arguments: bool


@dataclass(frozen=True)
class OtherDevice(Finding):
    """A tensor on another device than the arguments."""

    leaf: Leaf
    expected: str
    actual: str


@dataclass(frozen=True)
class OtherType(Finding):
    """A value of another type, where no tensor is asked for."""

    leaf: Leaf
    expected: str
    actual: str


@dataclass(frozen=True)
class ChangedArguments(Finding):
    """Arguments that were changed in place; `is_list`: the first of them is a list."""

    names: tuple[str, ...]
    is_list: bool


@dataclass(frozen=True)
class SharedMemory(Finding):
    """A result in the memory of an argument, where a fresh tensor is asked for."""

    result: str
    argument: str


# -- another value than asked for ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Value:
    """A value that can be written down: a tensor by its shape, a number, anything else by its `repr`."""

    shape: Shape | None = None
    number: float | None = None
    text: str = ""

    @classmethod
    def of(cls, value: Any) -> Value:
        """The value, written down."""
        if isinstance(value, Tensor):
            return cls(shape=tuple(value.shape))
        return cls(number=value) if isinstance(value, float) else cls(text=repr(value))


@dataclass(frozen=True)
class OtherEntry(Finding):
    """A tensor of the right form with other entries: the largest difference, where it is, and what stands there."""

    leaf: Leaf
    gap: float
    place: tuple[int, ...]
    actual: float
    expected: float
    shape: Shape
    dtype: str


@dataclass(frozen=True)
class OtherValue(Finding):
    """A value that is no tensor and not what was expected; for these arguments, where they are few plain values."""

    leaf: Leaf
    actual: Value
    expected: Value
    arguments: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class OtherInfinities(Finding):
    """Infinities, of which the right result has some, stand in other places: so many are missing, so many too much;
    the first of all has the value `yours`."""

    leaf: Leaf
    value: float
    entries: int
    missing: int
    surplus: int
    first: tuple[int, ...]
    yours: float


@dataclass(frozen=True)
class OtherWay(Finding):
    """The result is right, but not the way in which it is made."""


@dataclass(frozen=True)
class Share(Finding):
    """On how many of the random cases the answer is wrong, and which of its results are right on all of them."""

    wrong: int
    cases: int
    right: tuple[str, ...]


# -- what only the notebook sees, and what it shares with the grader -----------------------------------------------


@dataclass(frozen=True)
class TooSlow(Finding):
    """A right answer that takes so many times as long as the reference."""

    times: float


@dataclass(frozen=True)
class StandIn(Finding):
    """From here on the exercise's name means the reference."""

    exercise: str


@dataclass(frozen=True)
class ForbiddenCalls(Finding):
    """Forbidden calls in the text of an answer whose status would be `otherwise`, and operators seen on one case."""

    calls: tuple[str, ...]
    otherwise: Status
    operators: tuple[str, ...] = ()
    case: int = 0


# -- what only grading finds ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NotThere(Finding):
    """The notebook has no function of this name; perhaps one whose name is `near`."""

    name: str
    near: str = ""


@dataclass(frozen=True)
class Interfered(Finding):
    """What came back is no observation."""


@dataclass(frozen=True)
class Died(Finding):
    """The process that ran the code is gone; `reason` is the grader's own."""

    reason: str


@dataclass(frozen=True)
class CannotJudge(Finding):
    """The judgement failed."""


@dataclass(frozen=True)
class CallsFailed(Finding):
    """It calls other exercises that are not right yet."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class ForAPerson(Finding):
    """A reason to look: one of those in `words.REASONS`, with the packages or lessons that it is about."""

    reason: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Postponed(Finding):
    """No box could be had, for a reason that is not the student's."""

    reason: str
