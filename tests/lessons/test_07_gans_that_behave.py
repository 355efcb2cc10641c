"""Lesson 07: its players take orders and refuse others, its turns touch one player each, its critics are as smooth as said."""

import math
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import lesson_code
import pytest
import scipy.ndimage
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils import data, runtime, training
from course_utils.exercises import check
from course_utils.exercises.catalogue import definition

WANTED = (
    "Generator bounded Critic standard Rules follow train wasserstein_1d wasserstein Points clip slopes price_of_slope "
    "ring count_modes players"
)
ANGLES = torch.arange(8) * 2 * math.pi / 8
CENTRES = 2 * torch.stack([ANGLES.cos(), ANGLES.sin()], 1)


def load(*wanted: str, precision: str = "fp32", **given: object) -> SimpleNamespace:
    """Definitions of the lesson, with the session and the generator that its cells make."""
    chance = torch.Generator().manual_seed(0)
    session = runtime.Session("smoke", torch.device("cpu"), 0, precision, chance)
    loaded = lesson_code.load("07", *wanted, session=session, chance=chance, centres=CENTRES, **given)
    loaded.chance = chance
    torch.manual_seed(0)
    return loaded


@pytest.fixture
def lesson() -> SimpleNamespace:
    """The definitions of the first part, in single precision."""
    return load(*WANTED.split())


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -- the players ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", [-1, 10, 99])
def test_orders_for_no_class_are_refused(lesson: SimpleNamespace, label: int) -> None:
    with pytest.raises(ValueError, match=f"label {label} is none of the 10 classes 0 to 9"):
        lesson.Generator(4, 2).draw(torch.tensor([0, label, 3]), seeded())


def test_a_batch_of_one_is_refused_in_training_only(lesson: SimpleNamespace) -> None:
    generator = lesson.Generator(4, 2)
    with pytest.raises(ValueError, match="train with two or more"):
        generator(torch.randn(1, 4), torch.tensor([3]))
    assert generator.draw(torch.tensor([3]), seeded()).shape == (1, 1, 28, 28)
    assert generator.training


def test_drawing_many_is_drawing_each(lesson: SimpleNamespace) -> None:
    """Orders beyond one portion come in order, each by its own label and noise."""
    generator = lesson.Generator(4, 2)
    orders = torch.arange(1100) % 10
    drawn = generator.draw(orders, seeded(3))
    noise = torch.randn(1100, 4, generator=seeded(3))
    with torch.no_grad():
        torch.testing.assert_close(drawn[700:703], generator.eval()(noise[700:703], orders[700:703]))
    assert 0 <= drawn.min() < drawn.max() <= 1


def test_a_label_moves_the_score_of_its_own_class_alone(lesson: SimpleNamespace, images: Tensor) -> None:
    critic = lesson.Critic(4, "none", 10)
    orders = torch.tensor([0, 1, 2, 3, 4, 4])
    before = critic(images, orders)
    with torch.no_grad():
        critic.layers[-1].bias[1 + 4] += 2.5
    torch.testing.assert_close(critic(images, orders) - before, 2.5 * (orders == 4))
    assert lesson.Critic(4, "none")(images).shape == (6,)


def test_an_unknown_norm_is_refused(lesson: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="'layer'"):
        lesson.Critic(4, "layer")


def test_without_batch_norm_images_are_judged_one_by_one(lesson: SimpleNamespace, images: Tensor) -> None:
    """A penalty on each image's slope needs that; batch normalisation breaks it."""
    for norm, alone in (("none", True), ("batch", False)):
        critic = lesson.Critic(4, norm)
        assert torch.allclose(critic(images)[:3], critic(images[:3]), atol=1e-5) is alone


def test_equal_seeds_give_equal_players(lesson: SimpleNamespace) -> None:
    pairs = [lesson.players(lesson.Rules(), 4, 4, True, seed) for seed in (1, 1, 2)]
    weights = [torch.cat([w.flatten() for player in pair for w in player.parameters()]) for pair in pairs]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


# -- the turns -----------------------------------------------------------------------------------------------------


