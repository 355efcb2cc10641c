"""How a wrong result may follow from the right one, and from the arguments: what `explain` tries beyond the simplest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

Transform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Candidate = tuple[str, tuple[Any, ...], Transform]

ENOUGH = 3  # entries that must agree with a constant before it is more than a coincidence
# Relations that tell what a result looks like rather than what was done: a slip that explains it says more.
VAGUE = {"offset-of-its-own", "factor-of-its-own", "signs", "reordered", "same-along", "wrong-at-the-end"}
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "the square": torch.square,
    "the square root": torch.sqrt,
    "the exponential": torch.exp,
    "the logarithm": torch.log,
    "the absolute value": torch.abs,
    "the reciprocal": torch.reciprocal,
    "the sigmoid": torch.sigmoid,
    "the hyperbolic tangent": torch.tanh,
    "1 minus the value": lambda e: 1 - e,
}


def relations(e: Tensor, a: Tensor, arguments: dict[str, Any], alone: bool) -> Iterator[Candidate]:
    """Kinds with their parameters, as in `explain`; `alone`: the pair must convince by itself."""
    yield from _slices(e, a, alone)
    if a.shape != e.shape:
        yield "reshaped", (), lambda e, a: (e.flatten(), a.flatten())
        return
    if e.is_floating_point() and a.isfinite().all():
        for name, function in FUNCTIONS.items():
            yield "function", (name,), lambda e, a, f=function: (f(e), a)
    for name, value in arguments.items():
        yield from _with_argument(e, name, value)
    if alone and e.numel() < ENOUGH:
        return
    yield "signs", (), lambda e, a: (e.abs(), a.abs())
    yield "reordered", (), lambda e, a: (e.flatten().sort().values, a.flatten().sort().values)
    for dim in range(e.dim()):
        if e.shape[dim] > 1 and a.double().std(dim).any() < e.double().std(dim).any():
            yield "same-along", (dim,), lambda e, a, d=dim: (a.narrow(d, 0, 1).expand_as(a), a)


def _slices(e: Tensor, a: Tensor, alone: bool) -> Iterator[Candidate]:
    """One place along a dimension that is missing, too much or wrong."""
    for dim in range(e.dim() if a.dim() == e.dim() else 0):
        size, given = e.shape[dim], a.shape[dim]
        for end, start in (("last", 0), ("first", 1)):
            if given == size - 1 > 0:
                yield "one-missing", (dim, end), lambda e, a, d=dim, s=start: (e.narrow(d, s, e.shape[d] - 1), a)
            elif given == size + 1:
                yield "one-too-many", (dim, end), lambda e, a, d=dim, s=start: (e, a.narrow(d, s, a.shape[d] - 1))
            elif given == size > (2 if alone else 0):
                yield "wrong-at-the-end", (dim, end), lambda e, a, d=dim, s=start: _but_one(e, a, d, s)


def _but_one(e: Tensor, a: Tensor, dim: int, start: int) -> tuple[Tensor, Tensor]:
    size = e.shape[dim] - 1
    return e.narrow(dim, start, size), a.narrow(dim, start, size)


def _with_argument(e: Tensor, name: str, value: Any) -> Iterator[Candidate]:
    """An argument added, taken away, multiplied or divided by once too often."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Tensor)):
        return
    v = value if isinstance(value, Tensor) else torch.tensor(float(value), dtype=torch.float64)
    if not v.count_nonzero() or not (v.is_floating_point() or v.dim() == 0):
        return
    for times in (1, -1, 2, -2):
        yield "argument-added", (name, times), lambda e, a, t=times: (e + t * v, a)
    if not bool((v == 1).all()):
        yield "argument-multiplied", (name,), lambda e, a: (e * v, a)
        yield "argument-divided", (name,), lambda e, a: (e / v, a)


# -- the right answer to other arguments -----------------------------------------------------------------------------

TENSORS: dict[str, Callable[[Tensor], Tensor]] = {
    "negated": torch.neg,
    "zero": torch.zeros_like,
    "transposed": lambda x: x.transpose(-2, -1),
    "in reverse order": lambda x: x.flip(0),
    "twice as large": lambda x: 2 * x,
    "half as large": lambda x: x / 2,
    "squared": torch.square,
    "without its first entry": lambda x: x[1:],
    "without its last entry": lambda x: x[:-1],
}
NUMBERS: dict[str, Callable[[Any], Any]] = {
    "one more": lambda n: n + 1,
    "one less": lambda n: n - 1,
    "0": lambda n: type(n)(0),
    "1": lambda n: type(n)(1),
    "twice as large": lambda n: 2 * n,
    "half as large": lambda n: type(n)(n / 2),
    "negated": lambda n: -n,
    "squared": lambda n: n * n,
}
LISTS: dict[str, Callable[[list], list]] = {
    "in reverse order": lambda items: items[::-1],
    "without its first entry": lambda items: items[1:],
    "without its last entry": lambda items: items[:-1],
}


def other_arguments(arguments: dict[str, Any]) -> Iterator[tuple[str, str, str, Callable[[dict[str, Any]], dict]]]:
    """Changes to the arguments: of one of them and how, or of two that are exchanged; and what makes the change."""
    for name, value in arguments.items():
        kinds: Any = LISTS if isinstance(value, list) else NUMBERS if isinstance(value, (int, float)) else {}
        kinds = TENSORS if isinstance(value, Tensor) and value.is_floating_point() else kinds
        if not isinstance(value, bool):
            for words, change in kinds.items():
                yield "as-if", name, words, lambda given, n=name, c=change: given | {n: c(given[n])}
    plain = [name for name, value in arguments.items() if isinstance(value, (Tensor, int, float))]
    for place, one in enumerate(plain):
        for other in plain[place + 1 :]:
            if type(arguments[one]) is type(arguments[other]):
                yield "exchanged", one, other, lambda g, a=one, b=other: g | {a: g[b], b: g[a]}
