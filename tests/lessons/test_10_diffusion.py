"""Lesson 10: its exact answers on the ring are exact, its walks and its likelihood do what the text says of them."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from course_utils import evaluate, flow_diagrams, plane, runtime
from course_utils.exercises.catalogue import definition
from course_utils.notebooks import find, ipynb, lesson_code

ROOT = Path(__file__).parents[2]
WANTED = (
    "alpha_bar_at best_noise step_back Field train guess_the_noise walk heun divergence log_likelihood guided Block UNet "
    "on_device velocity_of draw"
)


@pytest.fixture(scope="module")
def lesson() -> SimpleNamespace:
    """The lesson's definitions."""
    session = runtime.Session("smoke", torch.device("cpu"), 0, "fp32", torch.Generator().manual_seed(0))
    return lesson_code.load("10", *WANTED.split(), session=session)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


# -- the data and the schedule -------------------------------------------------------------------------------------


def test_the_schedule_leaves_all_at_the_start_and_a_trace_at_the_end(lesson: SimpleNamespace) -> None:
    levels = lesson.alpha_bar_at(torch.linspace(0, 1, 50, dtype=torch.float64))
    assert levels[0] == 1 and 0 < levels[-1] < 1e-3
    assert (levels.diff() < 0).all()


# -- what is exact -------------------------------------------------------------------------------------------------


def test_a_step_back_is_bayes_rule_for_two_steps_of_noise(lesson: SimpleNamespace) -> None:
    """In one dimension, on a grid: q(x_before | x_now, x_0) is in proportion to q(x_now | x_before) q(x_before | x_0)."""
    now, before = torch.tensor(0.3, dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)
    x_0, x_now, alpha = 0.8, -0.4, now / before
    grid = torch.linspace(-6, 6, 20_001, dtype=torch.float64)
    first = Normal(before.sqrt() * x_0, (1 - before).sqrt()).log_prob(grid)
    second = Normal(alpha.sqrt() * grid, (1 - alpha).sqrt()).log_prob(torch.tensor(x_now, dtype=torch.float64))
    weights = torch.softmax(first + second, 0)
    mean = (weights * grid).sum()
    spread = (weights * (grid - mean).square()).sum().sqrt()
    ends = torch.tensor([[[x_now]], [[x_0]]], dtype=torch.float64)
    found = lesson.step_back(*ends, now, before)
    torch.testing.assert_close(found[0].squeeze(), mean)
    torch.testing.assert_close(found[1], spread)


def test_the_kl_of_a_step_is_the_squared_error_weighted_by_the_change_of_the_ratio(lesson: SimpleNamespace) -> None:
    now, before = torch.tensor(0.2, dtype=torch.float64), torch.tensor(0.6, dtype=torch.float64)
    x, one, other = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    normals = [Normal(*lesson.step_back(x, clean, now, before)) for clean in (one, other)]
    weight = 0.5 * (before / (1 - before) - now / (1 - now))
    torch.testing.assert_close(kl_divergence(*normals), weight * (one - other).square())


# -- walks and likelihood ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_chance", [True, False])
def test_both_walks_with_the_exact_noise_end_on_the_ring(
    lesson: SimpleNamespace, generator: torch.Generator, with_chance: bool
) -> None:
    begin = torch.randn(2000, 2, generator=generator, dtype=torch.float64)
    path = lesson.walk(lesson.best_noise, begin, 200, generator if with_chance else None)
    assert path.shape == (201, 2000, 2) and torch.equal(path[0], begin)
    real = plane.ring(2000, generator)
    assert evaluate.energy_distance(path[-1], real) < 0.006
    again = lesson.walk(lesson.best_noise, begin, 200, generator if with_chance else None)
    assert torch.equal(again, path) != with_chance


def test_heun_errs_by_the_square_of_the_step(lesson: SimpleNamespace) -> None:
    """dx/dt = x from 1 on ends at e."""
    x = torch.ones(1, 1, dtype=torch.float64)
    off = [abs(lesson.heun(lambda x, t: x, x, steps).item() - math.e) for steps in (10, 20)]
    assert 3.6 < off[0] / off[1] < 4.4
    euler = definition("euler").reference
    off = [abs(euler(lambda x, t: x, x, steps).item() - math.e) for steps in (10, 20)]
    assert 1.8 < off[0] / off[1] < 2.2


def test_the_divergence_is_the_trace_of_the_slopes(lesson: SimpleNamespace, generator: torch.Generator) -> None:
    matrix = torch.tensor([[0.5, 2.0], [-1.0, 0.25]], dtype=torch.float64)
    x = torch.randn(7, 2, generator=generator, dtype=torch.float64)
    v, div = lesson.divergence(lambda x, t: x @ matrix.T, x, torch.zeros(7))
    torch.testing.assert_close(v, x @ matrix.T)
    torch.testing.assert_close(div, torch.full((7,), 0.75, dtype=torch.float64))


def test_the_likelihood_of_a_flow_that_stretches_is_a_wide_normal(lesson: SimpleNamespace) -> None:
    """dx/dt = x log 3 multiplies by 3: standard normal noise becomes normal with spread 3."""
    x = torch.tensor([[0.0, 0.0], [1.0, -2.0]], dtype=torch.float64)
    found = lesson.log_likelihood(lambda x, t: math.log(3) * x, x, 400)
    torch.testing.assert_close(found, Normal(0.0, 3.0).log_prob(x).sum(1), atol=1e-4, rtol=0)


def test_the_exact_velocity_has_the_ring_s_likelihood(lesson: SimpleNamespace, generator: torch.Generator) -> None:
    points = plane.ring(200, generator)
    off = lesson.log_likelihood(plane.exact_velocity, points, 200) - plane.log_density(points, 1.0, 0.0)
    assert off.abs().max() < 0.02


