"""Lesson 07: its players take orders, its turns touch one player each, its critics are as smooth as said."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils import runtime, training
from course_utils.exercises import check
from course_utils.exercises.catalogue import definition
from course_utils.notebooks import lesson_code

WANTED = (
    "Generator bounded Critic standard Rules follow train draw wasserstein_1d wasserstein ring Points slope_one "
    "slope_zero count_modes half enlarged"
)
ANGLES = torch.arange(8) * 2 * math.pi / 8
CENTRES = 2 * torch.stack([ANGLES.cos(), ANGLES.sin()], 1)


@pytest.fixture
def lesson() -> SimpleNamespace:
    """The definitions of the lesson, with the session and the generator that its cells make."""
    chance = torch.Generator().manual_seed(0)
    session = runtime.Session("smoke", torch.device("cpu"), 0, "fp32", chance)
    loaded = lesson_code.load("07", *WANTED.split(), session=session, chance=chance)
    torch.manual_seed(0)
    return loaded


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -- the players ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (28, 1), (32, 3)])
def test_players_work_at_any_size_that_divides_by_four(lesson: SimpleNamespace, size: int, channels: int) -> None:
    generator, critic = lesson.Generator(4, 2, size, channels), lesson.Critic(4, "none", 10, size, channels)
    orders = torch.arange(5)
    made = generator(torch.randn(5, 4), orders)
    assert made.shape == (5, channels, size, size)
    assert 0 <= made.min() < made.max() <= 1
    assert critic(made, orders).shape == (5,)


def test_drawing_many_is_drawing_each(lesson: SimpleNamespace) -> None:
    """Orders beyond one portion come in order, each by its own label and noise."""
    generator = lesson.Generator(4, 2).eval()
    orders = torch.arange(1100) % 10
    drawn = lesson.draw(generator, orders, seed=3)
    noise = torch.randn(1100, 4, generator=seeded(3))
    with torch.no_grad():
        torch.testing.assert_close(drawn[700:703], generator(noise[700:703], orders[700:703]))


def test_a_label_moves_the_score_of_its_own_class_alone(lesson: SimpleNamespace, images: Tensor) -> None:
    critic = lesson.Critic(4, "none", 10)
    orders = torch.tensor([0, 1, 2, 3, 4, 4])
    before = critic(images, orders)
    with torch.no_grad():
        critic.layers[-1].bias[1 + 4] += 2.5
    torch.testing.assert_close(critic(images, orders) - before, 2.5 * (orders == 4))
    plain = lesson.Critic(4, "none")
    assert torch.equal(plain(images, orders), plain(images, orders.flip(0)))


def test_an_unknown_norm_is_refused(lesson: SimpleNamespace) -> None:
    with pytest.raises(KeyError, match="layer"):
        lesson.Critic(4, "layer")


def test_without_batch_norm_images_are_judged_one_by_one(lesson: SimpleNamespace, images: Tensor) -> None:
    """A penalty on each image's slope needs that; batch normalisation breaks it."""
    for norm, alone in (("none", True), ("spectral", True), ("batch", False)):
        critic = lesson.Critic(4, norm)
        critic.eval() if norm == "spectral" else critic.train()  # each use in training moves a spectral norm
        assert torch.allclose(critic(images, None)[:3], critic(images[:3], None), atol=1e-5) is alone


# -- the turns -----------------------------------------------------------------------------------------------------


def played(lesson: SimpleNamespace, total: int, **rules: object) -> tuple[SimpleNamespace, SimpleNamespace]:
    """The states of generator, critic and average before and after `total` steps on the ring."""
    torch.manual_seed(0)
    pair = lesson.Points(2), lesson.Points(1)
    before = [{k: v.clone() for k, v in player.state_dict().items()} for player in pair]
    batches = training.batches(lesson.ring(200, seeded()), torch.zeros(200), size=20)
    average = lesson.train(lesson.Rules(norm="none", **rules), *pair, batches, total)
    after = [player.state_dict() for player in (*pair, average)]
    return SimpleNamespace(generator=before[0], critic=before[1]), SimpleNamespace(
        generator=after[0], critic=after[1], average=after[2]
    )


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_the_generator_waits_for_its_turn(lesson: SimpleNamespace) -> None:
    before, after = played(lesson, 4, critic_steps=5)
    assert same(before.generator, after.generator)
    assert not same(before.critic, after.critic)
    before, after = played(lesson, 5, critic_steps=5)
    assert not same(before.generator, after.generator)


