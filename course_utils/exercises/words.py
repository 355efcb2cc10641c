"""All sentences about an answer, made of the same findings twice.

`for_notebook` tells everything. `for_grader` shows nothing that follows from hidden inputs, no value, no size, no number
of them, and no word that a grading box could have chosen: exceptions by their kind and the line of the notebook, numbers
as "…".
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

from course_utils.exercises import findings as f
from course_utils.exercises.advice import ABOUT_SHAPES, ADVICE, advised_part
from course_utils.exercises.define import GRADIENT
from course_utils.exercises.transformations import TRANSFORMATIONS

NUMBER = re.compile(r"(?<!\w)[-−+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
NEXT_LINE = "\n    "
CELL_HINT = "Run the exercise's cell in the notebook: there the message is shown in full."
REASONS = {
    "package": "It needs `{}`, which the grader does not have.",
    "shown as right": "But the notebook shows it as right, as it was saved.",
    "nothing": "None of these exercises is in the notebook: is it the right one?",
    "other lesson": "None of these exercises is in the notebook: is it the right one? It has exercises of lesson {}.",
}
OTHER_RESULT = "gives another result than asked for on some of the random cases, though of the right form."

# Why a call was stopped, by what was under way; and what of it is given more than the limit.
STOPPED = {
    "importing": "something was still being imported. Import it at the top of the cell.",
    "compiling": "`torch.compile` was still at work. Leave it away: the answer is checked as it stands.",
    "waiting": (
        "it waited instead of computing. Do without `sleep`, files and the network: all that an answer needs are its "
        "arguments."
    ),
}
PATIENT = ("importing", "compiling")


def for_notebook(findings: Sequence[f.Finding]) -> str:
    """What a student reads in the notebook."""
    return _joined(findings, _Writer())


def for_grader(findings: Sequence[f.Finding]) -> str:
    """What a student reads about a graded answer, whose inputs are hidden."""
    if _tell_values(findings):
        return OTHER_RESULT
    return _joined(findings, _DiscreetWriter())


def _tell_values(findings: Sequence[f.Finding]) -> bool:
    return any(isinstance(finding, (f.OtherEntry, f.OtherValue)) for finding in findings)


def _uses(it: f.ForbiddenCalls) -> str:
    """What to say of an answer that uses calls which its exercise forbids."""
    seen = f"{_code(it.operators)} of torch (seen on case {it.case})" if it.operators else ""
    return f"it uses {' and '.join(filter(None, [_code(it.calls), seen]))}, which this exercise asks you to do without"


def _joined(findings: Sequence[f.Finding], writer: _Writer) -> str:
    text = ""
    for finding in findings:
        sentence = _sentence(finding, writer)
        text += sentence if not text or sentence.startswith("\n") else f" {sentence}"
    return text


def _code(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


# -- how facts are written -----------------------------------------------------------------------------------------


class _Writer:
    """Writes numbers, names and texts as they are."""

    discreet = False

    def number(self, value: Any, digits: int = 4) -> str:
        """A number, floats to so many digits."""
        return f"{value + 0.0:.{digits}g}" if isinstance(value, float) else repr(value)  # adding 0 turns -0 into 0

    def text(self, text: str) -> str:
        """A text in which numbers may follow from the inputs: a reference's message, a place in a list."""
        return text

    def tuple(self, numbers: Sequence[int]) -> str:
        """A shape."""
        inner = ", ".join(map(self.number, numbers))
        return f"({inner},)" if len(numbers) == 1 else f"({inner})"

    def list(self, numbers: Sequence[int]) -> str:
        """A place in a tensor."""
        return f"[{', '.join(map(self.number, numbers))}]"

    def leaf(self, leaf: f.Leaf) -> str:
        """A result, a network's parameter after the call, a gradient, what a function was asked: what it is called."""
        asked, _, record = leaf.name.rpartition(".")
        if leaf.part == "states" and record == "asked":
            return f"the record of what `{self.text(asked)}` was asked"
        prefix = {"states": "after the call, ", "gradients": GRADIENT}.get(leaf.part, "")
        return f"`{prefix}{self.text(leaf.name)}`"

    def others(self, leaves: Sequence[f.Leaf]) -> str:
        """The other results of which the same is to be said."""
        return f" The same holds for {', '.join(map(self.leaf, leaves))}." if leaves else ""


class _DiscreetWriter(_Writer):
    """Writes "…" for every number."""

    discreet = True

    def number(self, value: Any, digits: int = 4) -> str:
        """The place of a number."""
        return "…"

    def text(self, text: str) -> str:
        """A text without its numbers."""
        return NUMBER.sub("…", text)


