"""Exercise of detour 03a: what codes cost with tables that were counted elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from course_utils.exercises.define import Case, define, edge, randn

# -- 3a.1 ----------------------------------------------------------------------------------------------------------


@define(lesson="03a", points=3, outputs="bits")
def coding_cost(train_symbols, symbols):
    """Bits per vector to store whole-number codes with tables counted on other codes, one table per dimension.

    train_symbols: int64 (M, d), the codes that are counted. symbols: int64 (N, d), the codes to store; they may be
    negative, and lie within the range of the training codes, dimension by dimension. In each dimension every whole number
    of that range gets its count plus 1. Returns a scalar: summed over dimensions, averaged over the N codes.
    """
    total = 0.0
    for known, column in zip(train_symbols.T, symbols.T, strict=True):
        counts = torch.bincount(known - known.min()).double() + 1
        total = total - (counts / counts.sum()).log2()[column - known.min()].mean()
    return total


def _symbols(generator: torch.Generator, m: int, n: int, d: int, spread: float) -> dict:
    wide = spread * (0.5 + torch.rand(d, generator=generator, dtype=torch.float64))
    middle = (6 * torch.rand(d, generator=generator, dtype=torch.float64)).round() - 3
    known, new = ((randn(generator, rows, d) * wide + middle).round().long() for rows in (m, n))
    return dict(train_symbols=known, symbols=new.clamp(known.amin(0), known.amax(0)))


@coding_cost.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for m, n, d, spread in ((60, 20, 3, 1.0), (45, 30, 5, 2.0), (80, 12, 4, 0.6), (50, 25, 2, 1.5)):
        yield _symbols(generator, m, n, d, spread)
    gaps = _symbols(generator, 50, 15, 3, 1.0)
    known = 3 * gaps["train_symbols"]
    yield edge(
        "a stored symbol was never counted",
        stated="A symbol may never have been counted",
        train_symbols=known,
        symbols=(3 * gaps["symbols"] + 1).clamp(max=known.amax(0)),
    )
    yield edge("there is one dimension", stated="there may be one dimension", **_symbols(generator, 40, 20, 1, 1.0))


@coding_cost.typical
def _(generator: torch.Generator) -> dict:
    return _symbols(generator, 10_000, 1000, 32, 4.0)


def _by_tables(train_symbols: Tensor, symbols: Tensor, added: float = 1.0) -> Tensor:
    """Each stored symbol's bits (N, d)."""
    columns = []
    for known, column in zip(train_symbols.T, symbols.T, strict=True):
        counts = torch.bincount(known - known.min()).double() + added
        columns.append(-(counts / counts.sum()).log2()[column - known.min()])
    return torch.stack(columns, 1)


@coding_cost.mistake(
    "your result is in nats: the logarithm is natural. Bits are counted with the logarithm to base 2, `torch.log2`."
)
def in_nats(train_symbols, symbols):
    return _by_tables(train_symbols, symbols).sum(1).mean() * 0.6931471805599453


@coding_cost.mistake(
    "1 is not added to the counts. Then a number that the training codes never had costs infinitely many bits, and every other "
    "one costs too little: the receiver's table must have room for all of them."
)
def nothing_added(train_symbols, symbols):
    return _by_tables(train_symbols, symbols, 0.0).sum(1).mean()


@coding_cost.mistake(
    "you count the table on the codes that you store. A receiver does not have them yet: count on the training codes."
)
def counted_on_what_is_stored(train_symbols, symbols):
    return _by_tables(symbols, symbols).sum(1).mean()


@coding_cost.mistake(
    "you average over the dimensions: bits per symbol. A code has d symbols, and all of them must be stored: add."
)
def bits_per_symbol(train_symbols, symbols):
    return _by_tables(train_symbols, symbols).mean()


@coding_cost.mistake("you add up the bits of all N codes. What is asked for is the mean: bits per code.")
def bits_of_all(train_symbols, symbols):
    return _by_tables(train_symbols, symbols).sum()


@coding_cost.mistake(
    "you return what the training codes cost with their own tables. Count on the training codes, but charge for `symbols`."
)
def cost_of_the_training_codes(train_symbols, symbols):
    return _by_tables(train_symbols, train_symbols).sum(1).mean()


coding_cost.hints(
    "One dimension at a time: a table of counts over the range of the training numbers, plus 1 everywhere, divided by its sum; "
    "then look up each stored number.",
    "`torch.bincount(known - known.min())` counts whole numbers from the smallest on. The same shift finds a stored number's "
    "place in the table.",
    "Bits are `-log2` of the looked-up shares: their mean over the N codes, summed over the dimensions.",
)