def test_a_game_without_a_title_is_quiet(lesson: SimpleNamespace, capsys: pytest.CaptureFixture) -> None:
    played(lesson, 2)
    assert capsys.readouterr() == ("", "")


def test_weights_are_clipped_after_every_step(lesson: SimpleNamespace) -> None:
    _, after = played(lesson, 3, losses=lesson.wasserstein, clip=0.05)
    assert max(weight.abs().max() for weight in after.critic.values()) <= 0.05


def test_the_penalty_is_part_of_the_critic_s_loss(lesson: SimpleNamespace) -> None:
    """Asked of points between real and fake ones, and no business of the generator's first step."""
    asked = []

    def penalty(ask: Callable, real: Tensor, fake: Tensor) -> Tensor:
        asked.append((real, fake))
        return 100 * ask(real).square().mean()

    _, plain = played(lesson, 1)
    _, held = played(lesson, 1, penalty=penalty)
    ((real, fake),) = asked
    assert real.shape == fake.shape == (20, 2)
    assert not fake.requires_grad
    assert not same(plain.critic, held.critic)


def test_the_average_follows_slowly(lesson: SimpleNamespace) -> None:
    average, model = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    model(torch.tensor([[1.0, 5.0], [3.0, 9.0]]))
    lesson.follow(average, model, 0.25)
    found, target = average.state_dict(), model.state_dict()
    torch.testing.assert_close(found["running_mean"], 0.25 * target["running_mean"])
    assert found["num_batches_tracked"] == 1


def test_standard_losses_are_those_of_lesson_06(lesson: SimpleNamespace) -> None:
    real, fake = torch.randn(5, generator=seeded()), torch.randn(5, generator=seeded(1))
    theirs = definition("discriminator_loss").reference(real, fake), definition("generator_loss").reference(fake)
    for found, expected in zip(lesson.standard(real, fake), theirs, strict=True):
        torch.testing.assert_close(found, expected)


# -- distances and slopes ------------------------------------------------------------------------------------------


def test_sorting_gives_the_wasserstein_distance(lesson: SimpleNamespace) -> None:
    for seed in range(5):
        x, y = torch.randn(2, 40, generator=seeded(seed), dtype=torch.float64)
        assert lesson.wasserstein_1d(x, y).item() == pytest.approx(scipy.stats.wasserstein_distance(x, y), abs=1e-12)


def test_flat_critics_pay_no_zero_centred_penalty_and_linear_ones_their_squared_slope(lesson: SimpleNamespace) -> None:
    direction = torch.tensor([3.0, 4.0], requires_grad=True)
    real, fake = torch.randn(7, 2), torch.randn(5, 2)
    penalty = lesson.slope_zero(lambda x: x @ direction, real, fake, 0.2)
    assert penalty.item() == pytest.approx(0.2 / 2 * 2 * 25)
    (gradient,) = torch.autograd.grad(penalty, direction)
    torch.testing.assert_close(gradient, 0.2 * 2 * direction.detach())
    assert lesson.slope_zero(lambda x: 0 * x.sum(1), real, fake, 0.2) == 0


def test_spectral_critics_of_points_are_1_lipschitz(lesson: SimpleNamespace) -> None:
    critic = lesson.Points(1, norm="spectral")
    with torch.no_grad():
        for weight in critic.parameters():
            weight.mul_(7)
        for _ in range(60):
            critic(torch.randn(4, 2))
        x, y = torch.randn(2, 500, 2)
        rise = (critic(x) - critic(y)).abs() / (x - y).norm(dim=1)
    assert rise.max() <= 1.001