def played(lesson: SimpleNamespace, total: int, **rules: object) -> tuple[SimpleNamespace, SimpleNamespace]:
    """The states of generator, critic and average before and after `total` steps on the ring."""
    torch.manual_seed(0)
    pair = lesson.Points(2), lesson.Points(1)
    before = [{k: v.clone() for k, v in player.state_dict().items()} for player in pair]
    batches = training.batches(lesson.ring(200, seeded()), torch.zeros(200), size=20)
    average, history = lesson.train(lesson.Rules(norm="none", **rules), *pair, batches, total, "test")
    after = [player.state_dict() for player in (*pair, average)]
    return SimpleNamespace(generator=before[0], critic=before[1]), SimpleNamespace(
        generator=after[0], critic=after[1], average=after[2], history=history
    )


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_the_generator_waits_for_its_turn(lesson: SimpleNamespace) -> None:
    before, after = played(lesson, 4, patience=5)
    assert same(before.generator, after.generator)
    assert not same(before.critic, after.critic)
    before, after = played(lesson, 5, patience=5)
    assert not same(before.generator, after.generator)


def test_what_follows_the_critic_s_step_is_done_every_time(lesson: SimpleNamespace) -> None:
    _, after = played(lesson, 3, losses=lesson.wasserstein, after=partial(lesson.clip, largest=0.05))
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


def test_slopes_are_the_gradient_s_norms(lesson: SimpleNamespace) -> None:
    direction = torch.tensor([3.0, 4.0])
    found = lesson.slopes(lambda x: x @ direction, torch.randn(7, 2))
    torch.testing.assert_close(found, torch.full((7,), 5.0))


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
    assert lesson.slopes(critic, x).max() <= 1.001


def test_modes_are_counted_by_lesson_06_s_rule(lesson: SimpleNamespace) -> None:
    samples = torch.cat([lesson.ring(300, seeded()), 2.5 * torch.randn(700, 2, generator=seeded(1))])
    for kept in (samples, samples[:60], CENTRES.repeat_interleave(19, 0), CENTRES.repeat_interleave(20, 0)):
        modes, hits = lesson.count_modes(kept)
        assert modes == definition("modes_covered").reference(kept, CENTRES, 0.2, 20)
        assert hits == pytest.approx((torch.cdist(kept, CENTRES).min(1).values <= 0.2).double().mean().item())


def test_the_penalty_s_gradient_is_sound_in_mixed_precision(images: Tensor) -> None:
    """A gradient of a gradient, through convolutions in bf16: it points the way of the one in float32."""
    found = []
    for precision in ("fp32", "bf16"):
        lesson = load("bounded", "Critic", precision=precision)
        critic = lesson.Critic(8, "none").to(memory_format=torch.channels_last)
        definition("gradient_penalty").reference(critic, images, images.flip(3), seeded()).backward()
        found.append(torch.cat([w.grad.flatten() for w in critic.parameters() if w.grad is not None]))
    assert F.cosine_similarity(*found, dim=0) > 0.99
    assert found[1].norm() / found[0].norm() == pytest.approx(1, abs=0.05)


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


def by_repeating(low: Tensor, high: Tensor, alpha: float) -> Tensor:
    return alpha * high + (1 - alpha) * low.repeat_interleave(2, 2).repeat_interleave(2, 3)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
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


