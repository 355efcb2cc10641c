"""When a result counts as the same: tolerances, and what two observations must have in common."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from course_utils.boxed.observe import Observation, Trial
from course_utils.exercises.define import Definition
from course_utils.exercises.findings import Leaf, leaves

PRECISIONS = (torch.float32, torch.float64)
# Largest difference, as a share of the largest expected entry (at least FLOOR), that still counts as equal.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 1e-2}
FLOOR = 0.1
SINGLE = 3e-7  # the same, of float64 results that float32 numbers went into: a constant, or a sum, of seven digits


@dataclass(frozen=True)
class Comparison:
    """One trial with what the reference did, what the candidate did, and whether that agrees; `lenient` as in `agrees`."""

    trial: Trial
    expected: Observation
    actual: Observation
    right: bool
    lenient: bool = False


def tolerance_between(actual: Tensor, expected: Tensor) -> float:
    """The tolerance of the less exact of two dtypes."""
    return max(TOLERANCE.get(expected.dtype, 1e-4), TOLERANCE.get(actual.dtype, 1e-4))


def close(actual: Tensor, expected: Tensor, tolerance: float | None = None) -> bool:
    """Whether two tensors agree in shape and, within the tolerance of their dtype, in every entry.

    NaN and infinities must stand in the same places with the same sign.
    """
    if actual.shape != expected.shape:
        return False
    if not expected.is_floating_point() or not actual.is_floating_point():
        return (
            torch.equal(actual.cpu().to(expected.dtype), expected.cpu())
            if expected.dtype != torch.bool
            else (actual.dtype == torch.bool and torch.equal(actual.cpu(), expected.cpu()))
        )
    a, e = actual.cpu().double(), expected.cpu().double()  # not every device has float64
    if tolerance is None:
        tolerance = tolerance_between(actual, expected)
    gap = _largest(a - e)
    if not math.isfinite(gap):
        finite = e.isfinite()
        if not torch.equal(finite, a.isfinite()) or not torch.equal(a[~finite].nan_to_num(), e[~finite].nan_to_num()):
            return False
        a, e = a[finite], e[finite]
        gap = _largest(a - e)
    return gap <= tolerance * max(_largest(e), FLOOR)


def _largest(values: Tensor) -> float:
    """The largest absolute value; NaN if there is one."""
    return values.abs().max().item() if values.numel() else 0.0


def agrees(exercise: Definition, expected: Observation, actual: Observation, lenient: bool = False) -> bool:
    """Whether the candidate did what the reference did, in every respect that the exercise asks for.

    `lenient`: in single precision, a plain number for a tensor without dimensions, or the reverse, will do as well.
    """
    if expected.event == "raised":
        return same_exception(expected, actual)
    if actual.event != "returned" or actual.changed or (exercise.fresh and actual.shared):
        return False
    if exercise.claims:
        same = same_form(expected, actual, lenient)
        return same and not any(overflows(e, a) for e, a in _paired(expected, actual))
    return same_values(expected, actual, lenient)


def _paired(expected: Observation, actual: Observation) -> Iterator[tuple[Any, Any]]:
    given = leaves(actual)
    return ((value, given.get(leaf)) for leaf, value in leaves(expected).items())


def overflows(expected: Any, actual: Any) -> bool:
    """Whether NaN or infinities came where all is finite in what was expected."""
    both = isinstance(expected, Tensor) and isinstance(actual, Tensor)
    return both and bool(expected.isfinite().all()) and not actual.isfinite().all()


def behaves_alike(exercise: Definition, mistake: Observation, actual: Observation, lenient: bool = False) -> bool:
    """Whether the candidate did exactly what a mistake does; `lenient` as in `agrees`."""
    if mistake.event != actual.event:
        return False
    if mistake.event == "raised":
        return same_exception(mistake, actual)
    same_sharing = not exercise.fresh or mistake.shared == actual.shared
    return mistake.changed == actual.changed and same_sharing and same_values(mistake, actual, lenient)


def same_exception(expected: Observation, actual: Observation) -> bool:
    """Whether the exception that is asked for was raised, or one of its kind."""
    if expected.failure is None or actual.failure is None or actual.event != "raised":
        return False
    return expected.failure.kind in actual.failure.parents


def same_form(expected: Observation, actual: Observation, lenient: bool = False) -> bool:
    """Whether all leaves have the types, and tensors the shapes, dtypes and devices, of those expected."""
    asked, given = leaves(expected), leaves(actual)
    return asked.keys() == given.keys() and all(
        _form(value, lenient) == _form(given[leaf], lenient) for leaf, value in asked.items()
    )


def _form(value: Any, lenient: bool) -> Any:
    if not isinstance(value, Tensor):
        return type(value)
    either = lenient and value.dtype in PRECISIONS
    return value.shape, "float" if either else value.dtype, value.device


def same_values(expected: Observation, actual: Observation, lenient: bool = False) -> bool:
    """Whether all leaves are as expected."""
    asked, given = leaves(expected), leaves(actual)
    return asked.keys() == given.keys() and all(
        same(value, given[leaf], expected, lenient) or _is_no_gradient(leaf, value, given[leaf])
        for leaf, value in asked.items()
    )


def _is_no_gradient(leaf: Leaf, expected: Any, actual: Any) -> bool:
    """Whether no gradient arrives where it should be zero everywhere: as good as zeros."""
    return leaf.part == "gradients" and actual is None and isinstance(expected, Tensor) and not expected.any()


def same(expected: Any, actual: Any, among: Observation, lenient: bool = False) -> bool:
    """Whether a result is `expected`, one of the results `among` those of the reference; `lenient` as in `agrees`."""
    if lenient and (both := as_numbers(expected, actual, among)):
        e, a = both
        exact = torch.float32 not in (e.dtype, a.dtype)
        return a.device == e.device and close(a, e, SINGLE if exact else TOLERANCE[torch.float32])
    if isinstance(expected, Tensor):
        same_kind = type(actual) is Tensor and actual.dtype == expected.dtype and actual.device == expected.device
        return same_kind and close(actual, expected)
    if not same_type(expected, actual):
        return False
    if isinstance(expected, (int, float)):
        return abs(actual - expected) <= TOLERANCE[among.dtype] * max(abs(expected), FLOOR)
    return actual == expected


def as_numbers(expected: Any, actual: Any, among: Observation) -> tuple[Tensor, Tensor] | None:
    """Both as tensors, where float32 or float64 numbers are asked for and given."""
    e, a = (_as_tensor(value, among) for value in (expected, actual))
    return None if e is None or a is None or isinstance(expected, int) else (e, a)


def _as_tensor(value: Any, among: Observation) -> Tensor | None:
    """A float32 or float64 tensor, or a plain number as one without dimensions."""
    if isinstance(value, Tensor):
        return value if type(value) is Tensor and value.dtype in PRECISIONS else None
    plain = same_type(0.0, value)
    return torch.tensor(float(value), dtype=among.dtype) if plain else None


def same_type(expected: Any, actual: Any) -> bool:
    """Whether a value that is no tensor has the type asked for: an int does for a float, a bool for neither."""
    if type(expected) is float and type(actual) is int:
        return abs(actual) <= sys.float_info.max
    return type(actual) is type(expected) or (type(expected) is float and isinstance(actual, float))


def differing(c: Comparison) -> list[Leaf]:
    """The leaves that are not as expected."""
    given = leaves(c.actual)
    return [
        leaf for leaf, value in leaves(c.expected).items() if not same(value, given.get(leaf), c.expected, c.lenient)
    ]


def is_right_in(result: str, c: Comparison) -> bool:
    """Whether one of the results, a tensor or a list of them, is what it should be."""
    return all(
        same(value, c.actual.outputs.get(leaf), c.expected, c.lenient)
        for leaf, value in c.expected.outputs.items()
        if leaf == result or leaf.startswith(f"{result}[")
    )
