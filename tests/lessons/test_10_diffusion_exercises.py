"""Lesson 10: more right answers, answers that are nearly right, and the common slips by their names."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from course_utils.exercises import check
from course_utils.exercises.catalogue import definition

add_noise = definition("add_noise").reference
predict_clean = definition("predict_clean").reference
euler = definition("euler").reference


def noised_from_behind(x: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """Broadcasts from the last dimension, with the batch moved there."""
    mixed = alpha_bar.sqrt() * x.movedim(0, -1) + (1 - alpha_bar).sqrt() * noise.movedim(0, -1)
    return mixed.movedim(-1, 0)


def noised_one_by_one(x: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    rows = zip(x, noise, alpha_bar, strict=True)
    return torch.stack([level**0.5 * clean + (1 - level) ** 0.5 * extra for clean, extra, level in rows])


def stepped_by_the_direction(x_t: Tensor, noise: Tensor, alpha_bar: Tensor, alpha_bar_before: Tensor) -> Tensor:
    """As the paper writes it: the predicted clean point, plus the direction that points to x_t."""
    now, before = (level.view(-1, *[1] * (x_t.dim() - 1)) for level in (alpha_bar, alpha_bar_before))
    direction = (1 - before).sqrt() * noise
    return (before / now).sqrt() * (x_t - (1 - now).sqrt() * noise) + direction


def paired_by_steps(start: Tensor, end: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    velocity = end - start
    return start + t.reshape(len(t), *[1] * (start.dim() - 1)) * velocity, velocity


def euler_on_a_list_of_times(velocity: Callable, x: Tensor, steps: int) -> Tensor:
    for t in torch.linspace(0, 1, steps + 1, dtype=x.dtype)[:-1]:
        x = x + velocity(x, t.expand(len(x))) * (1 / steps)
    return x


def euler_by_adding_up_time(velocity: Callable, x: Tensor, steps: int) -> Tensor:
    t, place = torch.zeros(len(x), dtype=x.dtype), x.clone()
    for _ in range(steps):
        place += velocity(place, t) / steps
        t = t + 1 / steps
    return place


def euler_in_single_precision(velocity: Callable, x: Tensor, steps: int) -> Tensor:
    for step in range(steps):
        x = x + velocity(x, torch.full((len(x),), step / steps)) / steps
    return x


def stepped_in_one(x_t: Tensor, noise: Tensor, alpha_bar: Tensor, alpha_bar_before: Tensor) -> Tensor:
    now, before = (level.reshape((-1,) + (1,) * (x_t.ndim - 1)) for level in (alpha_bar, alpha_bar_before))
    return (before / now).sqrt() * x_t + ((1 - before).sqrt() - (before * (1 - now) / now).sqrt()) * noise


RIGHT = [
    ("add_noise", lambda x, noise, level: torch.einsum("n,n...->n...", level.sqrt(), x) + torch.einsum("n,n...->n...", (1 - level).sqrt(), noise)),
    ("ddim_step", stepped_in_one),
    ("euler", euler_in_single_precision),
    ("add_noise", noised_from_behind),
    ("add_noise", noised_one_by_one),
    ("predict_clean", lambda x, noise, level: ((x.movedim(0, -1) - (1 - level) ** 0.5 * noise.movedim(0, -1)) * level**-0.5).movedim(-1, 0)),
    ("ddim_step", stepped_by_the_direction),
    ("flow_pair", paired_by_steps),
    ("euler", euler_on_a_list_of_times),
    ("euler", euler_by_adding_up_time),
    ("guide", lambda conditional, unconditional, scale: scale * conditional + (1 - scale) * unconditional),
    ("guide", lambda conditional, unconditional, scale: torch.lerp(unconditional, conditional, scale)),
    ("guide", lambda conditional, unconditional, scale: conditional + (scale - 1) * (conditional - unconditional)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_another_way_to_write_it_is_right_too(name: str, answer: Callable) -> None:
    for seed in range(3):
        outcome = check(name, answer, seed)
        assert outcome.status == "right", outcome.message


@pytest.mark.parametrize(
    ("name", "answer", "status"),
    [
        ("add_noise", lambda x, noise, level: add_noise(x, noise, level.clamp(1e-2, 0.99)), "nearly right"),
        ("add_noise", lambda x, noise, level: add_noise(x.squeeze(0), noise.squeeze(0), level), "nearly right"),
        ("predict_clean", lambda x, noise, level: predict_clean(x, noise, level.clamp(min=5e-2)), "nearly right"),
        ("euler", lambda velocity, x, steps: euler(velocity, x, max(2, steps)), "nearly right"),
        ("guide", lambda c, u, scale: u + (scale or 1.0) * (c - u), "nearly right"),
    ],
)
def test_an_answer_that_fails_on_an_edge_alone_is_nearly_right(name: str, answer: Callable, status: str) -> None:
    for seed in range(3):
        assert check(name, answer, seed).status == status


def euler_between_few_points(velocity: Callable, x: Tensor, steps: int) -> Tensor:
    for begin, end in itertools.pairwise(torch.linspace(0, 1, steps, dtype=x.dtype)):
        x = x + (end - begin) * velocity(x, begin.expand(len(x)))
    return x


def euler_by_midpoints(velocity: Callable, x: Tensor, steps: int) -> Tensor:
    for step in range(steps):
        t = x.new_full((len(x),), step / steps)
        x = x + velocity(x + velocity(x, t) / steps / 2, t + 0.5 / steps) / steps
    return x


def spread(level: Tensor, x: Tensor) -> Tensor:
    return level.reshape(-1, *[1] * (x.dim() - 1))


@pytest.mark.parametrize(
    ("name", "answer", "mistake"),
    [
        ("euler", euler_between_few_points, "one_step_too_few"),
        ("euler", euler_by_midpoints, "midpoint"),
        (
            "predict_clean",
            lambda x, noise, level: x - (1 - spread(level, x)) ** 0.5 * noise / spread(level, x) ** 0.5,
            "x_not_divided",
        ),
        ("predict_clean", lambda x, noise, level: predict_clean(x, noise, level).clip(-1, 1), "cut_off_at_one"),
        (
            "ddim_step",
            lambda x, noise, level, before: add_noise(predict_clean(x, noise, level).clip(-1, 1), noise, before),
            "guess_cut_off",
        ),
    ],
)
def test_the_usual_slips_are_told_by_name(name: str, answer: Callable, mistake: str) -> None:
    for seed in range(3):
        outcome = check(name, answer, seed)
        assert outcome.mistake == mistake, outcome.message


def test_a_level_that_meets_the_wrong_dimension_is_no_answer() -> None:
    """`alpha_bar * x` broadcasts from behind: an error where sizes differ, silently wrong where they do not."""
    outcome = check("add_noise", lambda x, noise, level: level.sqrt() * x + (1 - level).sqrt() * noise)
    assert outcome.status != "right"
    assert "size" in outcome.message or "shape" in outcome.message


def test_euler_does_not_change_the_beginning() -> None:
    def in_place(velocity: Callable, x: Tensor, steps: int) -> Tensor:
        for step in range(steps):
            x += velocity(x, x.new_full((len(x),), step / steps)) / steps
        return x

    assert "changed in place" in check("euler", in_place).message or "in place" in check("euler", in_place).message


def test_a_walk_that_ends_too_soon_is_told_by_what_it_asked() -> None:
    message = check("euler", lambda velocity, x, steps: x + velocity(x, x.new_zeros(len(x))) / steps).message
    assert "the record of what `velocity` was asked should have shape (" in message


def test_a_time_that_is_no_tensor_is_explained() -> None:
    def with_a_number(velocity: Callable, x: Tensor, steps: int) -> Tensor:
        for step in range(steps):
            x = x + velocity(x, step / steps) / steps
        return x

    assert "the velocity wants times of shape (" in check("euler", with_a_number).message


@pytest.mark.parametrize("scale", [2.0, 5.0])
def test_ddim_with_the_true_noise_lands_on_the_clean_point(scale: float) -> None:
    """From any level, one step to ᾱ = 1 with the noise that is really in x_t gives x back."""
    generator = torch.Generator().manual_seed(0)
    x, noise = scale * torch.randn(6, 3, generator=generator), torch.randn(6, 3, generator=generator)
    level = 0.1 + 0.8 * torch.rand(6, generator=generator)
    back = definition("ddim_step").reference(add_noise(x, noise, level), noise, level, torch.ones(6))
    torch.testing.assert_close(back, x, rtol=1e-4, atol=1e-5)