def test_guidance_draws_together_and_past_the_cloud(lesson: SimpleNamespace, generator: torch.Generator) -> None:
    begin = torch.randn(500, 2, generator=generator, dtype=torch.float64)
    ends = [flow_diagrams.follow(lesson.guided(scale), begin, 100)[-1] for scale in (1.0, 2.0, 8.0)]
    means, spreads = [end[:, 0].mean() for end in ends], [end.std(0).mean() for end in ends]
    assert abs(means[0] - 1.4) < 0.02 < means[1] - means[0] < means[2] - means[0]
    assert spreads[0] > spreads[1] > spreads[2]


def test_a_step_of_ddim_is_one_of_euler_in_other_units(generator: torch.Generator) -> None:
    x, v = torch.randn(2, 9, 3, generator=generator, dtype=torch.float64)
    t, later = torch.rand(2, 9, generator=generator, dtype=torch.float64).sort(0).values
    r, r_later = ((time**2 + (1 - time) ** 2).sqrt().unsqueeze(1) for time in (t, later))
    noise = x - t.unsqueeze(1) * v
    levels = ((time / (time**2 + (1 - time) ** 2).sqrt()) ** 2 for time in (t, later))
    stepped = r_later * definition("ddim_step").reference(x / r, noise, *levels)
    torch.testing.assert_close(stepped, x + (later - t).unsqueeze(1) * v)


def test_training_without_time_leaves_alone_what_would_hear_it(lesson: SimpleNamespace) -> None:
    """Told t = 0 always, the weights of t and its four sines get no gradient."""
    torch.manual_seed(3)
    fresh = lesson.Field().layers[0].weight[:, 2:7]
    for timeless in (True, False):
        model = lesson.train("A trial", lesson.guess_the_noise, plane.ring, seed=3, timeless=timeless)
        assert torch.equal(model.layers[0].weight[:, 2:7], fresh) == timeless


# -- the U-Net -----------------------------------------------------------------------------------------------------


def test_a_new_block_passes_on_what_it_gets(lesson: SimpleNamespace) -> None:
    block = lesson.Block(3, 3, 5)
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(block(x, torch.randn(2, 5)), x + block.conv2.bias.view(1, 3, 1, 1))
    assert lesson.Block(3, 6, 5)(x, torch.randn(2, 5)).shape == (2, 6, 4, 4)


@pytest.mark.parametrize(("channels", "size", "depth"), [(1, 28, 2), (3, 32, 3)])
def test_a_unet_answers_with_images_and_hears_time_and_label(
    lesson: SimpleNamespace, channels: int, size: int, depth: int
) -> None:
    torch.manual_seed(0)
    model = lesson.UNet(channels, 8, depth, classes=3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.1)
    x, t, label = torch.randn(2, channels, size, size), torch.tensor([0.2, 0.7]), torch.tensor([0, 1])
    answer = model(x, t, label)
    assert answer.shape == x.shape
    assert (model(x, t + 0.1, label) - answer).flatten(1).abs().amax(1).min() > 1e-6
    assert (model(x, t, label + 1) - answer).flatten(1).abs().amax(1).min() > 1e-6
    torch.testing.assert_close(model(x, t), model(x, t, torch.tensor([3, 3])))
    torch.testing.assert_close(model(x[1:], t[1:], label[1:]), answer[1:], rtol=1e-4, atol=1e-5)


def test_eulers_last_step_lands_on_the_picture_that_the_net_sees(lesson: SimpleNamespace) -> None:
    picture = torch.rand(1, 1, 4, 4)

    def sees(x: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        return picture.expand_as(x)

    begin = torch.randn(3, 1, 4, 4)
    ends = definition("euler").reference(lesson.velocity_of(sees), begin, 5)
    torch.testing.assert_close(ends, picture.expand(3, 1, 4, 4))


def test_pictures_drawn_in_parts_are_those_of_their_noise(lesson: SimpleNamespace) -> None:
    """A velocity that is the place itself: every step makes a picture half as bright again."""
    noise = torch.randn(600, 1, 2, 2, generator=torch.Generator().manual_seed(7))
    drawn = lesson.draw(lambda x, t: x, (600, 1, 2, 2), 2, seed=7)
    torch.testing.assert_close(drawn, (1.5**2 * noise + 1) / 2)


def sources() -> str:
    """The code of the lesson's cells."""
    (path,) = (found.path for found in find.lessons(ROOT) if found.number == "10")
    return " ".join(cell.source for cell in ipynb.code_cells(ipynb.read(path)))


def test_the_dcgan_s_weights_are_those_of_lesson_06() -> None:
    session = runtime.Session("cpu", torch.device("cpu"), 0, "fp32", torch.Generator())
    networks = lesson_code.load("06", "Generator", "Discriminator", session=session)
    counts = [
        sum(p.numel() for p in network.parameters())
        for network in (networks.Generator(64, 16, 32), networks.Discriminator(32))
    ]
    assert "{:_} + {:_}".format(*counts) in sources()


def test_the_dcgan_s_numbers_are_those_that_lesson_06_recorded() -> None:
    recorded = json.loads((ROOT / "results" / "cpu-cpu.json").read_text("utf-8"))["results"]
    kept = {result["name"]: result["value"] for result in recorded if result["lesson"] == "06"}
    names = ("DCGAN, squared Fréchet distance, test, 10 000 fakes", "DCGAN, precision", "DCGAN, recall")
    wanted = '"× the floor": {:.2f}, "precision": {:.2f}, "recall": {:.2f}'.format(*(kept[name] for name in names))
    assert wanted in sources(), (
        "lesson 06 was refreshed: lesson 10 holds itself against its new numbers, in code and text"
    )
