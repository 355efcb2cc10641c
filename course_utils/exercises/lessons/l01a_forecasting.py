"""Exercise of detour 01a: how much the difference between two forecasts depends on the months that were drawn."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from course_utils.exercises.define import Case, define, edge, randn

# -- 1a.1 ----------------------------------------------------------------------------------------------------------


@define(lesson="01a", points=2, outputs="differences")
def redrawn_differences(errors, rival, starts, block):
    """By how much two forecasts' errors differ when the months are drawn anew, in blocks of neighbours.

    errors, rival: (N,), the errors of two forecasts in the same N months. starts: int64 (K, B), for each of K redraws
    the months at which its B blocks begin. block: int, the length of each block; none goes on beyond the last month.
    Returns (K,): for each redraw the root mean squared error of `errors` less that of `rival`, over its B * block months.
    """
    months = torch.cat([starts + later for later in range(block)], dim=1)
    return errors[months].square().mean(1).sqrt() - rival[months].square().mean(1).sqrt()


def _months(generator: torch.Generator, n: int, redraws: int, blocks: int, block: int) -> dict:
    """Errors that resemble their neighbours and each other, and the beginnings of the blocks."""
    common, own = randn(generator, n + 2), randn(generator, 2, n)
    shared = common[:-2] + common[1:-1] + common[2:]
    errors, rival = 0.5 * shared + own * torch.tensor([[0.5], [0.8]], dtype=torch.float64)
    starts = torch.randint(n - block + 1, (redraws, blocks), generator=generator)
    return dict(errors=errors, rival=rival, starts=starts, block=block)


@redrawn_differences.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for n, redraws, blocks, block in ((30, 5, 4, 6), (23, 7, 6, 4), (41, 4, 5, 7), (26, 3, 7, 5)):
        yield _months(generator, n, redraws, blocks, block)
    yield edge("a block is a single month", stated="A block may be a single month", **_months(generator, 19, 4, 9, 1))
    yield edge(
        "a redraw is a single block", stated="a redraw may consist of a single block", **_months(generator, 21, 6, 1, 8)
    )


@redrawn_differences.typical
def _(generator: torch.Generator) -> dict:
    return _months(generator, 133, 2000, 11, 12)


def _drawn(series: Tensor, starts: Tensor, block: int) -> Tensor:
    """The values of every redraw (K, B * block)."""
    return series[(starts.unsqueeze(2) + torch.arange(block).to(starts)).flatten(1)]


def _rmse(values: Tensor) -> Tensor:
    return values.square().mean(-1).sqrt()


@redrawn_differences.mistake(
    "the rival keeps its own months: only the first forecast is drawn anew. Then the difference moves with the luck of the "
    "months, which both share. Paired means that both are scored on the same months, in every redraw."
)
def rival_not_redrawn(errors, rival, starts, block):
    return _rmse(_drawn(errors, starts, block)) - _rmse(rival)


@redrawn_differences.mistake(
    "you draw single months: of each block only the first counts. Neighbouring months resemble one another, so single months "
    "pretend to more independent evidence than there is. A block goes on for `block` months."
)
def first_months_only(errors, rival, starts, block):
    return _rmse(errors[starts]) - _rmse(rival[starts])


@redrawn_differences.mistake(
    "you subtract month by month before you square: that is how far the two forecasts lie *apart*, never below zero, even where "
    "they are equally good. Find each one's error first, then the difference."
)
def subtracted_too_early(errors, rival, starts, block):
    return _rmse(_drawn(errors - rival, starts, block))


@redrawn_differences.mistake(
    "the root is missing: your differences are of mean squares, in °C². Take the root of each mean, so that they are in °C."
)
def without_the_root(errors, rival, starts, block):
    return _drawn(errors, starts, block).square().mean(1) - _drawn(rival, starts, block).square().mean(1)


@redrawn_differences.mistake(
    "you average the errors' sizes. A root mean *square* weighs one large miss more than two of half its size, and it is the measure "
    "of the figure above."
)
def sizes_for_squares(errors, rival, starts, block):
    return _drawn(errors, starts, block).abs().mean(1) - _drawn(rival, starts, block).abs().mean(1)


@redrawn_differences.mistake(
    "you average over the errors before you square. Misses above and below then cancel, and what is left is the forecast's bias."
)
def averaged_before_squaring(errors, rival, starts, block):
    return _drawn(errors, starts, block).mean(1).abs() - _drawn(rival, starts, block).mean(1).abs()


@redrawn_differences.mistake(
    "you subtract the first from the rival. Errors less the rival's is asked for: below zero then means that the first is better."
)
def the_other_way_round(errors, rival, starts, block):
    return _rmse(_drawn(rival, starts, block)) - _rmse(_drawn(errors, starts, block))


redrawn_differences.hints(
    "Which months does one redraw hold? For each of its starts: the start itself, the month after it, and so on, `block` of them.",
    "`starts + later` are the months that come `later` months after each start. Put those for `later` = 0 … block − 1 side by "
    "side: an index of shape (K, B * block). Use it on both series.",
    "`errors[months].square().mean(1).sqrt()` is the first forecast's error in every redraw; take the rival's away.",
)