def _a(kind: str) -> str:
    """A type with its article."""
    return kind if kind == "None" else f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _line(number: int | None, line: str, w: _Writer) -> str:
    """The line of the answer where it stopped, if that is known."""
    if not number:
        return ""
    return NEXT_LINE + (f"in the line: {line}" if w.discreet else f"line {number}: {line}")


def _when(label: str) -> str:
    return f" (when {label})" if label else ""


# -- the sentences -------------------------------------------------------------------------------------------------


@functools.singledispatch
def _sentence(finding: f.Finding, w: _Writer) -> str:
    raise TypeError(f"there are no words for a {type(finding).__name__}")


def _says(kind: type[f.Finding]) -> Callable[[Callable[[Any, _Writer], str]], Callable[[Any, _Writer], str]]:
    return _sentence.register(kind)


@_says(f.Right)
def _(it: f.Right, w: _Writer) -> str:
    return f"right on {it.cases} random cases."


@_says(f.LessExact)
def _(it: f.LessExact, w: _Writer) -> str:
    leaf, tensor, wanted = w.leaf(it.leaf), it.actual.startswith("torch."), it.expected.startswith("torch.")
    if it.actual == it.expected:
        return (
            f"One thing: {leaf} has seven digits, as of float32, where the arguments are float64. A plain number, 0.3, has "
            "more of them than `torch.tensor(0.3)`; and tiny constants change what they are added to."
        )
    if tensor and wanted:
        return (
            f"One thing: {leaf} is {it.actual} instead of {it.expected}. New tensors get the dtype of x by "
            "`x.new_zeros(n)`, `torch.zeros_like(x)` or `torch.zeros(n, dtype=x.dtype)`."
        )
    if tensor:
        return f"One thing: {leaf} is a tensor, where a plain number is asked for: `.item()` makes one."
    return f"One thing: {leaf} is a plain number, where a tensor is asked for: leave out `.item()` or `float(...)`."


@_says(f.NotAttempted)
def _(it: f.NotAttempted, w: _Writer) -> str:
    text = "not attempted yet. The lesson goes on with the reference."
    if it.begun:
        text += " (`raise NotImplementedError` is still reached: delete that line once your code returns a result.)"
    return text


@_says(f.TimeLimit)
def _(it: f.TimeLimit, w: _Writer) -> str:
    if it.together:
        return f"stopped after {it.seconds:g} seconds for all cases together: far too slow. Do without the inner loops."
    text = STOPPED.get(it.stage, "a loop that never ends?")
    after = "" if it.stage in PATIENT else f" after {it.seconds:g} seconds"
    return f"stopped{after}{_when(it.label)}: {text}" + _line(it.line_number, it.line, w)


@_says(f.OtherParameters)
def _(it: f.OtherParameters, w: _Writer) -> str:
    message = "its parameters are others" if w.discreet else it.message
    text = f"cannot be called with the arguments ({', '.join(it.arguments)}): {message}. "
    return text + "Keep the parameters as they stand in the exercise." + (NEXT_LINE + CELL_HINT) * w.discreet


@_says(f.Raised)
def _(it: f.Raised, w: _Writer) -> str:
    advised, line = advised_part(it.message), _line(it.line_number, it.line, w)
    if it.kind == "RecursionError":
        text, advised = f"`{it.exercise}` calls itself without end{_when(it.label)}.", ""
    elif it.kind == "SystemExit":
        text, advised = "the function leaves Python (`exit`) instead of returning a result.", ""
    else:
        message = advised if w.discreet else it.message
        text = (f"{it.kind}: {message}" if message else it.kind) + _when(it.label)
        if it.asked_kind:
            text += f". {it.asked_kind} is asked for here ({w.text(it.asked_message)})."
        elif w.discreet:
            text += "."
    advice = NEXT_LINE + ADVICE[advised] if advised else ""
    if advised in ABOUT_SHAPES and it.shapes and not w.discreet:
        shapes = ", ".join(f"`{name}` {w.tuple(shape)}" for name, shape in it.shapes)
        advice += f" Here the arguments have the shapes: {shapes}."
    if it.meant and not w.discreet:
        advice += f"{NEXT_LINE}Did you mean `{it.meant}`?"
    return text + line + advice + (NEXT_LINE + CELL_HINT) * w.discreet


@_says(f.NamedMistake)
def _(it: f.NamedMistake, w: _Writer) -> str:
    return (f"{w.leaf(it.leaf)}: " if it.leaf else "") + it.sentence + w.others(it.others)


@_says(f.BrokenClaim)
def _(it: f.BrokenClaim, w: _Writer) -> str:
    return it.sentence


