"""When a result counts as the same: tolerances, and what two observations must have in common."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from course_utils.boxed.observe import Observation, Trial
from course_utils.exercises.define import Definition
from course_utils.exercises.findings import Leaf, leaves

# Largest difference, as a share of the largest expected entry (at least FLOOR), that still counts as equal.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 1e-2}
FLOOR = 0.1


@dataclass(frozen=True)
class Comparison:
    """One trial with what the reference did, what the candidate did, and whether that agrees."""

    trial: Trial
    expected: Observation
    actual: Observation
    right: bool


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
            torch.equal(actual.to(expected.dtype), expected)
            if expected.dtype != torch.bool
            else (actual.dtype == torch.bool and torch.equal(actual, expected))
        )
    a, e = actual.double(), expected.double()
    finite = e.isfinite()
    if not torch.equal(finite, a.isfinite()) or not torch.equal(a[~finite].nan_to_num(), e[~finite].nan_to_num()):
        return False
    if not finite.any():
        return True
    if tolerance is None:
        tolerance = tolerance_between(actual, expected)
    scale = max(e[finite].abs().max().item(), FLOOR)
    return (a - e)[finite].abs().max().item() <= tolerance * scale


def agrees(exercise: Definition, expected: Observation, actual: Observation) -> bool:
    """Whether the candidate did what the reference did, in every respect that the exercise asks for."""
    if expected.event == "raised":
        return same_exception(expected, actual)
    if actual.event != "returned" or actual.changed or (exercise.fresh and actual.shared):
        return False
    if exercise.claims:
        return same_form(expected, actual) and not any(overflows(e, a) for e, a in _paired(expected, actual))
    return same_values(expected, actual)


def _paired(expected: Observation, actual: Observation) -> Iterator[tuple[Any, Any]]:
    given = leaves(actual)
    return ((value, given.get(leaf)) for leaf, value in leaves(expected).items())


def overflows(expected: Any, actual: Any) -> bool:
    """Whether NaN or infinities came where all is finite in what was expected."""
    both = isinstance(expected, Tensor) and isinstance(actual, Tensor)
    return both and bool(expected.isfinite().all()) and not actual.isfinite().all()


def behaves_alike(exercise: Definition, mistake: Observation, actual: Observation) -> bool:
    """Whether the candidate did exactly what a mistake does."""
    if mistake.event != actual.event:
        return False
    if mistake.event == "raised":
        return same_exception(mistake, actual)
    same_sharing = not exercise.fresh or mistake.shared == actual.shared
    return mistake.changed == actual.changed and same_sharing and same_values(mistake, actual)


def same_exception(expected: Observation, actual: Observation) -> bool:
    """Whether the exception that is asked for was raised, or one of its kind."""
    if expected.failure is None or actual.failure is None or actual.event != "raised":
        return False
    return expected.failure.kind in actual.failure.parents


def same_form(expected: Observation, actual: Observation) -> bool:
    """Whether all leaves have the types, and tensors the shapes, dtypes and devices, of those expected."""
    asked, given = leaves(expected), leaves(actual)
    return asked.keys() == given.keys() and all(_form(value) == _form(given[leaf]) for leaf, value in asked.items())


def _form(value: Any) -> Any:
    return (value.shape, value.dtype, value.device) if isinstance(value, Tensor) else type(value)


def same_values(expected: Observation, actual: Observation) -> bool:
    """Whether all leaves are as expected."""
    asked, given = leaves(expected), leaves(actual)
    return asked.keys() == given.keys() and all(
        same(value, given[leaf], expected) or _is_no_gradient(leaf, value, given[leaf]) for leaf, value in asked.items()
    )


def _is_no_gradient(leaf: Leaf, expected: Any, actual: Any) -> bool:
    """Whether no gradient arrives where it should be zero everywhere: as good as zeros."""
    return leaf.part == "gradients" and actual is None and isinstance(expected, Tensor) and not expected.any()


def same(expected: Any, actual: Any, among: Observation) -> bool:
    """Whether a result is `expected`, one of the results `among` those of the reference."""
    if isinstance(expected, Tensor):
        same_kind = type(actual) is Tensor and actual.dtype == expected.dtype and actual.device == expected.device
        return same_kind and close(actual, expected)
    if not same_type(expected, actual):
        return False
    if isinstance(expected, (int, float)):
        return abs(actual - expected) <= TOLERANCE[among.dtype] * max(abs(expected), FLOOR)
    return actual == expected


def same_type(expected: Any, actual: Any) -> bool:
    """Whether a value that is no tensor has the type asked for: an int does for a float, a bool for neither."""
    if type(expected) is float and type(actual) is int:
        return abs(actual) <= sys.float_info.max
    return type(actual) is type(expected) or (type(expected) is float and isinstance(actual, float))


def differing(c: Comparison) -> list[Leaf]:
    """The leaves that are not as expected."""
    given = leaves(c.actual)
    return [leaf for leaf, value in leaves(c.expected).items() if not same(value, given.get(leaf), c.expected)]


def is_right_in(result: str, c: Comparison) -> bool:
    """Whether one of the results, a tensor or a list of them, is what it should be."""
    return all(
        same(value, c.actual.outputs.get(leaf), c.expected)
        for leaf, value in c.expected.outputs.items()
        if leaf == result or leaf.startswith(f"{result}[")
    )
