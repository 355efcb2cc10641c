"""Lesson 06: its value is what the derivation says, its games do not meet, its players refuse what they cannot do."""

import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from interrupted import Interrupts
from torch import Tensor, nn
from torch.distributions import Normal

from course_utils import games, runtime, training
from course_utils.exercises import check
from course_utils.exercises.catalogue import definition
from course_utils.notebooks import find, ipynb, lesson_code

WANTED = "normal value jensen_shannon on_the_line play_xy generator_step measure Generator Discriminator players draw_noise draw"
LINE = torch.linspace(-8, 8, 4001, dtype=torch.float64)


@pytest.fixture
def lesson() -> SimpleNamespace:
    """The lesson's definitions, with what its cells bind, in single precision."""
    session = runtime.Session("smoke", torch.device("cpu"), 0, "fp32", torch.Generator().manual_seed(0))
    sizes = {"normals": 5, "width": 4, "FACES": 3, "chance": torch.Generator().manual_seed(0)}
    return lesson_code.load("06", *WANTED.split(), session=session, line=LINE, **sizes)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -- the game ------------------------------------------------------------------------------------------------------


def test_a_density_integrates_to_one_and_is_the_library_s(lesson: SimpleNamespace) -> None:
    found = lesson.normal(1.0, 0.7)
    assert torch.trapezoid(found, LINE).item() == pytest.approx(1.0, abs=1e-9)
    torch.testing.assert_close(found, Normal(1.0, 0.7).log_prob(LINE).exp().double(), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize(("mean", "spread"), [(0.0, 1.0), (-0.5, 0.8), (1.0, 1.2)])
def test_the_value_of_the_best_discriminator_measures_the_divergence(
    lesson: SimpleNamespace, mean: float, spread: float
) -> None:
    p, q = lesson.normal(0.5, 0.9), lesson.normal(mean, spread)
    best = definition("best_discriminator").reference(p, q)
    highest = lesson.value(best, p, q)
    assert highest.item() == pytest.approx(2 * lesson.jensen_shannon(p, q).item() - 2 * math.log(2), abs=1e-7)
    for seed in range(20):
        bent = torch.sigmoid(torch.logit(best) + 0.5 * torch.randn(len(LINE), generator=seeded(seed)))
        assert lesson.value(bent, p, q) < highest


def test_the_divergence_runs_from_nothing_to_log_two(lesson: SimpleNamespace) -> None:
    p = lesson.normal(0.0, 0.5)
    assert lesson.jensen_shannon(p, p).item() == pytest.approx(0.0, abs=1e-12)
    left, right = lesson.normal(-5.0, 0.2).clamp(min=1e-300), lesson.normal(5.0, 0.2).clamp(min=1e-300)
    assert lesson.jensen_shannon(left, right).item() == pytest.approx(math.log(2), abs=1e-6)


def test_on_the_line_every_game_has_its_own_fakes_and_discriminator(lesson: SimpleNamespace) -> None:
    fakes = torch.randn(5, 4000, 1, generator=seeded()) + torch.arange(5.0).view(5, 1, 1) - 2
    layer = games.Dense(5, 1, 1)
    densities, answers = lesson.on_the_line(fakes, layer)
    assert densities.shape == answers.shape == (5, len(LINE))
    means = torch.trapezoid(densities * LINE, LINE)
    torch.testing.assert_close(means, torch.arange(5.0).double() - 2, rtol=0, atol=0.1)
    expected = torch.sigmoid(LINE * layer.weight[3].double() + layer.bias[3].double())[0]
    torch.testing.assert_close(answers[3], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("eta", [0.01, 0.1, 0.3])
def test_players_of_xy_circle_part_or_come_home(lesson: SimpleNamespace, eta: float) -> None:
    circling = lesson.play_xy(steps=5000, eta=eta)
    assert circling.max() < 1.3
    assert circling[-1000:].max() > 0.8
    assert lesson.play_xy(friction=0.3, steps=5000, eta=eta)[-1] < 1e-3
    parting = lesson.play_xy(momentum=0.9, steps=5000, eta=eta)
    assert parting[-1] > 2 * parting[2500] > 2


def test_the_generator_s_turn_moves_the_generator_alone(lesson: SimpleNamespace) -> None:
    torch.manual_seed(0)
    generator, discriminator = nn.Linear(3, 2), nn.Linear(2, 1)
    noise, step = torch.randn(6, 3, generator=seeded()), torch.optim.SGD(generator.parameters(), lr=0.1)
    before = {name: value.clone() for name, value in discriminator.state_dict().items()}
    logits = discriminator(generator(noise))
    (wanted,) = torch.autograd.grad(F.softplus(-logits).mean(), [generator.weight])
    moved = generator.weight.detach() - 0.1 * wanted
    loss = lesson.generator_step(discriminator, generator, noise, step)
    assert loss == pytest.approx(F.softplus(-logits).mean().item())
    torch.testing.assert_close(generator.weight.detach(), moved)
    assert all(torch.equal(value, before[name]) for name, value in discriminator.state_dict().items())


# -- the ring ------------------------------------------------------------------------------------------------------


def test_the_ring_measured_by_itself_is_whole_and_moves_as_far_as_chance(
    lesson: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    films = [(step, games.ring(5, 4000, seeded(step)), nn.Sequential(games.Dense(5, 2, 1))) for step in range(7)]
    still = [(step, films[0][1], films[0][2]) for step in range(7)]
    modes, on_a_mode = lesson.measure("real", still)
    assert modes == [8] * 5
    assert on_a_mode.min() > 0.998  # four times a cloud's spread
    told = capsys.readouterr().out.split()
    assert told[6:] == ["1.00", "2.00", "0.00", told[9]]  # on a mode, spread, moved, right
    lesson.measure("real", films)
    assert float(capsys.readouterr().out.split()[8]) > 2  # other places on the ring


# -- the networks --------------------------------------------------------------------------------------------------


def test_networks_have_the_shapes_they_say(lesson: SimpleNamespace) -> None:
    generator, discriminator = lesson.players(3, seed=0)
    noise = lesson.draw_noise(6, 3)
    assert noise.shape == (6, 8)
    images = generator(noise)
    assert images.shape == (6, 1, 28, 28)
    assert images.abs().max() <= 1
    assert discriminator(images).shape == (6,)


@pytest.mark.parametrize("n", [1, 499, 1001])
def test_drawing_gives_so_many_images_and_changes_nothing(lesson: SimpleNamespace, n: int) -> None:
    generator, _ = lesson.players(3, seed=0)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    images = lesson.draw(generator, lesson.draw_noise(n, 3))
    assert images.shape == (n, 1, 28, 28)
    assert not images.requires_grad
    assert 0 <= images.min() < images.max() <= 1
    assert generator.training
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


def test_networks_begin_as_dcgan_does_and_alike_for_a_seed(lesson: SimpleNamespace) -> None:
    pair, again = lesson.players(3, seed=4), lesson.players(3, seed=4)
    for network, other in zip(pair, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))
        for layer in network.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                assert layer.weight.std().item() == pytest.approx(0.02, rel=0.35)
            if isinstance(layer, nn.BatchNorm2d):
                assert layer.weight.mean().item() == pytest.approx(1, abs=0.03)


def test_a_discriminator_sees_its_batch(lesson: SimpleNamespace) -> None:
    """Why real and fake pass separately: an image's logit depends on its company."""
    _, discriminator = lesson.players(3, seed=0)
    real, fake = torch.rand(4, 1, 28, 28, generator=seeded()), -torch.ones(4, 1, 28, 28)
    assert not torch.allclose(discriminator(real), discriminator(torch.cat([real, fake]))[:4], atol=1e-3)


def long_game(
    chance: torch.Generator, stills: Tensor, checkpoint: Path | None, interrupt: Callable[[int], None]
) -> Any:
    """The lesson's long game, small: both networks in the end, what was logged, the stills, and the noise drawn next."""
    session = runtime.Session("smoke", torch.device("cpu"), 0, "fp32", seeded())
    sizes = {"normals": 5, "width": 4, "FACES": 3, "size": 8, "rate": 0.01, "chance": chance}
    names = ["generator_step", "Generator", "Discriminator", "players", "draw_noise", "play_digits"]
    lesson = lesson_code.load("06", *names, session=session, real_images=torch.rand(40, 1, 28, 28), **sizes)

    def watch(step: int, generator: nn.Module, _: nn.Module) -> dict[str, float]:
        interrupt(step)
        stills[step // 2] = generator(lesson.draw_noise(2, 3)).detach()
        return {"drawn": torch.rand((), generator=chance).item()}

    *pair, history = lesson.play_digits("game", 6, watch=watch, kept=stills, checkpoint=checkpoint)
    return [player.state_dict() for player in pair], history.values, stills, lesson.draw_noise(3, 3)


@pytest.mark.parametrize("fresh", [False, True], ids=["same process", "fresh"])
def test_a_long_game_that_was_interrupted_ends_as_if_it_had_not_been(
    fresh: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training.steps, "__defaults__", (None, None, -1.0, True, False))  # saved after every step
    chance, stills, interrupt = seeded(), torch.zeros(3, 2, 1, 28, 28), Interrupts(4)
    torch.manual_seed(0)
    with pytest.raises(KeyboardInterrupt):
        long_game(chance, stills, tmp_path / "game.pt", interrupt)
    if fresh:
        chance, stills = seeded(), torch.zeros_like(stills)
        training._LEFT.clear()
    torch.manual_seed(0)
    found = long_game(chance, stills, tmp_path / "game.pt", interrupt)
    said = capsys.readouterr().out
    assert "game: going on from step 4 of 6" in said
    assert "which `keep` lacks" not in said
    torch.manual_seed(0)
    wanted = long_game(seeded(), torch.zeros_like(stills), None, interrupt)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_the_step_shown_in_the_notebook_is_right() -> None:
    (path,) = (found.path for found in find.lessons(Path(__file__).parents[2]) if found.number == "06")
    shown = [cell.source for cell in ipynb.read(path).cells if "<details>" in cell.source]
    code = re.findall(r"```python\n(.*?)```", "\n".join(shown), re.DOTALL)
    loaded = {"torch": torch, "discriminator_loss": definition("discriminator_loss").reference}
    exec(code[0], loaded)
    assert check("discriminator_step", loaded["discriminator_step"], seed=0).status == "right"


# -- the exercises -------------------------------------------------------------------------------------------------


def by_cross_entropy(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    cross_entropy = F.binary_cross_entropy_with_logits
    real = cross_entropy(real_logits, torch.ones_like(real_logits))
    return real + cross_entropy(fake_logits, torch.zeros_like(fake_logits))


def stable_cost(pieces: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The discriminator's loss by max(x, 0) + log(1 + exp(−|x|)), with the first part made by `pieces`."""

    def softplus(x: Tensor) -> Tensor:
        return pieces(x) + torch.log1p(torch.exp(-x.abs()))

    return lambda real_logits, fake_logits: softplus(-real_logits).mean() + softplus(fake_logits).mean()


def by_sums(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    real, fake = F.softplus(-real_logits), torch.logaddexp(fake_logits, torch.zeros_like(fake_logits))
    return real.sum() / real.numel() + fake.sum() / fake.numel()


def by_logsigmoid(fake_logits: Tensor) -> Tensor:
    return -F.logsigmoid(fake_logits).mean()


def by_the_logit(p_data: Tensor, p_generator: Tensor) -> Tensor:
    return torch.sigmoid(p_data.log() - p_generator.log())


def half_by_half(
    discriminator: nn.Module, generator_net: nn.Module, real: Tensor, noise: Tensor, optimizer: torch.optim.Optimizer
) -> float:
    discriminator.zero_grad()
    real_loss = F.softplus(-discriminator(real)).mean()
    real_loss.backward()
    fake_loss = F.softplus(discriminator(generator_net(noise).detach())).mean()
    fake_loss.backward()
    optimizer.step()
    return (real_loss + fake_loss).item()


def frozen(
    discriminator: nn.Module, generator_net: nn.Module, real: Tensor, noise: Tensor, optimizer: torch.optim.Optimizer
) -> float:
    generator_net.requires_grad_(False)
    optimizer.zero_grad()
    loss = by_cross_entropy(discriminator(real), discriminator(generator_net(noise)))
    loss.backward()
    optimizer.step()
    generator_net.requires_grad_(True)
    return loss.item()


def detached(
    discriminator: nn.Module, generator_net: nn.Module, real: Tensor, noise: Tensor, optimizer: torch.optim.Optimizer
) -> float:
    optimizer.zero_grad()
    loss = by_cross_entropy(discriminator(real), discriminator(generator_net(noise).detach()))
    loss.backward()
    optimizer.step()
    return loss.item()


def mode_by_mode(samples: Tensor, centres: Tensor, radius: float, at_least: int) -> int:
    distances = (samples.unsqueeze(1) - centres).square().sum(2).sqrt()
    belongs = F.one_hot(distances.argmin(1), len(centres)).bool() & (distances <= radius)
    return int((belongs.sum(0) >= at_least).sum())


def through_init(module: nn.Module, generator: torch.Generator) -> None:
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02, generator=generator)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, nn.BatchNorm2d) and module.affine:
        nn.init.normal_(module.weight, 1.0, 0.02, generator=generator)
        nn.init.zeros_(module.bias)


def without_asking_for_affine(module: nn.Module, generator: torch.Generator) -> None:
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02, generator=generator)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02, generator=generator)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def by_class_name(module: nn.Module, generator: torch.Generator) -> None:
    kind: Any = module
    if "Conv" in type(module).__name__:
        kind.weight.data.normal_(0.0, 0.02, generator=generator)
    elif "BatchNorm" in type(module).__name__:
        kind.weight.data = 1 + 0.02 * torch.randn(kind.weight.shape, generator=generator, dtype=kind.weight.dtype)
    else:
        return
    if kind.bias is not None:
        kind.bias.data.fill_(0)


def fakes_first(
    discriminator: nn.Module, generator_net: nn.Module, real: Tensor, noise: Tensor, optimizer: torch.optim.Optimizer
) -> float:
    optimizer.zero_grad(set_to_none=False)
    with torch.inference_mode():
        fake = generator_net(noise)
    fake_logits = discriminator(fake.clone())
    loss = by_cross_entropy(discriminator(real), fake_logits)
    loss.backward()
    optimizer.step()
    return loss.detach().item()


def sample_by_sample(samples: Tensor, centres: Tensor, radius: float, at_least: int) -> int:
    counts = [0] * len(centres)
    for sample in samples:
        distances = [torch.dist(sample, centre).item() for centre in centres]
        if min(distances) <= radius:
            counts[distances.index(min(distances))] += 1
    return len([count for count in counts if count >= at_least])


@torch.no_grad()
def by_new_parameters(module: nn.Module, generator: torch.Generator) -> None:
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)):
        weight = 0.02 * torch.randn(module.weight.shape, generator=generator).to(module.weight)
        module.weight = nn.Parameter(weight + float(isinstance(module, nn.BatchNorm2d)))
        if module.bias is not None:
            module.bias.fill_(0)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("discriminator_loss", lambda real, fake: -(F.logsigmoid(real).mean() + F.logsigmoid(-fake).mean())),
        ("generator_loss", lambda fake: -(fake - F.softplus(fake)).mean()),
        ("best_discriminator", lambda p, q: torch.stack([p.log(), q.log()]).softmax(0)[0]),
        ("best_discriminator", lambda p, q: 1 - q / (p + q)),
        ("discriminator_step", fakes_first),
        ("modes_covered", sample_by_sample),
        ("dcgan_init", by_new_parameters),
        ("discriminator_loss", by_cross_entropy),
        ("discriminator_loss", stable_cost(lambda x: x.clamp(min=0))),
        ("discriminator_loss", stable_cost(torch.relu)),
        ("discriminator_loss", stable_cost(lambda x: torch.where(x > 0, x, 0.0))),
        ("discriminator_loss", by_sums),
        ("generator_loss", by_logsigmoid),
        ("best_discriminator", by_the_logit),
        ("best_discriminator", lambda p_data, p_generator: 1 / (1 + p_generator / p_data)),
        ("discriminator_step", detached),
        ("discriminator_step", half_by_half),
        ("discriminator_step", frozen),
        ("modes_covered", mode_by_mode),
        ("dcgan_init", through_init),
        ("dcgan_init", without_asking_for_affine),
        ("dcgan_init", by_class_name),
    ],
)
def test_another_right_way_is_right(name: str, answer: Callable) -> None:
    for seed in range(3):
        outcome = check(name, answer, seed)
        assert outcome.status == "right", outcome.message