@_says(f.Transformation)
def _(it: f.Transformation, w: _Writer) -> str:
    return f"{w.leaf(it.leaf)} {TRANSFORMATIONS[it.kind](it, w)}{w.others(it.others)}"


@_says(f.NotFinite)
def _(it: f.NotFinite, w: _Writer) -> str:
    what = "NaN" if it.has_nan else "inf"
    return (
        f"{w.leaf(it.leaf)} contains {what} ({w.number(it.count)} of {w.number(it.entries)} entries) where the true "
        "value is finite: on the way a number overflows, or 0 meets infinity (0/0, 0 · log 0). Rearrange the formula."
        + w.others(it.others)
    )


@_says(f.OtherOrder)
def _(it: f.OtherOrder, w: _Writer) -> str:
    return f"the results come in the order ({', '.join(it.order)}); ({', '.join(it.asked)}) is asked for."


@_says(f.Cut)
def _(it: f.Cut, w: _Writer) -> str:
    return (
        f"the values are right, but no gradient arrives at {_code([w.text(name) for name in it.names])}: the result is "
        "cut from the graph (`.detach()`, `.data`, `.item()`, `torch.tensor(...)`, numpy or `torch.no_grad()` on the way)."
    )


@_says(f.NotCut)
def _(it: f.NotCut, w: _Writer) -> str:
    return "the values are right, but gradients flow where none should."


@_says(f.OnlyOnEdge)
def _(it: f.OnlyOnEdge, w: _Writer) -> str:
    text = f"nearly right, except where {', or where '.join([it.label, *it.others])}"
    return f"{text}." if w.discreet and _tell_values(it.inner) else f"{text}: {_joined(it.inner, w)}"


@_says(f.OnCase)
def _(it: f.OnCase, w: _Writer) -> str:
    return f"(This is the case where {it.label}.)"


@_says(f.NotRaised)
def _(it: f.NotRaised, w: _Writer) -> str:
    return f"should raise {it.kind} here ({w.text(it.message)}); yours returned a result."


@_says(f.NoResult)
def _(it: f.NoResult, w: _Writer) -> str:
    if it.printed:
        return "printed its result, but returned None. Replace `print(...)` by `return ...`."
    return "returned None. Did you forget `return`?"


@_says(f.YieldsResult)
def _(it: f.YieldsResult, w: _Writer) -> str:
    return "returned a generator: use `return` instead of `yield`."


@_says(f.OtherResults)
def _(it: f.OtherResults, w: _Writer) -> str:
    asked = f"{len(it.asked)} results, ({', '.join(it.asked)}), of type {it.asked_structure}"
    if len(it.asked) == 1:
        asked = f"`{it.asked[0]}`, a {it.asked_structure}"
    return f"should return {asked}; yours returned {it.structure}."


@_says(f.NoTensor)
def _(it: f.NoTensor, w: _Writer) -> str:
    return f"{w.leaf(it.leaf)} should be a tensor of shape {w.tuple(it.expected_shape)}; yours is {_a(it.kind)}."


@_says(f.NoPlainTensor)
def _(it: f.NoPlainTensor, w: _Writer) -> str:
    return f"{w.leaf(it.leaf)} should be a plain tensor; yours is {_a(it.kind)}."


@_says(f.OtherShape)
def _(it: f.OtherShape, w: _Writer) -> str:
    return f"{w.leaf(it.leaf)} should have shape {w.tuple(it.expected)}; yours has {w.tuple(it.actual)}."


@_says(f.OtherDtype)
def _(it: f.OtherDtype, w: _Writer) -> str:
    like = ", like the arguments" if it.like_arguments else ""
    return f"{w.leaf(it.leaf)} should have dtype {it.expected}{like}; yours has {it.actual}."


@_says(f.OtherDevice)
def _(it: f.OtherDevice, w: _Writer) -> str:
    return f"{w.leaf(it.leaf)} should be on {it.expected}, where the arguments are; yours is on {it.actual}."


@_says(f.OtherType)
def _(it: f.OtherType, w: _Writer) -> str:
    return f"{w.leaf(it.leaf)} should be {_a(it.expected)}; yours is {_a(it.actual)}."


@_says(f.ChangedArguments)
def _(it: f.ChangedArguments, w: _Writer) -> str:
    cure = "Work on a new tensor (`x = x + 1`, not `x += 1`; no `…_()`)."
    if it.is_list:
        cure = "Work on a copy (`list(...)`), or read it without `pop`, `append` or `del`."
    return f"changes its argument {_code(it.names)} in place. {cure}"


