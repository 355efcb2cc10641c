"""Recognise what goes wrong everywhere: compare an answer with transformations of the expected one.

A negated gradient, a transposed matrix, a mean where a sum was asked: nobody needs to list these for each
exercise. `explain` looks for one transformation that accounts for every wrong result on *every* trial.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from course_utils.boxed.undisturbed import undisturbed
from course_utils.exercises.agree import (
    PRECISIONS,
    Comparison,
    close,
    differing,
    same,
    same_type,
    tolerance_between,
)
from course_utils.exercises.define import Definition, Mistake
from course_utils.exercises.findings import (
    Cut,
    Finding,
    Leaf,
    NamedMistake,
    NotCut,
    NotFinite,
    OtherOrder,
    Transformation,
    leaves,
)
from course_utils.exercises.mistakes import Tried, gives, on_cpu
from course_utils.exercises.relations import ENOUGH, Candidate, other_arguments, relations


def explain(tried: Tried, comparisons: list[Comparison]) -> tuple[Finding, ...]:
    """What explains every wrong result on every trial, or nothing where the answer raised or changed its arguments."""
    returned = [c for c in comparisons if c.expected.event == "returned"]
    if any(c.actual.event != "returned" or c.actual.changed for c in returned) or not all(
        c.right for c in comparisons if c.expected.event == "raised"
    ):
        return ()
    if any(leaves(c.expected).keys() != leaves(c.actual).keys() for c in returned):
        return ()
    return _other_order(returned) or _cut(returned) or _transformed(tried, returned) or _as_if(tried.exercise, returned)


def _other_order(comparisons: list[Comparison]) -> tuple[Finding, ...]:
    names = comparisons[0].trial.outputs
    if len(names) < 2 or any(name not in comparisons[0].expected.outputs for name in names):
        return ()
    for order in list(itertools.permutations(names))[1:]:
        if all(
            same(c.expected.outputs[source], c.actual.outputs[name], c.expected)
            for c in comparisons
            for name, source in zip(names, order, strict=True)
        ):
            return (OtherOrder(order, names),)
    return ()


def _cut(comparisons: list[Comparison]) -> tuple[Finding, ...]:
    """Values right, gradients missing: the result was cut from the graph; or there, where none should be."""
    wrong = {leaf for c in comparisons for leaf in differing(c)}
    if not wrong or not all(leaf.part == "gradients" for leaf in wrong):
        return ()
    names = tuple(sorted(leaf.name for leaf in wrong))
    if all(c.actual.gradients.get(name) is None for c in comparisons for name in names):
        return (Cut(names),)
    if all(c.expected.gradients.get(name) is None for c in comparisons for name in names):
        return (NotCut(),)
    return ()


def _transformed(tried: Tried, comparisons: list[Comparison]) -> tuple[Finding, ...]:
    """Every wrong result explained by a transformation, or by a mistake that gets just this result wrong so.

    The gradients of a wrong result are wrong too, so they are looked at only where all results are right.
    """
    wrong = list(dict.fromkeys(leaf for c in comparisons for leaf in differing(c)))
    results = [leaf for leaf in wrong if leaf.part != "gradients"]
    if any(leaf.part == "states" for leaf in results):
        return ()  # a parameter's new value is its old one plus a step: no transformation of it tells anything
    explained: dict[str | None, NamedMistake | Transformation | NotFinite] = {}
    for leaf in results or wrong:
        having = [c for c in comparisons if leaf in leaves(c.expected)]
        finding = _mistake_in(tried, leaf, having) or explain_leaf(leaf, having)
        if finding is None:
            return ()
        first = explained.setdefault(finding.key, finding)
        if first is not finding:
            explained[finding.key] = replace(first, others=(*first.others, leaf))
    return tuple(explained.values())


def _mistake_in(tried: Tried, leaf: Leaf, comparisons: list[Comparison]) -> NamedMistake | None:
    """A named mistake that makes this one of several results what it is on every trial."""
    if len(comparisons[0].trial.outputs) == 1:
        return None

    def explains(mistake: Mistake, c: Comparison) -> bool:
        done = tried(mistake, c.trial).observation
        return same(leaves(done).get(leaf), leaves(c.actual)[leaf], done)

    telling = sorted(comparisons, key=lambda c: c.right)
    for mistake in tried.exercise.mistakes.values():
        if all(explains(mistake, c) for c in telling):
            return NamedMistake(mistake.key, mistake.sentence, leaf)
    return None


def _as_if(exercise: Definition, comparisons: list[Comparison]) -> tuple[Finding, ...]:
    """A change to the arguments with which the right answer would be, on every trial, just this."""
    telling = sorted(comparisons, key=lambda c: (c.right, bool(c.trial.label)))
    first = telling[0]

    def explains(change: Callable[[dict[str, Any]], dict], c: Comparison) -> bool:
        try:
            trial = replace(c.trial, arguments=change(c.trial.arguments))
        except (RuntimeError, TypeError, ValueError, IndexError):
            return False
        return gives(exercise.reference, trial, c.actual, c.lenient)

    if first.right or first.trial.has_networks or any(c.expected.gradients for c in comparisons):
        return ()
    with undisturbed(first.trial.seed), contextlib.redirect_stdout(None):
        for kind, one, other, change in other_arguments(first.trial.arguments):
            if all(explains(change, c) for c in telling):
                return (Transformation(kind, next(iter(leaves(first.expected))), (one, other)),)
    return ()


# -- one result ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """One leaf of one trial: what was expected, what came, and the arguments that led there."""

    leaf: Leaf
    expected: Tensor
    actual: Tensor
    arguments: dict[str, Any]


def explain_leaf(leaf: Leaf, comparisons: list[Comparison]) -> Transformation | NotFinite | None:
    """The transformation that turns the expected leaf into the actual one on every trial, or None.

    Pairs that are all zero say nothing and are passed over; at least one pair must really differ.
    """
    pairs = [_pair(leaf, c) for c in comparisons]
    telling = [p for p in pairs if p and (p.expected.count_nonzero() or p.actual.count_nonzero())]
    if None in pairs or not telling or all(close(p.actual, p.expected) for p in telling):
        return None
    first = max((p for p in telling if not close(p.actual, p.expected)), key=lambda p: p.expected.numel())
    common = {match.key: match for match in _matches(first, alone=True)}
    for pair in telling:
        if common and pair is not first:
            keys = {match.key for match in _matches(pair, alone=False)}
            common = {key: match for key, match in common.items() if key in keys}
    return next(iter(common.values()), None)


def _pair(leaf: Leaf, c: Comparison) -> Pair | None:
    expected, actual = leaves(c.expected)[leaf], leaves(c.actual)[leaf]
    arguments = {name: on_cpu(value) for name, value in c.trial.arguments.items()}
    if isinstance(expected, Tensor) and type(actual) is Tensor:
        # A wrong dtype or device is told as such, not as a transformation.
        either = c.lenient and expected.dtype in PRECISIONS and actual.dtype in PRECISIONS
        same_kind = (actual.dtype == expected.dtype or either) and actual.device == expected.device
        return Pair(leaf, expected.cpu(), actual.cpu(), arguments) if same_kind else None
    if type(expected) in (int, float) and same_type(expected, actual):
        as_tensor = [torch.tensor(float(v), dtype=c.expected.dtype) for v in (expected, actual)]
        return Pair(leaf, as_tensor[0], as_tensor[1], arguments)
    return None


def not_finite(leaf: Leaf, actual: Tensor) -> NotFinite:
    """The finding for a tensor with infinities or NaN where finite values were expected."""
    wrong = actual.numel() - int(actual.isfinite().sum())
    return NotFinite(leaf, bool(actual.isnan().any()), wrong, actual.numel())


def _matches(pair: Pair, alone: bool) -> Iterator[Transformation | NotFinite]:
    """Every transformation that accounts for this pair, the most telling first.

    `alone`: the pair must convince by itself. Otherwise it need only not contradict: one row is neither early nor late.
    """
    e, a = pair.expected, pair.actual
    if e.is_floating_point() and a.is_floating_point():
        if not a.isfinite().all() and e.isfinite().all() and a.shape == e.shape:
            finite = a.isfinite()
            if finite.any() and close(a[finite], e[finite]):
                yield not_finite(pair.leaf, a)
        as_single = e.dtype == torch.float64 and close(a, e, 3e-5) and not close(a, e)
        if as_single or (e.dtype == torch.float32 and close(a, e)):
            yield Transformation("single-precision", pair.leaf)
    yield from _holding(pair, _transformations(pair), alone)
    yield from _factors(pair)
    yield from _holding(pair, relations(e, a, pair.arguments, alone), alone)
    yield from _constants(e, a, pair.leaf, alone)


def _holding(pair: Pair, candidates: Iterator[Candidate], alone: bool) -> Iterator[Transformation]:
    """Those of the candidates that predict the pair; `alone` as in `_matches`."""
    e, a = pair.expected, pair.actual
    for kind, parameters, transform in candidates:
        try:
            predicted, compared = transform(e, a)
        except (RuntimeError, IndexError):
            continue
        if (predicted.numel() or not alone) and close(compared, predicted):
            yield Transformation(kind, pair.leaf, parameters, tuple(a.shape), tuple(e.shape))


def _constants(e: Tensor, a: Tensor, leaf: Leaf, alone: bool) -> Iterator[Transformation]:
    """A number that is added everywhere; or a number in each case, that is added or multiplied."""
    if a.shape != e.shape or not (e.isfinite().all() and a.isfinite().all()) or e.dtype == torch.bool:
        return
    gap = a.double() - e.double()
    offset = gap.mean().item()
    if offset and close(gap, torch.full_like(gap, offset), tolerance_between(a, e)):
        yield Transformation("offset", leaf, (float(f"{offset:.5g}"),))
        if e.numel() >= ENOUGH or not alone:
            yield Transformation("offset-of-its-own", leaf)
    if (e.numel() >= ENOUGH or not alone) and e.is_floating_point() and e.count_nonzero():
        factor = (a.double() * e.double()).sum() / e.double().square().sum()
        if close(a, (factor * e).to(a.dtype)):
            yield Transformation("factor-of-its-own", leaf)


def _transformations(pair: Pair) -> Iterator[Candidate]:
    """Kinds with their parameters; each transform gives what it predicts, and what to compare that with."""
    e, a = pair.expected, pair.actual
    yield "negated", (), lambda e, a: (-e, a)
    for order in itertools.permutations(range(e.dim())) if 1 < e.dim() <= 4 else ():
        if list(order) != sorted(order):
            yield "transposed", (order,), lambda e, a, o=order: (e.permute(o), a)
    if a.dim() != e.dim():
        kind = "a-dimension-too-many" if a.dim() > e.dim() else "a-dimension-too-few"
        yield kind, (), lambda e, a: (e.squeeze(), a.squeeze())
    for dim in range(e.dim()):
        for step in (1, -1):
            yield "shifted", (dim, step), lambda e, a, d=dim, s=step: _shifted(e, a, d, s)
        yield "flipped", (dim,), lambda e, a, d=dim: (e.flip(d), a)
    for dim in range(a.dim()):
        yield "not-summed", (dim,), lambda e, a, d=dim: (e, a.sum(d))
        yield "not-averaged", (dim,), lambda e, a, d=dim: (e, a.double().mean(d))
    yield "summed-away", (), lambda e, a: (e.sum(), a)
    for argument, value in pair.arguments.items():
        if isinstance(value, Tensor):
            yield "unchanged", (argument,), lambda e, a, v=value: (v, a)
    yield "zeros", (), lambda e, a: (torch.zeros_like(a), a)


def _shifted(e: Tensor, a: Tensor, dim: int, step: int) -> tuple[Tensor, Tensor]:
    size = e.shape[dim]
    if a.shape != e.shape:
        raise IndexError
    late, early = torch.arange(1, size, device=e.device), torch.arange(size - 1, device=e.device)
    here, there = (late, early) if step > 0 else (early, late)
    return e.index_select(dim, there), a.index_select(dim, here)


def _factors(pair: Pair) -> Iterator[Transformation]:
    """Constant factors: 1/batch size, bits for nats, a forgotten 2."""
    e, a = pair.expected.double(), pair.actual.double()
    if a.shape != e.shape or not pair.expected.is_floating_point() or not a.isfinite().all() or not e.count_nonzero():
        return
    factor = ((a * e).sum() / (e * e).sum()).item()
    tolerance = tolerance_between(pair.actual, pair.expected)
    if factor == 0 or not math.isfinite(factor) or not close(a, factor * e, tolerance * max(1.0, abs(factor))):
        return
    for meaning, size in _sizes(pair.arguments):
        if size == 1 and not close(a, e):
            continue  # dividing by one changes nothing
        if math.isclose(factor * size, 1, rel_tol=1e-3):
            yield Transformation("divided", pair.leaf, (meaning,), size=size)
        if math.isclose(factor, size, rel_tol=1e-3):
            yield Transformation("multiplied", pair.leaf, (meaning,), size=size)
    if math.isclose(factor, 1 / math.log(2), rel_tol=1e-3):
        yield Transformation("bits", pair.leaf)
    elif math.isclose(factor, math.log(2), rel_tol=1e-3):
        yield Transformation("nats", pair.leaf)
    rounded = float(f"{factor:.3g}")
    if rounded == 1:
        rounded = float(f"{factor:.6g}")
    if rounded != 1:
        yield Transformation("factor", pair.leaf, (rounded,))


def _sizes(arguments: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """The numbers that an answer may have been divided or multiplied by, and what each of them is."""
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