def test_modes_are_counted_by_lesson_06_s_rule(lesson: SimpleNamespace) -> None:
    samples = torch.cat([lesson.ring(300, seeded()), 2.5 * torch.randn(700, 2, generator=seeded(1))])
    for kept in (samples, samples[:60], CENTRES.repeat_interleave(19, 0), CENTRES.repeat_interleave(20, 0)):
        modes, hits = lesson.count_modes(kept)
        assert modes == definition("modes_covered").reference(kept, CENTRES, 0.2, 20)
        assert hits == pytest.approx((torch.cdist(kept, CENTRES).min(1).values <= 0.2).double().mean().item())


def test_small_digits_are_enlarged_without_their_rim(lesson: SimpleNamespace, images: Tensor) -> None:
    small = lesson.half(images[:, 0])
    assert small.shape == (6, 1, 16, 16)
    assert small[..., 0, :].abs().max() == small[..., :, -1].abs().max() == 0
    assert lesson.enlarged(small).mean().item() == pytest.approx(images.mean().item(), abs=0.01)


# -- the exercises -------------------------------------------------------------------------------------------------


def by_places(noise: Tensor, label: Tensor, n_classes: int) -> Tensor:
    columns = (label.unsqueeze(1) == torch.arange(n_classes, device=label.device)).to(noise.dtype)
    return torch.hstack([noise, columns])