@_says(f.SharedMemory)
def _(it: f.SharedMemory, w: _Writer) -> str:
    result, argument = w.text(it.result), it.argument
    return f"`{result}` shares its memory with the argument `{argument}`; a fresh tensor is asked for (`.clone()`)."


@_says(f.OtherEntry)
def _(it: f.OtherEntry, w: _Writer) -> str:
    at = f" at {w.list(it.place)}" if it.place else ""
    digits = next((d for d in (4, 6, 9) if f"{it.actual:.{d}g}" != f"{it.expected:.{d}g}"), 17)
    return (
        f"{w.leaf(it.leaf)} differs from the expected value (largest difference {w.number(it.gap, 3)}{at}: yours "
        f"{w.number(it.actual, digits)}, expected {w.number(it.expected, digits)}; shape {w.tuple(it.shape)}, {it.dtype})."
    )


@_says(f.OtherValue)
def _(it: f.OtherValue, w: _Writer) -> str:
    verb = "is" if it.actual.shape is None else "has"
    arguments = ", ".join(f"{name}={value}" for name, value in it.arguments)
    asked = f" for {arguments}" if arguments else ""
    return f"{w.leaf(it.leaf)} {verb} {_value(it.actual, w)}; {_value(it.expected, w)} was expected{asked}."


def _value(value: f.Value, w: _Writer) -> str:
    if value.shape is not None:
        return f"shape {w.tuple(value.shape)}"
    return value.text if value.number is None else w.number(value.number)


@_says(f.OtherInfinities)
def _(it: f.OtherInfinities, w: _Writer) -> str:
    value = f"{it.value:g}".replace("-", "−")
    parts = [f"{w.number(it.missing)} that should be {value} are not"] * bool(it.missing)
    parts += [f"{w.number(it.surplus)} that should be finite are infinite"] * bool(it.surplus)
    return (
        f"{w.leaf(it.leaf)} has other entries at {value}: of {w.number(it.entries)}, {' and '.join(parts)} (the first at "
        f"{w.list(it.first)}: yours {w.number(it.yours)})."
    )


@_says(f.OtherWay)
def _(it: f.OtherWay, w: _Writer) -> str:
    return "the result is right, but not the way it is made."


@_says(f.Share)
def _(it: f.Share, w: _Writer) -> str:
    right = f" Right already: {_code(it.right)}." if it.right else ""
    return f"Different on {w.number(it.wrong)} of {w.number(it.cases)} random cases.{right}"


@_says(f.TooSlow)
def _(it: f.TooSlow, w: _Writer) -> str:
    return f"It takes {it.times:.0f} times as long as the reference. Can you do without the Python loop?"


@_says(f.StandIn)
def _(it: f.StandIn, w: _Writer) -> str:
    return f"{NEXT_LINE}The lesson goes on with the reference; your own function is `exercise.mine.{it.exercise}`."


@_says(f.ForbiddenCalls)
def _(it: f.ForbiddenCalls, w: _Writer) -> str:
    if it.otherwise not in (f.Status.RIGHT, f.Status.NEARLY_RIGHT):
        return f"{NEXT_LINE}Besides, {_uses(it)}."
    but = "But" if it.otherwise == f.Status.RIGHT else "Besides,"
    return f"{NEXT_LINE}{but} {_uses(it)}: write that part yourself. As it is, a person will decide on its points."


@_says(f.NotThere)
def _(it: f.NotThere, w: _Writer) -> str:
    near = f" It has `{it.near}`: give it the name that stands in the exercise." if it.near else ""
    return f"the notebook has no function `{it.name}`.{near}"


@_says(f.Interfered)
def _(it: f.Interfered, w: _Writer) -> str:
    return "your code interfered with the grader: what came back is not what a function returns."


@_says(f.Died)
def _(it: f.Died, w: _Writer) -> str:
    return f"your code ended the process that runs it: {it.reason}."


@_says(f.CannotJudge)
def _(it: f.CannotJudge, w: _Writer) -> str:
    return "could not be judged automatically; a person will look at it."


@_says(f.CallsFailed)
def _(it: f.CallsFailed, w: _Writer) -> str:
    called = f"it calls {_code(it.names)}, which is not right yet: with that, it cannot be judged."
    return f"{called} A person will decide."


@_says(f.ForAPerson)
def _(it: f.ForAPerson, w: _Writer) -> str:
    return f"{NEXT_LINE}{REASONS[it.reason].format(', '.join(it.names))} A person will decide."


@_says(f.Postponed)
def _(it: f.Postponed, w: _Writer) -> str:
    return f"could not be graded yet: {it.reason}"