@pytest.mark.parametrize(
    ("name", "answer", "mistake"),
    [
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
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(7, 5, bias=False).double(), n_power_iterations=2)
    parts: Any = layer.parametrizations
    weight, state = parts.weight.original, parts.weight[0]._u.clone()
    sigma, state = definition("power_iteration").reference(weight, state, 2)
    torch.testing.assert_close(layer.weight, weight / sigma)
    exact, _ = definition("power_iteration").reference(weight, state, 500)
    torch.testing.assert_close(exact, torch.linalg.matrix_norm(weight, 2))


# -- growing, translating, asking ----------------------------------------------------------------------------------


GROWTH = "GrowingGenerator GrowingCritic timetable portrait growing grow"
PAIRS = "thin dots Translator see translate sharpness"
TURING = "situations best_accuracy recent log_chance ask usual_light Judges reinforce rival contest"
CALM = torch.full((8,), 0.1)
ANIMAL = CALM.index_fill(0, torch.tensor(3), 0.9)


@pytest.fixture
def second() -> SimpleNamespace:
    """The definitions of the second part, with the constants that its cells make, in single precision."""
    given: dict[str, Any] = {"STARTS": (0.0, 0.2, 0.45), "FADE": 0.1, "critic_width": 2, "MOMENTS": 12, "PATIENCE": 3}
    given["CLOCKWISE"] = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
    names = f"Generator bounded Critic Rules standard train follow core_seconds {GROWTH} {PAIRS} {TURING}"
    return load(*names.split(), **given, CALM=CALM, ANIMAL=ANIMAL)


@pytest.mark.parametrize("norm", ["batch", "spectral"])
def test_fully_grown_players_are_those_that_they_were_made_of(second: SimpleNamespace, norm: str) -> None:
    generator, critic = second.Generator(3, 2).eval(), second.Critic(2, norm).eval()
    noise, labels, images = torch.randn(4, 3), torch.arange(4), torch.rand(4, 1, 28, 28)
    assert torch.equal(second.GrowingGenerator(generator)(noise, labels), generator(noise, labels))
    assert torch.equal(second.GrowingCritic(critic)(images), critic(images))


@pytest.mark.parametrize("level", [1, 2])
def test_a_new_layer_begins_unseen_by_both_players(second: SimpleNamespace, level: int) -> None:
    generator, critic = (
        second.GrowingGenerator(second.Generator(3, 2)).eval(),
        second.GrowingCritic(second.Critic(2)).eval(),
    )
    noise, labels = torch.randn(4, 3), torch.arange(4)
    for player in (generator, critic):
        player.level, player.share = level - 1, 1.0
    small = generator(noise, labels)
    scores = critic(small)
    for player in (generator, critic):
        player.level, player.share = level, 0.0
    large = generator(noise, labels)
    torch.testing.assert_close(large, F.interpolate(small, scale_factor=2), rtol=0, atol=1e-6)
    torch.testing.assert_close(critic(large), scores)


def test_layers_that_are_still_to_come_learn_nothing(second: SimpleNamespace) -> None:
    generator = second.GrowingGenerator(second.Generator(3, 2))
    generator.level = 0
    generator(torch.randn(4, 3), torch.arange(4)).sum().backward()
    layers = generator.generator.layers
    assert layers[0].weight.grad is not None
    assert layers[4].weight.grad is None


def test_the_timetable_grows_step_by_step_and_ends_fully_grown(second: SimpleNamespace) -> None:
    times = [second.timetable(step / 1000) for step in range(1000)]
    assert times == sorted(times, key=lambda time: time[0])
    assert times[0] == (0, 1.0)
    assert times[-1] == (2, 1.0)
    for level in (1, 2):
        shares = [share for at, share in times if at == level]
        assert shares[0] < 0.02
        assert shares == sorted(shares)


@pytest.mark.parametrize("norm", ["batch", "spectral"])
def test_growing_goes_through_all_sizes_and_keeps_a_diary(second: SimpleNamespace, norm: str) -> None:
    images, labels = torch.rand(40, 1, 28, 28), torch.arange(40) % 10
    pair = second.Generator(3, 2), second.Critic(2, norm)
    stream = training.batches(images, labels, size=8)
    average, diary = second.grow(second.Rules(norm=norm), *pair, stream, 20, "growing")
    assert isinstance(average, second.Generator)
    assert not average.training
    assert [page["portrait"].shape for page in diary] == [(10, 1, 28, 28)] * 3
    assert [len(page["seconds"]) for page in diary] == [4, 5, 10]  # the loop does not come back after its last step
    grown = second.GrowingGenerator(pair[0]), second.GrowingCritic(pair[1])
    sizes = [x.shape[2] for _, (x, _) in zip(range(20), second.growing(stream, 20, grown, []), strict=False)]
    assert sizes == [7] * 4 + [14] * 5 + [28] * 11


def test_thinning_keeps_the_pieces_and_leaves_nothing_to_peel(second: SimpleNamespace) -> None:
    images = data.glyphs(60).images.unsqueeze(1)
    strokes = second.thin(images)
    assert torch.equal(second.thin(strokes), strokes)
    assert ((strokes > 0) <= (images > 0.5)).all()
    assert strokes.sum() < 0.5 * (images > 0.5).sum()
    label: Any = scipy.ndimage.label
    every_direction = torch.ones(3, 3).numpy()
    for stroke, image in zip(strokes[:, 0], images[:, 0], strict=True):
        pieces = [label(x.numpy(), every_direction)[1] for x in (stroke > 0, image > 0.5)]
        assert pieces[0] == pieces[1]


def test_dots_are_a_drawn_share_of_the_thinned_strokes(second: SimpleNamespace) -> None:
    images = data.glyphs(400).images.unsqueeze(1)
    strokes = second.thin(images)
    kept = second.dots(images, 0.25, seeded(1))
    assert (kept <= strokes).all()
    assert (kept.sum() / strokes.sum()).item() == pytest.approx(0.25, abs=0.03)
    assert torch.equal(kept, second.dots(images, 0.25, seeded(1)))


def test_a_translator_begins_near_its_question(second: SimpleNamespace) -> None:
    question = (torch.rand(3, 1, 28, 28) > 0.8).float()
    answer = second.Translator(3)(question)
    assert answer.shape == question.shape
    assert ((answer > 0.5) == (question > 0.5)).all()


@pytest.mark.parametrize("weight", [0.0, 0.01])
def test_translation_learns_with_and_without_a_critic(second: SimpleNamespace, weight: float) -> None:
    truth = data.glyphs(64).images.unsqueeze(1)
    question = second.dots(truth, 0.5, seeded())
    network = second.Translator(4)
    before = F.l1_loss(network(question), truth)
    stream = training.batches(question, truth, size=16)
    second.translate(network, stream, 40, "translation", F.l1_loss, 3e-3, weight)
    assert F.l1_loss(network(question), truth) < 0.9 * before


def test_blur_costs_sharpness(second: SimpleNamespace) -> None:
    images = data.glyphs(20).images.unsqueeze(1)
    assert second.sharpness(torch.full((2, 1, 5, 5), 0.3)) == pytest.approx(0.0, abs=1e-12)
    assert second.sharpness(F.avg_pool2d(images, 3, stride=1, padding=1)) < 0.5 * second.sharpness(images)


def test_a_critic_of_pairs_sees_a_small_question_enlarged(second: SimpleNamespace) -> None:
    small, image = torch.rand(3, 1, 7, 7), torch.rand(3, 1, 28, 28)
    seen = second.see(small, image)
    assert torch.equal(seen[:, 1:], image)
    torch.testing.assert_close(F.avg_pool2d(seen[:, :1], 4), small)


@pytest.mark.parametrize("seed", range(5))
def test_the_best_judge_is_as_good_as_adding_up_all_replies_says(second: SimpleNamespace, seed: int) -> None:
    lights = (torch.rand(12, generator=seeded(seed)) < 0.75).float()
    replies = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 12)
    places = second.situations(lights)
    p, q = (torch.where(replies > 0, law[places], 1 - law[places]).prod(1) for law in (ANIMAL, CALM))
    added_up = 0.5 + 0.25 * (p - q).abs().sum()
    assert second.best_accuracy(lights).item() == pytest.approx(added_up.item(), abs=1e-5)


