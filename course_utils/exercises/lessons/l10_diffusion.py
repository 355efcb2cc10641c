"""Exercises of lesson 10: noising and its inverse, one step of DDIM, pairs for flow matching, Euler's steps, guidance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from course_utils.boxed.fixtures import Fixture
from course_utils.exercises.define import Case, define, edge, randn

# -- 10.1 ----------------------------------------------------------------------------------------------------------


@define(lesson="10", points=1, outputs="x_t")
def add_noise(x, noise, alpha_bar):
    """Points as they are after many small steps of noise, in one step: √ᾱ x + √(1 − ᾱ) noise.

    x, noise: (N, ...), clean points or images, and standard normal numbers of the same shape.
    alpha_bar: (N,), how much of each one's variance is left, in [0, 1].
    Returns x_t, of x's shape.
    """
    alpha_bar = alpha_bar.view(-1, *[1] * (x.dim() - 1))
    return alpha_bar.sqrt() * x + (1 - alpha_bar).sqrt() * noise


def _beside(numbers: Tensor, x: Tensor) -> Tensor:
    """One number for each of the batch (N,), shaped so that it meets all of its x (N, ...)."""
    return numbers.view(-1, *[1] * (x.dim() - 1))


SHAPES = ((5, 3), (2, 7), (3, 1, 4, 5), (4, 2, 3))


def _levels(generator: torch.Generator, n: int) -> Tensor:
    """Values of ᾱ (n,), away from 0 and 1."""
    return 0.05 + 0.9 * torch.rand(n, generator=generator, dtype=torch.float64)


def _noisy(generator: torch.Generator, *shape: int) -> dict:
    return dict(x_t=randn(generator, *shape), noise=randn(generator, *shape), alpha_bar=_levels(generator, shape[0]))


@add_noise.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape in SHAPES:
        noisy = _noisy(generator, *shape)
        yield dict(x=1.5 * randn(generator, *shape) + 0.5, noise=noisy["noise"], alpha_bar=noisy["alpha_bar"])
    ends = torch.tensor([0.0, 1.0, 0.3], dtype=torch.float64)
    yield edge(
        "alpha_bar is 0 or 1",
        stated="in [0, 1]",
        x=randn(generator, 3, 4),
        noise=randn(generator, 3, 4),
        alpha_bar=ends,
    )
    yield edge(
        "the batch holds one point",
        stated="The batch may hold a single point",
        x=randn(generator, 1, 4),
        noise=randn(generator, 1, 4),
        alpha_bar=_levels(generator, 1),
    )


@add_noise.typical
def _(generator: torch.Generator) -> dict:
    return dict(x=randn(generator, 256, 2), noise=randn(generator, 256, 2), alpha_bar=_levels(generator, 256))


@add_noise.mistake(
    "both roots are missing. ᾱ and 1 − ᾱ are shares of the *variance*; what multiplies x and the noise are their roots. As "
    "you have it, data of variance 1 would shrink to variance ½ in the middle of the way."
)
def without_roots(x, noise, alpha_bar):
    kept = _beside(alpha_bar, x)
    return kept * x + (1 - kept) * noise


@add_noise.mistake("the noise lacks its root: 1 − ᾱ is its variance, so √(1 − ᾱ) multiplies it.")
def noise_without_root(x, noise, alpha_bar):
    kept = _beside(alpha_bar, x)
    return kept.sqrt() * x + (1 - kept) * noise


@add_noise.mistake("x lacks its root: ᾱ is the share of its variance that is left, so √ᾱ multiplies it.")
def x_without_root(x, noise, alpha_bar):
    kept = _beside(alpha_bar, x)
    return kept * x + (1 - kept).sqrt() * noise


@add_noise.mistake(
    "√(1 − ᾱ) is asked for, and you have 1 − √ᾱ: the root is taken last. Squared, the two must add up to 1."
)
def root_before_the_difference(x, noise, alpha_bar):
    kept = _beside(alpha_bar, x)
    return kept.sqrt() * x + (1 - kept.sqrt()) * noise


@add_noise.mistake(
    "the two are exchanged: ᾱ is what is left of x, and near 1 at the beginning; 1 − ᾱ is the noise's share."
)
def exchanged(x, noise, alpha_bar):
    kept = _beside(alpha_bar, x)
    return (1 - kept).sqrt() * x + kept.sqrt() * noise


@add_noise.mistake(
    "x stays as large as it was. Then the variance grows by the noise's; here x shrinks by √ᾱ, so that data of variance 1 "
    "keep it."
)
def x_not_shrunk(x, noise, alpha_bar):
    return x + (1 - _beside(alpha_bar, x)).sqrt() * noise


@add_noise.mistake("the noise comes in full, whatever ᾱ is. Its share grows as ᾱ falls: multiply it by √(1 − ᾱ).")
def noise_in_full(x, noise, alpha_bar):
    return _beside(alpha_bar, x).sqrt() * x + noise


@add_noise.mistake(
    "the noise is subtracted. Its distribution is the same, but the network learns to find *this* noise: it is added."
)
def noise_subtracted(x, noise, alpha_bar):
    kept = _beside(alpha_bar, x)
    return kept.sqrt() * x - (1 - kept).sqrt() * noise


@add_noise.mistake(
    "the first ᾱ is used for the whole batch. Each point has a time of its own; `alpha_bar.view(-1, 1)` meets the rows of x, "
    "and images need more ones."
)
def one_level_for_all(x, noise, alpha_bar):
    return alpha_bar[0].sqrt() * x + (1 - alpha_bar[0]).sqrt() * noise


@add_noise.mistake(
    "you draw noise of your own and leave `noise` unused. The network is to find the noise that was added, so whoever calls "
    "this must know it."
)
def noise_of_its_own(x, noise, alpha_bar):
    kept = _beside(alpha_bar, x)
    return kept.sqrt() * x + (1 - kept).sqrt() * torch.randn_like(x)


add_noise.hints(
    "Two products and a sum; the formula stands in the card. The work is in the shapes: alpha_bar holds one number for each "
    "of the batch, and x may have any number of dimensions after the first.",
    "`alpha_bar.view(-1, *[1] * (x.dim() - 1))` has as many dimensions as x, all but the first of size 1: so it broadcasts.",
    "With that shape, `alpha_bar.sqrt() * x + (1 - alpha_bar).sqrt() * noise`.",
)

# -- 10.2 ----------------------------------------------------------------------------------------------------------


@define(lesson="10", points=1, outputs="x")
def predict_clean(x_t, noise, alpha_bar):
    """The clean points, if this is the noise that is in the noisy ones: the inverse of `add_noise`.

    x_t, noise: (N, ...), noisy points or images, and the noise that is in them, known or estimated.
    alpha_bar: (N,), the share of the variance that is left of each, positive.
    Returns x, of x_t's shape.
    """
    alpha_bar = alpha_bar.view(-1, *[1] * (x_t.dim() - 1))
    return (x_t - (1 - alpha_bar).sqrt() * noise) / alpha_bar.sqrt()


@predict_clean.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape in SHAPES:
        yield _noisy(generator, *shape)
    small = torch.tensor([1e-3, 1.0, 1e-2], dtype=torch.float64)
    yield edge(
        "alpha_bar is near 0, or 1",
        stated="may be near 0, or 1",
        x_t=randn(generator, 3, 4),
        noise=randn(generator, 3, 4),
        alpha_bar=small,
    )
    yield edge("the batch holds one point", stated="The batch may hold a single point", **_noisy(generator, 1, 4))


@predict_clean.typical
def _(generator: torch.Generator) -> dict:
    return _noisy(generator, 256, 2)


@predict_clean.mistake("you take the noise away, but x was shrunk as well: divide what is left by √ᾱ.")
def not_enlarged(x_t, noise, alpha_bar):
    return x_t - (1 - _beside(alpha_bar, x_t)).sqrt() * noise


@predict_clean.mistake("you divide by ᾱ. x was multiplied by its root, so divide by √ᾱ.")
def divided_by_the_variance(x_t, noise, alpha_bar):
    kept = _beside(alpha_bar, x_t)
    return (x_t - (1 - kept).sqrt() * noise) / kept


@predict_clean.mistake("you multiply by √ᾱ, as on the way to noise. The inverse divides by it.")
def shrunk_again(x_t, noise, alpha_bar):
    kept = _beside(alpha_bar, x_t)
    return (x_t - (1 - kept).sqrt() * noise) * kept.sqrt()


@predict_clean.mistake(
    "only x_t is divided. The noise's part is taken away first, and all that is left is divided by √ᾱ."
)
def noise_not_divided(x_t, noise, alpha_bar):
    kept = _beside(alpha_bar, x_t)
    return x_t / kept.sqrt() - (1 - kept).sqrt() * noise


@predict_clean.mistake("all of the noise is taken away, yet only √(1 − ᾱ) times it is in x_t.")
def all_noise_taken(x_t, noise, alpha_bar):
    return (x_t - noise) / _beside(alpha_bar, x_t).sqrt()


@predict_clean.mistake("the noise lacks its root: √(1 − ᾱ) times it is in x_t, not 1 − ᾱ times.")
def no_root_at_the_noise(x_t, noise, alpha_bar):
    kept = _beside(alpha_bar, x_t)
    return (x_t - (1 - kept) * noise) / kept.sqrt()


@predict_clean.mistake("√(1 − ᾱ) is what multiplies the noise, and you have 1 − √ᾱ: the root is taken last.")
def root_taken_first(x_t, noise, alpha_bar):
    kept = _beside(alpha_bar, x_t)
    return (x_t - (1 - kept.sqrt()) * noise) / kept.sqrt()


@predict_clean.mistake("the noise is added once more. It is in x_t already: take it away.")
def noise_added(x_t, noise, alpha_bar):
    kept = _beside(alpha_bar, x_t)
    return (x_t + (1 - kept).sqrt() * noise) / kept.sqrt()


@predict_clean.mistake("ᾱ and 1 − ᾱ are exchanged: ᾱ is what is left of x, 1 − ᾱ is the noise's share.")
def shares_exchanged(x_t, noise, alpha_bar):
    kept = _beside(alpha_bar, x_t)
    return (x_t - kept.sqrt() * noise) / (1 - kept).sqrt()


@predict_clean.mistake("you go on towards noise: this is `add_noise` once more. Solve its equation for x.")
def forwards(x_t, noise, alpha_bar):
    return add_noise(x_t, noise, alpha_bar)


@predict_clean.mistake("the first ᾱ is used for the whole batch. Each point has a time of its own.")
def first_level_for_all(x_t, noise, alpha_bar):
    return (x_t - (1 - alpha_bar[0]).sqrt() * noise) / alpha_bar[0].sqrt()


@predict_clean.mistake(
    "only the noise's part is divided by √ᾱ: a division binds more closely than a difference. Put x_t and what is taken from it in "
    "brackets first."
)
def x_not_divided(x_t, noise, alpha_bar):
    kept = _beside(alpha_bar, x_t)
    return x_t - (1 - kept).sqrt() * noise / kept.sqrt()


@predict_clean.mistake("both roots are missing: √(1 − ᾱ) times the noise is in x_t, and √ᾱ times x.")
def no_roots(x_t, noise, alpha_bar):
    kept = _beside(alpha_bar, x_t)
    return (x_t - (1 - kept) * noise) / kept


@predict_clean.mistake(
    "the result is cut off at ±1. Some samplers of pictures do that with their guess; here the points may lie anywhere."
)
def cut_off_at_one(x_t, noise, alpha_bar):
    return predict_clean(x_t, noise, alpha_bar).clamp(-1, 1)


predict_clean.hints(
    "x_t = √ᾱ x + √(1 − ᾱ) noise. You know everything in it but x.",
    "First take away what the noise has brought, √(1 − ᾱ) times it; then undo the shrinking. The shapes are those of "
    "`add_noise`.",
    "`(x_t - (1 - alpha_bar).sqrt() * noise) / alpha_bar.sqrt()`, with alpha_bar shaped as in `add_noise`.",
)

# -- 10.3 ----------------------------------------------------------------------------------------------------------


@define(lesson="10", points=2, outputs="x")
def ddim_step(x_t, noise, alpha_bar, alpha_bar_before):
    """One step of DDIM towards the data, without chance (η = 0): to the noise level before.

    x_t, noise: (N, ...), noisy points or images, and the noise that a network sees in them.
    alpha_bar, alpha_bar_before: (N,), the share of the variance left now, and after this step: larger, at most 1.
    Returns the less noisy points, of x_t's shape.
    """
    return add_noise(predict_clean(x_t, noise, alpha_bar), noise, alpha_bar_before)


def _before(generator: torch.Generator, *shape: int) -> dict:
    noisy = _noisy(generator, *shape)
    share = 0.2 + 0.6 * torch.rand(shape[0], generator=generator, dtype=torch.float64)
    return noisy | dict(alpha_bar_before=torch.lerp(noisy["alpha_bar"], torch.ones_like(share), share))


@ddim_step.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape in SHAPES:
        yield _before(generator, *shape)
    last = _before(generator, 3, 4)
    yield edge(
        "this is the last step, where alpha_bar_before is 1",
        stated="at the last step, where `alpha_bar_before` is 1",
        **(last | dict(alpha_bar_before=torch.ones(3, dtype=torch.float64))),
    )
    yield edge("the batch holds one point", stated="The batch may hold a single point", **_before(generator, 1, 4))


@ddim_step.typical
def _(generator: torch.Generator) -> dict:
    return _before(generator, 256, 2)


def _clean(x_t: Tensor, noise: Tensor, alpha_bar: Tensor) -> Any:
    return predict_clean(x_t, noise, alpha_bar)


@ddim_step.mistake(
    "you stop at the clean points. They are a guess, blurred where the noise is strong: go back from them to the noise level "
    "before, with the same noise, and let the network look again."
)
def clean_at_once(x_t, noise, alpha_bar, alpha_bar_before):
    return _clean(x_t, noise, alpha_bar)


@ddim_step.mistake(
    "x_t itself is noised. Guess the clean points first; it is they that get the noise of the level before."
)
def noisy_points_noised(x_t, noise, alpha_bar, alpha_bar_before):
    return add_noise(x_t, noise, alpha_bar_before)


@ddim_step.mistake("the two levels are exchanged: x_t stands at `alpha_bar`, and is to get to `alpha_bar_before`.")
def levels_exchanged(x_t, noise, alpha_bar, alpha_bar_before):
    return add_noise(_clean(x_t, noise, alpha_bar_before), noise, alpha_bar)


@ddim_step.mistake(
    "fresh noise goes on the clean points. That is a walk with chance in it; DDIM with η = 0 puts back the noise that the "
    "network has found, so that equal beginnings have equal ends."
)
def fresh_noise(x_t, noise, alpha_bar, alpha_bar_before):
    return add_noise(_clean(x_t, noise, alpha_bar), torch.randn_like(x_t), alpha_bar_before)


@ddim_step.mistake(
    "the noise does not come back: the clean points shrink by √ᾱ of the level before, and nothing is added."
)
def without_noise(x_t, noise, alpha_bar, alpha_bar_before):
    return _beside(alpha_bar_before, x_t).sqrt() * _clean(x_t, noise, alpha_bar)


@ddim_step.mistake(
    "the noise comes back as strong as it is now, with √(1 − ᾱ) of the level that you leave. It belongs to the level before."
)
def noise_of_the_level_now(x_t, noise, alpha_bar, alpha_bar_before):
    before = _beside(alpha_bar_before, x_t)
    return before.sqrt() * _clean(x_t, noise, alpha_bar) + (1 - _beside(alpha_bar, x_t)).sqrt() * noise


@ddim_step.mistake("the clean points shrink by √ᾱ of the level that you leave. They belong to the level before.")
def clean_of_the_level_now(x_t, noise, alpha_bar, alpha_bar_before):
    before = _beside(alpha_bar_before, x_t)
    return _beside(alpha_bar, x_t).sqrt() * _clean(x_t, noise, alpha_bar) + (1 - before).sqrt() * noise


@ddim_step.mistake("the clean points do not shrink: at the level before, √ᾱ of that level multiplies them.")
def clean_not_shrunk(x_t, noise, alpha_bar, alpha_bar_before):
    return _clean(x_t, noise, alpha_bar) + (1 - _beside(alpha_bar_before, x_t)).sqrt() * noise


@ddim_step.mistake("the noise comes back with the wrong sign. Found in x_t with a plus, it is put back with a plus.")
def noise_turned_around(x_t, noise, alpha_bar, alpha_bar_before):
    return add_noise(_clean(x_t, noise, alpha_bar), -noise, alpha_bar_before)


@ddim_step.mistake(
    "this is the mean of DDPM's step, to which fresh noise is still to be added. DDIM has none to add: it takes the guess of "
    "the clean points to the level before, with the noise that was found."
)
def mean_of_ddpm(x_t, noise, alpha_bar, alpha_bar_before):
    now, before = _beside(alpha_bar, x_t), _beside(alpha_bar_before, x_t)
    clean = _clean(x_t, noise, alpha_bar)
    kept = now / before
    return (before.sqrt() * (1 - kept) * clean + kept.sqrt() * (1 - before) * x_t) / (1 - now)


@ddim_step.mistake(
    "the clean points come back with ᾱ, the noise with 1 − ᾱ: shares of the variance. Their roots multiply."
)
def back_without_roots(x_t, noise, alpha_bar, alpha_bar_before):
    before = _beside(alpha_bar_before, x_t)
    return before * _clean(x_t, noise, alpha_bar) + (1 - before) * noise


@ddim_step.mistake(
    "the guess of the clean points is cut off at ±1. Some samplers of pictures do that; here the points may lie anywhere."
)
def guess_cut_off(x_t, noise, alpha_bar, alpha_bar_before):
    return add_noise(_clean(x_t, noise, alpha_bar).clamp(-1, 1), noise, alpha_bar_before)


ddim_step.hints(
    "Two things that you have written already, one after the other.",
    "Which clean points would that noise mean? `predict_clean` says so, with the level now. Then put the same noise back, "
    "with the level before.",
    "`add_noise(predict_clean(x_t, noise, alpha_bar), noise, alpha_bar_before)`",
)

# -- 10.4 ----------------------------------------------------------------------------------------------------------


@define(lesson="10", points=2, outputs=("x_t", "velocity"))
def flow_pair(start, end, t):
    """Points on straight ways from noise to data, and the velocity there: what flow matching learns from.

    start, end: (N, ...), noise, where the ways begin at t = 0, and data, where they end at t = 1.
    t: (N,), the time of each, in [0, 1].
    Returns (x_t, velocity), each of start's shape: where each one is at its time, and dx_t/dt.
    """
    t = t.view(-1, *[1] * (start.dim() - 1))
    return (1 - t) * start + t * end, end - start


def _ways(generator: torch.Generator, *shape: int) -> dict:
    return dict(start=randn(generator, *shape), end=1.5 * randn(generator, *shape), t=_levels(generator, shape[0]))


@flow_pair.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape in SHAPES:
        yield _ways(generator, *shape)
    ends = torch.tensor([0.0, 1.0, 0.3], dtype=torch.float64)
    yield edge("t is 0 or 1", stated="in [0, 1]", **(_ways(generator, 3, 4) | dict(t=ends)))
    yield edge("the batch holds one point", stated="The batch may hold a single point", **_ways(generator, 1, 4))


@flow_pair.typical
def _(generator: torch.Generator) -> dict:
    return _ways(generator, 256, 2)


def _between(start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    return torch.lerp(start, end, _beside(t, start).expand_as(start))


@flow_pair.mistake(
    "time runs the other way: at t = 0 you are at the data. Here the way begins at the noise, `start`, and ends at the data. "
    "(Papers differ; whoever mixes two of them walks away from the data.)"
)
def time_reversed(start, end, t):
    return _between(end, start, t), end - start


@flow_pair.mistake("the velocity points back to the noise. The ways lead from `start` to `end`: it is end − start.")
def velocity_reversed(start, end, t):
    return _between(start, end, t), start - end


@flow_pair.mistake(
    "both run the other way: from the data at t = 0 to the noise at t = 1. Here the noise stands at t = 0."
)
def all_reversed(start, end, t):
    return _between(end, start, t), start - end


@flow_pair.mistake(
    "you return the way that is left, end − x_t, which shrinks as the end comes nearer. The velocity is dx_t/dt, and on a "
    "straight way it is the same all the time."
)
def way_that_is_left(start, end, t):
    x_t = _between(start, end, t)
    return x_t, end - x_t


@flow_pair.mistake("you return the way gone so far, t (end − start). The velocity is its derivative by t.")
def way_gone(start, end, t):
    return _between(start, end, t), _beside(t, start) * (end - start)


@flow_pair.mistake(
    "the velocity is the clean end itself. That is another thing that one may learn; dx_t/dt is end − start."
)
def end_for_velocity(start, end, t):
    return _between(start, end, t), end + 0 * start


@flow_pair.mistake(
    "these are the roots of `add_noise`, which bend the way. Here the way is straight: (1 − t) start + t end."
)
def with_roots(start, end, t):
    share = _beside(t, start)
    return (1 - share).sqrt() * start + share.sqrt() * end, end - start


@flow_pair.mistake("the noise stays all the way: start + t end. At t = 1 nothing of it is left: (1 − t) start + t end.")
def noise_stays(start, end, t):
    return start + _beside(t, start) * end, end - start


@flow_pair.mistake("the first t is used for the whole batch. Each way has a time of its own.")
def one_time_for_all(start, end, t):
    return torch.lerp(start, end, t[0].expand_as(start)), end - start


@flow_pair.mistake("the two are exchanged: first the place, then the velocity.")
def place_and_velocity_exchanged(start, end, t):
    return end - start, _between(start, end, t)


flow_pair.hints(
    "A straight way at constant speed: halfway at t = ½. Which share of `start` is left at time t, and which of `end` has come?",
    "x_t = (1 − t) start + t end, and t has one number for each of the batch, as alpha_bar had. Now take the derivative by t.",
    "The velocity is `end - start`: t is not in it.",
)

# -- 10.5 ----------------------------------------------------------------------------------------------------------


@define(lesson="10", points=2, outputs="x")
def euler(velocity, x, steps):
    """Follow a velocity from t = 0 to t = 1 in equal steps, each in the direction of its beginning.

    velocity: a function of places (N, ...) and times (N,), of x's dtype, that returns velocities (N, ...).
    x: (N, ...), where to begin. steps: int, at least 1; the velocity is asked at t = 0, 1/steps, …, (steps − 1)/steps.
    Returns the places at t = 1, of x's shape.
    """
    for step in range(steps):
        x = x + velocity(x, x.new_full((len(x),), step / steps)) / steps
    return x


def _flow(generator: torch.Generator, shape: tuple[int, ...], steps: int) -> dict:
    seed = int(torch.randint(2**31, (), generator=generator))
    field = Fixture("field", seed, (("shape", shape[1:]),))
    return dict(velocity=field, x=randn(generator, *shape), steps=steps)


@euler.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape, steps in (((5, 3), 4), ((2, 7), 3), ((3, 1, 4, 5), 5), ((4, 2), 10)):
        yield _flow(generator, shape, steps)
    yield edge("there is one step", stated="at least 1", **_flow(generator, (4, 3), 1))
    yield edge("the batch holds one point", stated="The batch may hold a single point", **_flow(generator, (1, 4), 3))


@euler.typical
def _(generator: torch.Generator) -> dict:
    return _flow(generator, (256, 2), 20)


def _walk(velocity: Any, x: Tensor, times: list[float], size: float) -> Tensor:
    """Steps of this size, each with the velocity at the given time."""
    for t in times:
        x = x + size * velocity(x, x.new_full((len(x),), t))
    return x


@euler.mistake(
    "each step uses the velocity at the time of its *end*. Euler's asks at its beginning: t = 0, 1/steps, …."
)
def times_of_the_ends(velocity, x, steps):
    return _walk(velocity, x, [(i + 1) / steps for i in range(steps)], 1 / steps)


@euler.mistake(
    "each step uses the velocity at the time of its middle. Euler's asks at its beginning: t = 0, 1/steps, …."
)
def times_of_the_middles(velocity, x, steps):
    return _walk(velocity, x, [(i + 0.5) / steps for i in range(steps)], 1 / steps)


@euler.mistake(
    "every step is a whole unit of time: with `steps` of them you go `steps` times too far. Each lasts 1/steps, and velocity "
    "times time is the way."
)
def whole_steps(velocity, x, steps):
    return _walk(velocity, x, [i / steps for i in range(steps)], 1.0)


@euler.mistake("you walk backwards: the velocity is subtracted. It points from noise to data, and t grows.")
def backwards(velocity, x, steps):
    return _walk(velocity, x, [i / steps for i in range(steps)], -1 / steps)


@euler.mistake("the time never moves: every step asks for the velocity at t = 0.")
def time_stands_still(velocity, x, steps):
    return _walk(velocity, x, [0.0] * steps, 1 / steps)


@euler.mistake("the times run from 1 down. Here t = 0 is the noise, where the walk begins, and t = 1 is the data.")
def from_one_to_zero(velocity, x, steps):
    return _walk(velocity, x, [1 - i / steps for i in range(steps)], 1 / steps)


@euler.mistake("the time is the number of the step: t = 0, 1, 2, …. It runs from 0 to 1, so divide by `steps`.")
def numbers_for_times(velocity, x, steps):
    return _walk(velocity, x, [float(i) for i in range(steps)], 1 / steps)


@euler.mistake(
    "`linspace(0, 1, steps)` has 1 as its last entry, and spaces of 1/(steps − 1). The times are 0, 1/steps, …, "
    "(steps − 1)/steps."
)
def times_up_to_one(velocity, x, steps):
    return _walk(velocity, x, torch.linspace(0, 1, steps, dtype=torch.float64).tolist(), 1 / steps)


@euler.mistake("there is one step too many: `steps + 1` points of time have only `steps` spaces between them.")
def one_step_too_many(velocity, x, steps):
    return _walk(velocity, x, [i / steps for i in range(steps + 1)], 1 / steps)


@euler.mistake("the last step is missing: you stop at t = (steps − 1)/steps.")
def last_step_missing(velocity, x, steps):
    return _walk(velocity, x, [i / steps for i in range(steps - 1)], 1 / steps)


@euler.mistake(
    "the velocity is always asked for at the place where the walk began. It differs from place to place: ask where you are now."
)
def asked_at_the_beginning(velocity, x, steps):
    ways = [velocity(x, x.new_full((len(x),), i / steps)) for i in range(steps)]
    return x + torch.stack(ways).sum(0) / steps


@euler.mistake(
    "this is Heun's method, which asks twice per step and averages. It is the next section's; Euler's asks once."
)
def heun(velocity, x, steps):
    for i in range(steps):
        first = velocity(x, x.new_full((len(x),), i / steps))
        second = velocity(x + first / steps, x.new_full((len(x),), (i + 1) / steps))
        x = x + (first + second) / (2 * steps)
    return x


@euler.mistake(
    "there is one step too few: `steps` points of time have only `steps − 1` spaces between them. `linspace(0, 1, steps + 1)` has "
    "an end for every step."
)
def one_step_too_few(velocity, x, steps):
    moves = max(steps - 1, 1)
    return _walk(velocity, x, [i / moves for i in range(steps - 1)], 1 / moves)


@euler.mistake(
    "you walk from t = 1 down to 0, against the velocity. Here t = 0 is the noise, where the walk begins, and the velocity leads "
    "on to the data at t = 1."
)
def from_one_to_zero_backwards(velocity, x, steps):
    return _walk(velocity, x, [1 - i / steps for i in range(steps)], -1 / steps)


@euler.mistake(
    "this is the midpoint method, which asks twice per step and goes by the second answer. Euler's asks once, at the beginning of "
    "the step."
)
def midpoint(velocity, x, steps):
    for i in range(steps):
        halfway = x + velocity(x, x.new_full((len(x),), i / steps)) / (2 * steps)
        x = x + velocity(halfway, x.new_full((len(x),), (i + 0.5) / steps)) / steps
    return x


euler.hints(
    "Velocity times time is a way: in a short time 1/steps you get from x to x + velocity / steps, nearly. Then ask again.",
    "The time is a tensor with one entry for each of the batch: `torch.full((len(x),), i / steps, dtype=x.dtype, "
    "device=x.device)`, or `x.new_full((len(x),), i / steps)`.",
    "For i in range(steps): `x = x + velocity(x, t) / steps`. Not `x += …`, which would change the caller's x.",
)

# -- 10.6 ----------------------------------------------------------------------------------------------------------


@define(lesson="10", points=1, outputs="velocity")
def guide(conditional, unconditional, scale):
    """Classifier-free guidance: go from the velocity without a label towards the one with it, and beyond.

    conditional, unconditional: (N, ...), the velocities with the label and without. scale: float.
    Returns a velocity of their shape: that with the label for scale 1, that without for 0, and beyond for more than 1.
    """
    return unconditional + scale * (conditional - unconditional)


def _velocities(generator: torch.Generator, *shape: int) -> dict:
    return dict(conditional=randn(generator, *shape), unconditional=randn(generator, *shape))


@guide.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape, scale in zip(SHAPES, (3.0, 1.5, 0.25, 2.0), strict=True):
        yield _velocities(generator, *shape) | dict(scale=scale)
    yield edge("scale is 1", stated="that with the label for scale 1", **_velocities(generator, 3, 4), scale=1.0)
    yield edge("scale is 0", stated="that without for 0", **_velocities(generator, 3, 4), scale=0.0)


@guide.typical
def _(generator: torch.Generator) -> dict:
    return _velocities(generator, 64, 3, 32, 32) | dict(scale=2.0)


@guide.mistake(
    "your scale begins at 0 where the card's begins at 1: conditional + scale · (conditional − unconditional), as the paper "
    "counts it. Here scale 1 is to be the conditional velocity itself: begin at the unconditional one."
)
def as_the_paper_counts(conditional, unconditional, scale):
    return conditional + scale * (conditional - unconditional)


@guide.mistake(
    "the two are exchanged: the larger your scale, the less the label counts. Scale 1 is the conditional velocity."
)
def velocities_exchanged(conditional, unconditional, scale):
    return conditional + scale * (unconditional - conditional)


@guide.mistake("you go away from the label: the difference has the wrong sign. It is conditional − unconditional.")
def away_from_the_label(conditional, unconditional, scale):
    return unconditional - scale * (conditional - unconditional)


@guide.mistake(
    "you scale the conditional velocity itself and leave the other one out: samples would go too far, label or not. What "
    "grows is the *difference* that the label makes."
)
def conditional_scaled(conditional, unconditional, scale):
    return scale * conditional + 0 * unconditional


@guide.mistake("you return the difference alone. It is what the label adds; add it to the unconditional velocity.")
def difference_alone(conditional, unconditional, scale):
    return scale * (conditional - unconditional)


@guide.mistake(
    "the unconditional velocity is added in full to the scaled conditional one; for scale 1 it should drop out."
)
def added_in_full(conditional, unconditional, scale):
    return unconditional + scale * conditional


@guide.mistake(
    "you divide by 1 + scale, a weighted mean of the two. Guidance goes *beyond* the conditional velocity, so it is no mean."
)
def weighted_mean(conditional, unconditional, scale):
    return (scale * conditional + unconditional) / (1 + scale)


guide.hints(
    "What does the label change? conditional − unconditional. Take `scale` times as much of it.",
    "Begin where no label is: for scale 0 the result is `unconditional`, for scale 1 `conditional`.",
    "`unconditional + scale * (conditional - unconditional)`",
)