def smoothed_labels(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    real = F.binary_cross_entropy_with_logits(real_logits, torch.full_like(real_logits, 0.9))
    return real + F.softplus(fake_logits).mean()


def softmax_of_densities(p_data: Tensor, p_generator: Tensor) -> Tensor:
    return torch.stack([p_data, p_generator]).softmax(0)[0]


def within_the_radius_of_any(samples: Tensor, centres: Tensor, radius: float, at_least: int) -> int:
    near = torch.cdist(samples, centres) <= 2 * radius
    return int((near.sum(0) >= at_least).sum())


def cut_off_near_certainty(p_data: Tensor, p_generator: Tensor) -> Tensor:
    return (p_data / (p_data + p_generator)).clamp(1e-4, 1 - 1e-4)


def in_the_plane(samples: Tensor, centres: Tensor, radius: float, at_least: int) -> int:
    return definition("modes_covered").reference(samples[:, :2], centres[:, :2], radius, at_least)


def nearest_by_city_blocks(samples: Tensor, centres: Tensor, radius: float, at_least: int) -> int:
    nearest = torch.cdist(samples, centres, p=1).argmin(1)
    near = (samples - centres[nearest]).norm(dim=1) <= radius
    return int((torch.bincount(nearest[near], minlength=len(centres)) >= at_least).sum())


def one_filter_for_all(module: nn.Module, generator: torch.Generator) -> None:
    through_init(module, generator)
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        module.weight.data[:] = module.weight.data[0].clone()


def no_longer_learning(module: nn.Module, generator: torch.Generator) -> None:
    through_init(module.requires_grad_(False), generator)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("discriminator_loss", smoothed_labels),
        ("best_discriminator", softmax_of_densities),
        ("best_discriminator", cut_off_near_certainty),
        ("modes_covered", within_the_radius_of_any),
        ("modes_covered", in_the_plane),
        ("modes_covered", nearest_by_city_blocks),
        ("dcgan_init", one_filter_for_all),
        ("dcgan_init", no_longer_learning),
    ],
)
def test_a_wrong_way_that_nobody_listed_is_refused(name: str, answer: Callable) -> None:
    for seed in range(3):
        assert check(name, answer, seed).status in ("nearly right", "wrong", "diagnosed")