def test_in_its_usual_light_the_animal_is_an_imitator(second: SimpleNamespace) -> None:
    lights = second.usual_light((500, 12), seeded())
    assert second.best_accuracy(lights).eq(0.5).all()
    assert 0.2 < lights.mean() < 0.5


def test_a_policy_gives_all_lights_together_probability_one(second: SimpleNamespace) -> None:
    lights = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 12).unsqueeze(0)
    policy = torch.randn(1, 8, generator=seeded())
    assert second.log_chance(policy, lights).exp().sum().item() == pytest.approx(1.0, abs=1e-4)


def test_lights_are_drawn_as_often_as_the_policy_says(second: SimpleNamespace) -> None:
    policy = torch.randn(2, 8, generator=seeded())
    lights = second.ask(policy, 20_000, seeded(1))
    for one, drawn in zip(policy, lights, strict=True):
        past = second.recent(drawn)
        for triple in range(8):
            assert drawn[past == triple].mean().item() == pytest.approx(one[triple].sigmoid().item(), abs=0.03)


def test_judges_side_by_side_do_not_disturb_one_another(second: SimpleNamespace) -> None:
    judges = second.Judges(3)
    lights = torch.rand(3, 5, 12).round()
    judges(lights, 1 - lights)[1].sum().backward()
    touched = [judges.first.grad[i].abs().sum().item() > 0 for i in range(3)]
    assert touched == [False, True, False]


def test_only_the_judge_who_asks_tells_animal_from_imitator(second: SimpleNamespace) -> None:
    right = {way: second.contest(way, 400, learns=False, runs=3)[0][-50:].mean(0) for way in ("passive", "active")}
    assert (right["passive"] - 0.5).abs().max() < 0.03
    assert right["active"].min() > 0.8


def test_an_imitator_learns_the_exception_only_where_it_is_asked_for(second: SimpleNamespace) -> None:
    chances = {way: second.contest(way, 400, learns=True, runs=3)[1][-1, :, 3] for way in ("passive", "active")}
    assert chances["passive"].sub(0.1).abs().max() < 1e-6
    assert chances["active"].min() > 0.5