def by_one_difference(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    return -(real_scores.sum() / real_scores.numel() - fake_scores.sum() / fake_scores.numel())


def by_lerp(critic: nn.Module, real: Tensor, fake: Tensor, generator: torch.Generator) -> Tensor:
    share = torch.rand(len(real), generator=generator).to(real).reshape(-1, *[1] * (real.dim() - 1))
    mixed = torch.lerp(real, fake, share).requires_grad_(True)
    scores = critic(mixed)
    slope = torch.autograd.grad(scores, mixed, torch.ones_like(scores), create_graph=True)[0]
    length = (slope**2).sum(dim=tuple(range(1, real.dim()))).sqrt()
    return ((length - 1) ** 2).mean()


def mixed(real: Tensor, fake: Tensor, generator: torch.Generator) -> Tensor:
    share = torch.rand(len(real), *[1] * (real.dim() - 1), generator=generator, dtype=real.dtype)
    return (share * real + (1 - share) * fake).requires_grad_()


def price(slope: Tensor) -> Tensor:
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def slope_at(critic: nn.Module, mix: Tensor) -> Tensor:
    return torch.autograd.grad(critic(mix).sum(), mix, create_graph=True)[0]


def and_looking_at_real_ones(critic: nn.Module, real: Tensor, fake: Tensor, generator: torch.Generator) -> Tensor:
    penalty = price(slope_at(critic, mixed(real, fake, generator)))
    print("mean score of the real ones:", critic(real).mean().item())
    return penalty


def after_looking_at_all_scores(critic: nn.Module, real: Tensor, fake: Tensor, generator: torch.Generator) -> Tensor:
    mix = mixed(real, fake, generator)
    with torch.no_grad():
        print([critic(images).mean().item() for images in (mix, real, fake)])
    return price(slope_at(critic, mix))


def image_by_image(critic: nn.Module, real: Tensor, fake: Tensor, generator: torch.Generator) -> Tensor:
    pairs = zip(real.split(1), fake.split(1), strict=True)
    return torch.stack([price(slope_at(critic, mixed(*pair, generator))) for pair in pairs]).mean()


def by_vmap(critic: nn.Module, real: Tensor, fake: Tensor, generator: torch.Generator) -> Tensor:
    slope = torch.func.grad(lambda image: critic(image.unsqueeze(0)).squeeze())
    return price(torch.func.vmap(slope)(mixed(real, fake, generator)))


def by_jacobian(critic: nn.Module, real: Tensor, fake: Tensor, generator: torch.Generator) -> Tensor:
    mix = mixed(real, fake, generator)
    return price(torch.autograd.functional.jacobian(lambda images: critic(images).sum(), mix, create_graph=True))


def by_forward_mode(critic: nn.Module, real: Tensor, fake: Tensor, generator: torch.Generator) -> Tensor:
    return price(torch.func.jacfwd(lambda images: critic(images).sum())(mixed(real, fake, generator)))


def by_clamp(real_scores: Tensor, fake_scores: Tensor) -> tuple[Tensor, Tensor]:
    return (1 - real_scores).clamp(min=0).mean() + (1 + fake_scores).clamp(min=0).mean(), fake_scores.neg().mean()


def by_norms(weight: Tensor, u: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    fixed, v = weight.detach(), u
    for _ in range(steps):
        v = torch.mv(fixed.T, u)
        v = v / torch.linalg.vector_norm(v)
        u = torch.mv(fixed, v)
        u = u / torch.linalg.vector_norm(u)
    return torch.einsum("o,oi,i->", u, weight, v), u


def by_cross_entropy(real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    gap = real_logits - fake_logits
    bce = F.binary_cross_entropy_with_logits
    return bce(gap, torch.ones_like(gap)), -F.logsigmoid(-gap).mean()


def by_repeating(low: Tensor, high: Tensor, alpha: float) -> Tensor:
    return alpha * high + (1 - alpha) * low.repeat_interleave(2, 2).repeat_interleave(2, 3)


def by_drawing_in_place(critic: nn.Module, real: Tensor, fake: Tensor, generator: torch.Generator) -> Tensor:
    share = torch.empty(len(real), dtype=real.dtype).uniform_(generator=generator).view(-1, *[1] * (real.dim() - 1))
    slope = slope_at(critic, (real + share * (fake - real)).requires_grad_())
    return ((slope.square().flatten(1).sum(1) + 1e-12).sqrt() - 1.0).pow(2).mean()


def as_in_sagan(real_scores: Tensor, fake_scores: Tensor) -> tuple[Tensor, Tensor]:
    real, fake = (torch.min(scores - 1, torch.zeros_like(scores)) for scores in (real_scores, -fake_scores))
    return -real.mean() - fake.mean(), -torch.mean(fake_scores)


@torch.no_grad()
def by_dividing(weight: Tensor, u: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    v = u
    for _ in range(steps):
        v = weight.t() @ u
        v /= v.norm() + 1e-12
        u = weight @ v
        u = u / (u.norm() + 1e-12)
    return v, u


def length_of_the_image(weight: Tensor, u: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    v, u = by_dividing(weight, u, steps)
    return (weight @ v).norm(), u


def one_from_the_other(real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    gap = real_logits - fake_logits
    d_loss = torch.logaddexp(-gap, torch.zeros_like(gap)).mean()
    return d_loss, d_loss + gap.mean()


def by_expanding(low: Tensor, high: Tensor, alpha: float) -> Tensor:
    n, c, h, w = low.shape
    return torch.lerp(low[..., :, None, :, None].expand(n, c, h, 2, w, 2).reshape_as(high), high, alpha)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("gradient_penalty", by_drawing_in_place),
        ("hinge_losses", as_in_sagan),
        ("power_iteration", length_of_the_image),
        ("relativistic_losses", one_from_the_other),
        ("fade_in", by_expanding),
        ("attach_label", by_places),
        ("critic_loss", by_one_difference),
        ("gradient_penalty", by_lerp),
        ("gradient_penalty", and_looking_at_real_ones),
        ("gradient_penalty", after_looking_at_all_scores),
        ("gradient_penalty", image_by_image),
        ("gradient_penalty", by_vmap),
        ("gradient_penalty", by_jacobian),
        ("gradient_penalty", by_forward_mode),
        ("hinge_losses", by_clamp),
        ("power_iteration", by_norms),
        ("relativistic_losses", by_cross_entropy),
        ("fade_in", by_repeating),
    ],
)
def test_another_right_way_is_right(name: str, answer: Callable) -> None:
    torch.func.vmap(torch.func.grad(torch.sin))(torch.zeros(2))  # what torch imports on the first call takes seconds
    for seed in range(5):
        outcome = check(name, answer, seed)
        assert outcome.status == "right", outcome.message


def penalty_on_the_average_score(critic: nn.Module, real: Tensor, fake: Tensor, generator: torch.Generator) -> Tensor:
    share = torch.rand(len(real), *[1] * (real.dim() - 1), generator=generator).to(real)
    mixed = (share * real + (1 - share) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(critic(mixed).mean(), mixed, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def sigma_by_decomposition(weight: Tensor, u: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    left, values, _ = torch.linalg.svd(weight)
    return values[0], left[:, 0]


def hinge_on_both(real_scores: Tensor, fake_scores: Tensor) -> tuple[Tensor, Tensor]:
    return F.relu(1 - real_scores + fake_scores.mean()).mean(), -fake_scores.mean()


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("gradient_penalty", penalty_on_the_average_score),
        ("power_iteration", sigma_by_decomposition),
        ("hinge_losses", hinge_on_both),
        ("relativistic_losses", lambda real_logits, fake_logits: hinge_on_both(real_logits, fake_logits)),
    ],
)
def test_a_wrong_way_that_nobody_listed_is_refused(name: str, answer: Callable) -> None:
    assert check(name, answer, seed=0).status in ("nearly right", "wrong", "diagnosed")


def slope_by_backward(critic: nn.Module, real: Tensor, fake: Tensor, generator: torch.Generator) -> Tensor:
    mix = mixed(real, fake, generator)
    critic(mix).sum().backward()
    assert mix.grad is not None
    return price(mix.grad)


def shares_by_rand_like(critic: nn.Module, real: Tensor, fake: Tensor, generator: torch.Generator) -> Tensor:
    share = torch.rand_like(real)
    return price(slope_at(critic, (share * real + (1 - share) * fake).requires_grad_()))


def norms_over_the_batch(critic: nn.Module, real: Tensor, fake: Tensor, generator: torch.Generator) -> Tensor:
    slope = slope_at(critic, mixed(real, fake, generator))
    return (slope.reshape(len(slope), -1).norm(2, 0) - 1).pow(2).mean()


def generator_paid_for_real_ones(real_scores: Tensor, fake_scores: Tensor) -> tuple[Tensor, Tensor]:
    return F.relu(1 - real_scores).mean() + F.relu(1 + fake_scores).mean(), -real_scores.mean()


def same_hinge_twice(real_scores: Tensor, fake_scores: Tensor) -> tuple[Tensor, Tensor]:
    return torch.relu(1 - real_scores).mean() + torch.relu(1 - fake_scores).mean(), -fake_scores.mean()


def hinges_the_wrong_way(real_scores: Tensor, fake_scores: Tensor) -> tuple[Tensor, Tensor]:
    return (real_scores - 1).clamp(min=0).mean() + (-fake_scores - 1).clamp(min=0).mean(), -fake_scores.mean()


def sums_of_hinges(real_scores: Tensor, fake_scores: Tensor) -> tuple[Tensor, Tensor]:
    return F.relu(1 - real_scores).sum() + F.relu(1 + fake_scores).sum(), -fake_scores.sum()


@torch.no_grad()
def unscaled_steps(weight: Tensor, u: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    v = u
    for _ in range(steps):
        v = weight.T @ u
        u = weight @ v
    return v / v.norm(), u / u.norm()


def scaled_in_the_end(weight: Tensor, u: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    v, u = unscaled_steps(weight, u, steps)
    return u @ weight @ v, u


def u_before_v(weight: Tensor, u: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    fixed = weight.detach()
    for _ in range(steps):
        u = F.normalize(fixed @ (fixed.T @ u), dim=0)
    return u @ weight @ F.normalize(fixed.T @ u, dim=0), u


def shares_from_minus_one(critic: nn.Module, real: Tensor, fake: Tensor, generator: torch.Generator) -> Tensor:
    share = 2 * torch.rand(len(real), *[1] * (real.dim() - 1), generator=generator, dtype=real.dtype) - 1
    return price(slope_at(critic, (share * real + (1 - share) * fake).requires_grad_()))


def three_parts_to_seven(critic: nn.Module, real: Tensor, fake: Tensor, generator: torch.Generator) -> Tensor:
    return price(slope_at(critic, (0.3 * real + 0.7 * fake).requires_grad_()))


def u_drawn_anew(weight: Tensor, u: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    return by_norms(weight, torch.randn(u.shape, dtype=u.dtype), steps)


def cut_for_each_player(real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    return by_cross_entropy(real_logits, fake_logits.detach())[0], by_cross_entropy(real_logits.detach(), fake_logits)[
        1
    ]


def sigmoid_plus_a_constant(real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    gap = real_logits - fake_logits
    return -(gap.sigmoid() + 1e-8).log().mean(), -((-gap).sigmoid() + 1e-8).log().mean()


@pytest.mark.parametrize(
    ("name", "answer", "mistake"),
    [
        ("gradient_penalty", shares_from_minus_one, "normal_shares"),
        ("gradient_penalty", three_parts_to_seven, "half_and_half"),
        (
            "hinge_losses",
            lambda r, f: (torch.relu(1 - r).mean() + torch.relu(1 + f).mean(), -F.logsigmoid(f).mean()),
            "cross_entropies",
        ),
        ("power_iteration", u_drawn_anew, "start_of_its_own"),
        ("relativistic_losses", cut_for_each_player, "both_cut"),
        (
            "relativistic_losses",
            lambda r, f: (F.softplus(f.detach() - r).mean(), F.softplus(r - f).mean()),
            "fakes_cut",
        ),
        ("relativistic_losses", sigmoid_plus_a_constant, "logarithm_of_sigmoid_plus_1e-08"),
        (
            "relativistic_losses",
            lambda r, f: (F.softplus(f.mean() - r).mean(), F.softplus(r.mean() - f).mean()),
            "with_one_average",
        ),
        ("relativistic_losses", lambda r, f: (F.relu(1 + f - r).mean(), F.relu(1 + r - f).mean()), "hinges_of_gaps"),
        ("critic_loss", lambda real_scores, fake_scores: -real_scores.mean(), "only_reals"),
        ("gradient_penalty", slope_by_backward, "backward_without_graph"),
        ("gradient_penalty", shares_by_rand_like, "shares_like_the_images"),
        ("gradient_penalty", norms_over_the_batch, "norm_of_each_pixel"),
        ("hinge_losses", generator_paid_for_real_ones, "generator_sees_only_real_ones"),
        ("hinge_losses", same_hinge_twice, "both_wanted_above_one"),
        ("hinge_losses", hinges_the_wrong_way, "beyond_the_margin"),
        ("hinge_losses", sums_of_hinges, "summed_hinges"),
        ("hinge_losses", lambda r, f: (torch.relu(1 + f).mean() - r.mean(), -f.mean()), "real_scores_without_hinge"),
        ("hinge_losses", lambda r, f: (torch.relu(1 - r).mean() + f.mean(), -f.mean()), "fake_scores_without_hinge"),
        ("hinge_losses", lambda r, f: (-r.mean() + f.mean(), -f.mean()), "losses_of_a_critic"),
        ("power_iteration", scaled_in_the_end, "scaled_at_the_end"),
        ("power_iteration", u_before_v, "v_made_once_more"),
        (
            "relativistic_losses",
            lambda real_logits, fake_logits: (
                F.softplus(real_logits - fake_logits).mean(),
                F.softplus(fake_logits - real_logits).mean(),
            ),
            "losses_exchanged",
        ),
        (
            "relativistic_losses",
            lambda real_logits, fake_logits: (
                -torch.log(torch.sigmoid(real_logits - fake_logits)).mean(),
                -torch.log(torch.sigmoid(fake_logits - real_logits)).mean(),
            ),
            "through_the_sigmoid",
        ),
        (
            "fade_in",
            lambda low, high, alpha: (1 - alpha) * F.interpolate(low, scale_factor=2) + high,
            "new_one_at_full_strength",
        ),
    ],
)
def test_the_usual_slips_are_told_by_name(name: str, answer: Callable, mistake: str) -> None:
    for seed in range(3):
        outcome = check(name, answer, seed)
        assert outcome.mistake == mistake, outcome.message


def test_power_iteration_is_what_the_library_does() -> None:
    """Converged, that is: the library begins a step with u, and the exercise with v."""
    torch.manual_seed(0)
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(7, 5, bias=False).double(), n_power_iterations=200)
    parts: Any = layer.parametrizations
    weight, state = parts.weight.original, parts.weight[0]._u.clone()
    sigma, state = definition("power_iteration").reference(weight, state, 200)
    torch.testing.assert_close(layer.weight, weight / sigma)
    exact, _ = definition("power_iteration").reference(weight, state, 500)
    torch.testing.assert_close(exact, torch.linalg.matrix_norm(weight, 2))
