"""Say what is wrong in one trial: another form than asked for or, where the form is right, another value."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from course_utils.boxed.fixtures import Fixture
from course_utils.boxed.observe import Trial, describe
from course_utils.exercises.agree import Comparison, as_numbers, is_right_in, same, same_type
from course_utils.exercises.define import Definition
from course_utils.exercises.explain import not_finite
from course_utils.exercises.findings import (
    ChangedArguments,
    Finding,
    Leaf,
    LessExact,
    NoPlainTensor,
    NoResult,
    NoTensor,
    NotFinite,
    NotRaised,
    OtherDevice,
    OtherDtype,
    OtherEntry,
    OtherInfinities,
    OtherResults,
    OtherShape,
    OtherType,
    OtherValue,
    OtherWay,
    SharedMemory,
    Value,
    YieldsResult,
    leaves,
)


def other_form(exercise: Definition, c: Comparison) -> Finding | None:
    """None, a wrong number of results, wrong type, shape, dtype or device; changed arguments, shared memory."""
    expected, actual = c.expected, c.actual
    if expected.event == "raised" and expected.failure is not None:
        return NotRaised(expected.failure.kind, expected.failure.message)
    if actual.structure == "None" and expected.structure != "None":
        return NoResult(printed=bool(actual.printed))
    if actual.structure == "generator":
        return YieldsResult()
    asked, given = leaves(expected), leaves(actual)
    if asked.keys() != given.keys():
        return OtherResults(c.trial.outputs, expected.structure, actual.structure)
    values_right = all(is_right_in(name, c) for name in c.trial.outputs)
    for leaf, value in asked.items():
        if leaf.part == "gradients" and not values_right:
            continue  # first the values, then what follows from them
        finding = (
            None
            if c.lenient and _is_number(value, given[leaf], c)
            else _other_form_of(leaf, value, given[leaf], c.trial)
        )
        if finding:
            return finding
    if actual.changed:
        return ChangedArguments(actual.changed, isinstance(c.trial.arguments[actual.changed[0]], list))
    if exercise.fresh and actual.shared:
        return SharedMemory(*next(iter(actual.shared.items())))
    return None


def _other_form_of(leaf: Leaf, expected: Any, actual: Any, trial: Trial) -> Finding | None:
    if not isinstance(expected, Tensor):
        return None if same_type(expected, actual) else OtherType(leaf, _type_of(expected), _type_of(actual))
    if not isinstance(actual, Tensor):
        return NoTensor(leaf, tuple(expected.shape), _type_of(actual))
    if type(actual) is not Tensor:
        return NoPlainTensor(leaf, _type_of(actual))
    if actual.shape != expected.shape:
        return OtherShape(leaf, tuple(expected.shape), tuple(actual.shape))
    if actual.dtype != expected.dtype:
        like_arguments = any(isinstance(a, Tensor) and a.dtype == expected.dtype for a in trial.arguments.values())
        return OtherDtype(leaf, str(expected.dtype), str(actual.dtype), like_arguments)
    if actual.device != expected.device:
        return OtherDevice(leaf, str(expected.device), str(actual.device))
    return None


def _is_number(expected: Any, actual: Any, c: Comparison) -> bool:
    """Whether both are numbers, or tensors of one shape and device, in single or double precision."""
    both = as_numbers(expected, actual, c.expected)
    return both is not None and both[0].shape == both[1].shape and both[0].device == both[1].device


def _type_of(value: Any) -> str:
    """The type of a value in words."""
    kind = type(value).__name__ if isinstance(value, (list, tuple)) else describe(value)
    return f"numpy {kind}" if type(value).__module__ == "numpy" else kind


def less_exact(comparisons: list[Comparison]) -> LessExact | None:
    """How a leaf differs, a result if there is one, that is right to single precision, or as a number instead of a tensor,
    only."""
    found = []
    for c in comparisons:
        given = leaves(c.actual)
        for leaf, expected in leaves(c.expected).items():
            actual = given.get(leaf)
            if actual is not None and not same(expected, actual, c.expected):
                found.append(LessExact(leaf, _kind_of(expected), _kind_of(actual)))
    return min(found, key=lambda finding: finding.leaf.part != "outputs", default=None)


def _kind_of(value: Any) -> str:
    return str(value.dtype) if isinstance(value, Tensor) else type(value).__name__


def overflow(c: Comparison, comparisons: list[Comparison]) -> NotFinite | None:
    """NaN or infinities in a leaf that is finite in every case."""
    given = leaves(c.actual)
    for leaf, expected in leaves(c.expected).items():
        actual = given.get(leaf)
        if isinstance(expected, Tensor) and isinstance(actual, Tensor) and not actual.isfinite().all():
            others = (leaves(other.expected).get(leaf) for other in comparisons)
            if all(value.isfinite().all() for value in others if isinstance(value, Tensor)):
                return not_finite(leaf, actual)
    return None


def other_value(c: Comparison) -> Finding:
    """The worst entry of the first leaf that differs."""
    given = leaves(c.actual)
    for leaf, expected in leaves(c.expected).items():
        actual = given.get(leaf)
        if same(expected, actual, c.expected, c.lenient):
            continue
        if not isinstance(expected, Tensor) or not isinstance(actual, Tensor) or actual.shape != expected.shape:
            return OtherValue(leaf, Value.of(actual), Value.of(expected), _plain_arguments(c.trial))
        return _other_infinities(leaf, expected, actual) or _other_entry(leaf, expected, actual)
    return OtherWay()


def _other_entry(leaf: Leaf, expected: Tensor, actual: Tensor) -> OtherEntry:
    actual, expected = actual.cpu(), expected.cpu()
    gap = (actual.double() - expected.double()).abs()
    gap = gap.nan_to_num(float("inf")).masked_fill(actual == expected, 0.0)  # inf - inf is no difference
    place = tuple(int(i) for i in np.unravel_index(int(gap.argmax()), gap.shape))
    entries = (actual[place].item(), expected[place].item())
    return OtherEntry(leaf, gap.max().item(), place, *entries, tuple(expected.shape), str(expected.dtype))


def _other_infinities(leaf: Leaf, expected: Tensor, actual: Tensor) -> OtherInfinities | None:
    """Infinities that are part of the right result and stand in other places."""
    should, does = expected.isinf(), actual.isinf()
    missing, surplus = int((should & ~does).sum()), int((does & ~should).sum())
    if not should.any() or not missing + surplus:
        return None
    first = tuple(int(i) for i in (should != does).nonzero()[0])
    yours = float(actual[first])
    return OtherInfinities(leaf, expected[should][0].item(), expected.numel(), missing, surplus, first, yours)


def _plain_arguments(trial: Trial) -> tuple[tuple[str, str], ...]:
    """The arguments, where they are few plain values: then the student can redo the sum by hand."""
    if any(isinstance(value, (Tensor, Fixture)) for value in trial.arguments.values()):
        return ()
    return tuple((name, str(value)) for name, value in trial.arguments.items())
