"""What is said of a result that is the right one, but transformed: one sentence for each kind, written by `words`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from course_utils.exercises import findings as f

TRANSFORMATIONS: dict[str, Callable[[f.Transformation, Any], str]] = {
    "single-precision": lambda it, w: (
        "is right in its first digits only, four to seven of them. Does the computation pass through float32 "
        "(`.float()`, `torch.zeros(...)` without a dtype …), is a constant rounded, or a small one such as 1e-8 added?"
    ),
    "negated": lambda it, w: "has the right size everywhere, with the wrong sign.",
    "transposed": lambda it, w: f"is transposed: {_swap(it, w)}.",
    "a-dimension-too-many": lambda it, w: f"has the right numbers in a dimension too many: {_shapes(it, w)}.",
    "a-dimension-too-few": lambda it, w: f"has the right numbers in a dimension too few: {_shapes(it, w)}.",
    "shifted": lambda it, w: (
        f"is shifted by one along dimension {it.parameters[0]}: every entry comes one place too "
        f"{'late' if it.parameters[1] > 0 else 'early'}."
    ),
    "flipped": lambda it, w: f"is reversed along dimension {it.parameters[0]}.",
    "not-summed": lambda it, w: f"is not summed over {_dimension(it, w)}: {_shapes(it, w)}.",
    "not-averaged": lambda it, w: f"is not averaged over {_dimension(it, w)}: {_shapes(it, w)}.",
    "summed-away": lambda it, w: (
        f"is reduced to a single number; the entries of shape {w.tuple(it.expected_shape)} are asked for."
    ),
    "unchanged": lambda it, w: f"is just the argument `{it.parameters[0]}`, unchanged.",
    "zeros": lambda it, w: "is zero everywhere.",
    "divided": lambda it, w: (
        f"is exactly 1/{w.number(it.size)} of the expected value; {w.number(it.size)} is {it.parameters[0]}. A mean "
        "where a sum is asked, or a division too many?"
    ),
    "multiplied": lambda it, w: (
        f"is exactly {w.number(it.size)} times the expected value; {w.number(it.size)} is {it.parameters[0]}. A sum "
        "where a mean is asked, or a division too few?"
    ),
    "bits": lambda it, w: "is in bits (logarithm to base 2); nats are asked for (natural logarithm).",
    "nats": lambda it, w: "is in nats (natural logarithm); bits are asked for (logarithm to base 2).",
    "offset": lambda it, w: (
        f"is too {'large' if it.parameters[0] > 0 else 'small'} by {w.number(abs(it.parameters[0]), 5)}, everywhere and in "
        "every case: a constant, a count or an index is off by that."
    ),
    "offset-of-its-own": lambda it, w: (
        "differs in each case by one number, the same for all entries: a term is missing, or too much, or has the wrong sign."
    ),
    "factor-of-its-own": lambda it, w: (
        "is a multiple of the expected value, by another factor in each case: it is divided or multiplied by the wrong size, "
        "sum or argument."
    ),
    "function": lambda it, w: (
        f"is {it.parameters[0]} of the expected value, entry by entry."
        if not it.parameters[0].startswith("1")
        else "is 1 minus the expected value, entry by entry."
    ),
    "argument-added": lambda it, w: (
        f"is the expected value {'plus' if it.parameters[1] > 0 else 'minus'} "
        f"{'twice ' if abs(it.parameters[1]) == 2 else ''}`{it.parameters[0]}`: is that argument left out, added once too "
        "often, or its sign wrong?"
    ),
    "argument-multiplied": lambda it, w: f"is the expected value multiplied by `{it.parameters[0]}`.",
    "argument-divided": lambda it, w: f"is the expected value divided by `{it.parameters[0]}`.",
    "one-missing": lambda it, w: (
        f"lacks the {it.parameters[1]} entry along dimension {it.parameters[0]}; the others are right: {_shapes(it, w)}."
    ),
    "one-too-many": lambda it, w: (
        f"has one entry too many along dimension {it.parameters[0]}, the {it.parameters[1]}; the others are right: "
        f"{_shapes(it, w)}."
    ),
    "wrong-at-the-end": lambda it, w: (
        f"is right everywhere but at the {it.parameters[1]} place along dimension {it.parameters[0]}."
    ),
    "reshaped": lambda it, w: f"has the right numbers in the right order, in another shape: {_shapes(it, w)}.",
    "reordered": lambda it, w: "has the right numbers, but not in their places.",
    "signs": lambda it, w: "has the right size everywhere, with the wrong sign in some places.",
    "same-along": lambda it, w: (
        f"is the same for every index along dimension {it.parameters[0]}, where the expected values differ."
    ),
    "as-if": lambda it, w: (
        f"is what would be right if `{it.parameters[0]}` were {it.parameters[1]}: look at where you use it."
    ),
    "exchanged": lambda it, w: (
        f"is what would be right if `{it.parameters[0]}` and `{it.parameters[1]}` were exchanged: look at where you use them."
    ),
    "factor": lambda it, w: f"is {w.number(it.parameters[0], 6)} times the expected value, everywhere.",
}


def _shapes(it: f.Transformation, w: Any) -> str:
    return f"shape {w.tuple(it.shape)} instead of {w.tuple(it.expected_shape)}"


def _dimension(it: f.Transformation, w: Any) -> str:
    return f"dimension {it.parameters[0]} (of size {w.number(it.shape[it.parameters[0]])})"


def _swap(it: f.Transformation, w: Any) -> str:
    if it.shape != it.expected_shape:
        return _shapes(it, w)
    if len(it.shape) == 2:
        return "rows and columns have changed places, which the shape of a square matrix does not show"
    return "dimensions of equal length have changed places, so that the shape does not show it"