def log_of_d_plus_a_constant(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    real, fake = real_logits.sigmoid(), fake_logits.sigmoid()
    return -(torch.log(real + 1e-8).mean() + torch.log(1 - fake + 1e-8).mean())


def minimax(fake_logits: Tensor) -> Tensor:
    return torch.mean(torch.log(1 - torch.sigmoid(fake_logits)))


def minimax_plus_a_constant(fake_logits: Tensor) -> Tensor:
    return torch.mean(torch.log(1 - torch.sigmoid(fake_logits) + 1e-8))


def library_loss_of_probabilities(fake_logits: Tensor) -> Tensor:
    d = torch.sigmoid(fake_logits)
    return F.binary_cross_entropy_with_logits(d, torch.ones_like(d))


def fakes_made_in_eval(
    discriminator: nn.Module, generator_net: nn.Module, real: Tensor, noise: Tensor, optimizer: torch.optim.Optimizer
) -> float:
    generator_net.eval()
    with torch.no_grad():
        fake = generator_net(noise)
    generator_net.train()
    optimizer.zero_grad()
    loss = by_cross_entropy(discriminator(real), discriminator(fake))
    loss.backward()
    optimizer.step()
    return loss.item()


def cleared_up_afterwards(
    discriminator: nn.Module, generator_net: nn.Module, real: Tensor, noise: Tensor, optimizer: torch.optim.Optimizer
) -> float:
    optimizer.zero_grad()
    loss = by_cross_entropy(discriminator(real), discriminator(generator_net(noise)))
    loss.backward()
    optimizer.step()
    generator_net.zero_grad()
    return loss.item()


def one_batch_with_labels(
    discriminator: nn.Module, generator_net: nn.Module, real: Tensor, noise: Tensor, optimizer: torch.optim.Optimizer
) -> float:
    images = torch.cat([real, generator_net(noise).detach()])
    labels = torch.cat([torch.ones(len(real)), torch.zeros(len(noise))]).to(images)
    optimizer.zero_grad()
    loss = F.binary_cross_entropy_with_logits(discriminator(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


def first_centre_within(samples: Tensor, centres: Tensor, radius: float, at_least: int) -> int:
    counts = [0] * len(centres)
    for distances in torch.cdist(samples, centres):
        for mode, distance in enumerate(distances):
            if distance <= radius:
                counts[mode] += 1
                break
    return sum(count >= at_least for count in counts)


def drawn_with(draw: Callable[..., Any]) -> Callable[[nn.Module, torch.Generator], None]:
    """DCGAN's first weights, those of convolutions drawn by `draw(weight, generator=generator)`."""

    def first_weights(module: nn.Module, generator: torch.Generator) -> None:
        if not isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            return through_init(module, generator)
        draw(module.weight, generator=generator)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

    return first_weights


def cut_at_two_spreads(weight: Tensor, generator: torch.Generator) -> None:
    nn.init.normal_(weight, 0.0, 0.02, generator=generator).data.clamp_(-0.04, 0.04)


def d_kept_inside(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    real, fake = (logits.sigmoid().clamp(1e-7, 1 - 1e-7) for logits in (real_logits, fake_logits))
    return -real.log().mean() - torch.log(1 - fake).mean()


def biases_at_one(module: nn.Module, generator: torch.Generator) -> None:
    through_init(module, generator)
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)) and module.bias is not None:
        nn.init.ones_(module.bias)


@torch.no_grad()
def spread_corrected(module: nn.Module, generator: torch.Generator) -> None:
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        module.weight.mul_(0.02 / module.weight.std())
        if module.bias is not None:
            module.bias.zero_()
    else:
        through_init(module, generator)


@pytest.mark.parametrize(
    ("name", "answer", "mistake"),
    [
        ("discriminator_loss", d_kept_inside, "d_kept_above_1e-07"),
        ("discriminator_loss", lambda real, fake: torch.mean(fake) - torch.mean(real), "raw_logits"),
        (
            "discriminator_loss",
            lambda real, fake: -(real.sigmoid().mean().log() + (1 - fake.sigmoid().mean()).log()),
            "logarithms_of_means",
        ),
        ("generator_loss", lambda x: -x.sigmoid().clamp(1e-8, 1).log().mean(), "d_kept_above_1e-08"),
        ("generator_loss", lambda x: 1 - x.sigmoid().mean(), "one_minus_d"),
        ("generator_loss", lambda x: -F.logsigmoid(x.mean()), "loss_of_the_mean"),
        ("generator_loss", lambda x: F.mse_loss(x, torch.ones_like(x)), "least_squares_of_fakes"),
        ("best_discriminator", lambda p, q: p / (1e-12 + q + p), "denominator_plus_1e-12"),
        ("dcgan_init", biases_at_one, "biases_kept"),
        ("dcgan_init", spread_corrected, "seeded_anew"),
        ("discriminator_loss", log_of_d_plus_a_constant, "logarithm_of_d_plus_1e-08"),
        ("generator_loss", lambda x: -torch.log(torch.sigmoid(x) + 1e-8).mean(), "logarithm_of_d_plus_1e-08"),
        ("generator_loss", minimax, "saturating_through_the_probability"),
        ("generator_loss", minimax_plus_a_constant, "saturating_plus_1e-08"),
        ("generator_loss", lambda x: F.logsigmoid(-x).mean(), "saturating"),
        ("generator_loss", lambda x: -torch.sigmoid(x).mean(), "logarithm_missing"),
        ("generator_loss", library_loss_of_probabilities, "sigmoid_applied_twice"),
        ("discriminator_step", fakes_made_in_eval, "fakes_in_evaluation_mode"),
        ("discriminator_step", cleared_up_afterwards, "generator_cleared"),
        ("discriminator_step", one_batch_with_labels, "one_pass_one_mean"),
        ("modes_covered", first_centre_within, "first_within_the_radius"),
        ("dcgan_init", drawn_with(partial(nn.init.uniform_, a=-0.02, b=0.02)), "uniform_weights"),
        ("dcgan_init", drawn_with(nn.init.xavier_uniform_), "uniform_weights"),
        ("dcgan_init", drawn_with(partial(nn.init.trunc_normal_, std=0.02, a=-0.04, b=0.04)), "truncated"),
        ("dcgan_init", drawn_with(cut_at_two_spreads), "truncated"),
    ],
)
def test_the_usual_slips_are_told_by_name(name: str, answer: Callable, mistake: str) -> None:
    for seed in range(3):
        outcome = check(name, answer, seed)
        assert outcome.mistake == mistake, outcome.message
