"""What random results can be held to, whatever they are: claims about generators, and how large a deviation may be."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from course_utils.boxed.fixtures import Fixture


def used(seed: int) -> Fixture:
    """A generator from which numbers have been drawn already."""
    return Fixture("generator", seed, (("drawn", 7),))


def reproducible(arguments: list[dict[str, Any]], results: list[Any]) -> bool:
    """Whether equal arguments, generators included, gave equal results."""
    runs = list(zip(arguments, results, strict=True))
    return all(_same(one, other) for (a, one), (b, other) in combinations(runs, 2) if _same(a, b))


def heeds_the_generator(arguments: list[dict[str, Any]], results: list[Any]) -> bool:
    """Whether generators with other seeds gave other results. Needs two runs that differ in nothing else."""
    runs = [(a | {"generator": None}, a["generator"], r) for a, r in zip(arguments, results, strict=True)]
    pairs = [(p, q) for p, q in combinations(runs, 2) if p[1] != q[1] and _same(p[0], q[0])]
    return any(not _same(p[2], q[2]) for p, q in pairs)


def goes_on(arguments: list[dict[str, Any]], results: list[Any]) -> bool:
    """Whether a generator that has been used before gave something else than it gave when it was new."""
    runs = [
        (a | {"generator": a["generator"].seed}, a["generator"], r) for a, r in zip(arguments, results, strict=True)
    ]
    pairs = [(p, q) for p, q in combinations(runs, 2) if p[1] != q[1] and _same(p[0], q[0])]
    return any(not _same(p[2], q[2]) for p, q in pairs)


def likely(share: Tensor, probability: Tensor, n: int) -> bool:
    """Whether observed shares of n draws fit. Each fails by chance with 2·exp(-2·14) < 2e-12 (Hoeffding, 1963)."""
    return bool(((share - probability).abs() <= (14 / n) ** 0.5).all())


def distributed(cumulative: Tensor) -> bool:
    """Whether independent draws fit a distribution, from its distribution function at each of them, `cumulative` (N,).

    Fails by chance with 2·exp(-2·12) < 1e-10 (Massart, 1990).
    """
    n = cumulative.numel()
    reached = cumulative.double().flatten().sort().values
    gap = (reached - torch.arange(n, device=reached.device) / n).abs().max().item()
    return gap <= (12 / n) ** 0.5 + 1 / n


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, tuple):
        return all(_same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return one == other
