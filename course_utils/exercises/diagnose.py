"""Recognise what goes wrong everywhere: compare an answer with transformations of the expected one.

A negated gradient, a transposed matrix, a mean where a sum was asked: nobody needs to list these for each
exercise. `explain` looks for one transformation that accounts for an output on *every* trial.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Largest difference, as a share of the largest expected entry (at least FLOOR), that still counts as equal.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 1e-2}
FLOOR = 0.1


@dataclass(frozen=True)
class Pair:
    """One output of one trial: what was expected, what came, and the arguments that led there."""

    name: str
    expected: Tensor
    actual: Tensor
    arguments: dict[str, Any]


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
        tolerance = max(TOLERANCE.get(expected.dtype, 1e-4), TOLERANCE.get(actual.dtype, 1e-4))
    scale = max(e[finite].abs().max().item(), FLOOR)
    return (a - e)[finite].abs().max().item() <= tolerance * scale


def explain(pairs: list[Pair]) -> tuple[str, str] | None:
    """(key, sentence) of the transformation that turns expected into actual on every pair, or None.

    Pairs that are all zero say nothing and are passed over; at least one pair must really differ.
    """
    telling = [p for p in pairs if p.expected.count_nonzero() or p.actual.count_nonzero()]
    if not telling or all(close(p.actual, p.expected) for p in telling):
        return None
    common: dict[str, str] | None = None
    first = max((p for p in telling if not close(p.actual, p.expected)), key=lambda p: p.expected.numel())
    for pair in sorted(telling, key=lambda p: p is not first):
        found = dict(_matches(pair, alone=pair is first))
        common = found if common is None else {k: s for k, s in common.items() if k in found}
        if not common:
            return None
    key = next(iter(common or {}))
    return key, (common or {})[key]


def _matches(pair: Pair, alone: bool) -> Iterator[tuple[str, str]]:
    """Every transformation that accounts for this pair, the most telling first.

    `alone`: the pair must convince by itself. Otherwise it need only not contradict: one row is neither early nor late.
    """
    name, e, a = pair.name, pair.expected, pair.actual
    if e.is_floating_point() and a.is_floating_point():
        if not a.isfinite().all() and e.isfinite().all() and a.shape == e.shape:
            same = a.isfinite()
            if same.any() and close(a[same], e[same]):
                yield "unstable", not_finite(name, a)
        if e.dtype == torch.float64 and close(a, e, 3e-5) and not close(a, e):
            yield (
                "single-precision",
                (
                    f"`{name}` is right to single precision (seven digits) only, though the arguments are float64. Either the "
                    "computation passes through float32 (`.float()`, `torch.zeros(...)` without a dtype …), or a small "
                    "constant such as 1e-8 is added somewhere."
                ),
            )
        if e.dtype == torch.float32 and close(a, e):
            yield "single-precision", ""
    for key, sentence, transform in _transformations(pair):
        try:
            predicted, compared = transform(e, a)
        except (RuntimeError, IndexError):
            continue
        if (predicted.numel() or not alone) and close(compared, predicted):
            yield key, sentence
    yield from _factors(pair)


def not_finite(name: str, actual: Tensor) -> str:
    """What to say of inf or NaN where finite values were expected."""
    wrong = actual.numel() - int(actual.isfinite().sum())
    return (
        f"`{name}` contains {'NaN' if actual.isnan().any() else 'inf'} ({wrong} of {actual.numel()} entries) where the "
        "true value is finite: on the way a number overflows, or 0 meets infinity (0/0, 0 · log 0). Rearrange the formula."
    )


Transform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def _transformations(pair: Pair) -> Iterator[tuple[str, str, Transform]]:
    name, e, a = pair.name, pair.expected, pair.actual
    yield "negated", f"`{name}` has the right size everywhere, with the wrong sign.", lambda e, a: (-e, a)
    for order in itertools.permutations(range(e.dim())) if 1 < e.dim() <= 4 else ():
        if list(order) != sorted(order):
            swap = f"shape {_shape(a)} instead of {_shape(e)}"
            if a.shape == e.shape:
                swap = "dimensions of equal length have changed places, so that the shape does not show it"
                if e.dim() == 2:
                    swap = "rows and columns have changed places, which the shape of a square matrix does not show"
            yield f"transposed:{order}", f"`{name}` is transposed: {swap}.", lambda e, a, o=order: (e.permute(o), a)
    if a.dim() != e.dim():
        what = "a dimension too many" if a.dim() > e.dim() else "a dimension too few"
        text = f"`{name}` has the right numbers in {what}: shape {_shape(a)} instead of {_shape(e)}."
        yield what.replace(" ", "-"), text, lambda e, a: (e.squeeze(), a.squeeze())
    for dim in range(e.dim()):
        for step, word in ((1, "late"), (-1, "early")):
            yield (
                f"shifted:{dim}:{step}",
                f"`{name}` is shifted by one along dimension {dim}: every entry comes one place too {word}.",
                lambda e, a, d=dim, s=step: _shifted(e, a, d, s),
            )
        yield f"flipped:{dim}", f"`{name}` is reversed along dimension {dim}.", lambda e, a, d=dim: (e.flip(d), a)
    yield from _reductions(pair)
    for argument, value in pair.arguments.items():
        if isinstance(value, Tensor):
            yield (
                f"unchanged:{argument}",
                (f"`{name}` is just the argument `{argument}`, unchanged."),
                lambda e, a, v=value: (v, a),
            )
    yield "zeros", f"`{name}` is zero everywhere.", lambda e, a: (torch.zeros_like(a), a)


def _reductions(pair: Pair) -> Iterator[tuple[str, str, Transform]]:
    """Sums and means that are missing, or that went too far."""
    name, e, a = pair.name, pair.expected, pair.actual
    for dim in range(a.dim()):
        where = f"dimension {dim} (of size {a.shape[dim]})"
        yield (
            f"not-summed:{dim}",
            (f"`{name}` is not summed over {where}: shape {_shape(a)} instead of {_shape(e)}."),
            lambda e, a, d=dim: (e, a.sum(d)),
        )
        yield (
            f"not-averaged:{dim}",
            (f"`{name}` is not averaged over {where}: shape {_shape(a)} instead of {_shape(e)}."),
            lambda e, a, d=dim: (e, a.double().mean(d)),
        )
    yield (
        "summed-away",
        (f"`{name}` is reduced to a single number; the entries of shape {_shape(e)} are asked for."),
        lambda e, a: (e.sum(), a),
    )


def _factors(pair: Pair) -> Iterator[tuple[str, str]]:
    """Constant factors: 1/batch size, bits for nats, a forgotten 2."""
    name, e, a = pair.name, pair.expected.double(), pair.actual.double()
    if a.shape != e.shape or not pair.expected.is_floating_point() or not a.isfinite().all() or not e.count_nonzero():
        return
    factor = ((a * e).sum() / (e * e).sum()).item()
    tolerance = max(TOLERANCE.get(pair.expected.dtype, 1e-4), TOLERANCE.get(pair.actual.dtype, 1e-4))
    if factor == 0 or not math.isfinite(factor) or not close(a, factor * e, tolerance * max(1.0, abs(factor))):
        return
    for label, size in _sizes(pair.arguments):
        if math.isclose(factor, 1 / size, rel_tol=1e-3):
            yield (
                f"divided:{label}",
                (
                    f"`{name}` is exactly 1/{size} of the expected value; {size} is {label}. A mean where a sum is asked, or a division too many?"
                ),
            )
        if math.isclose(factor, size, rel_tol=1e-3):
            yield (
                f"multiplied:{label}",
                (
                    f"`{name}` is exactly {size} times the expected value; {size} is {label}. A sum where a mean is asked, or a division too few?"
                ),
            )
    if math.isclose(factor, 1 / math.log(2), rel_tol=1e-3):
        yield "bits", f"`{name}` is in bits (logarithm to base 2); nats are asked for (natural logarithm)."
    elif math.isclose(factor, math.log(2), rel_tol=1e-3):
        yield "nats", f"`{name}` is in nats (natural logarithm); bits are asked for (logarithm to base 2)."
    rounded = float(f"{factor:.3g}")
    if rounded == 1:
        rounded = float(f"{factor:.5g}")
    yield f"factor:{rounded}", f"`{name}` is {rounded:g} times the expected value, everywhere."


def _sizes(arguments: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for name, value in arguments.items():
        if isinstance(value, Tensor):
            for dim, size in enumerate(value.shape):
                first = " (the batch size)" if dim == 0 and name in ("x", "logits") else ""
                yield f"`{name}.shape[{dim}]`{first}", size
            yield f"the number of entries of `{name}`", value.numel()
        elif isinstance(value, list):
            yield f"`len({name})`", len(value)
        elif isinstance(value, int) and not isinstance(value, bool) and value > 0:
            yield f"`{name}`", value


def _shifted(e: Tensor, a: Tensor, dim: int, step: int) -> tuple[Tensor, Tensor]:
    size = e.shape[dim]
    if a.shape != e.shape:
        raise IndexError
    late, early = torch.arange(1, size, device=e.device), torch.arange(size - 1, device=e.device)
    here, there = (late, early) if step > 0 else (early, late)
    return e.index_select(dim, there), a.index_select(dim, here)


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
