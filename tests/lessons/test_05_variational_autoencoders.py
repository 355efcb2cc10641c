"""Lesson 05: its model refuses what it cannot read, its bounds are bounds, and its exercises accept every right way."""

import math
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from course_utils import runtime
from course_utils.exercises import check
from course_utils.exercises.catalogue import definition
from course_utils.notebooks import lesson_code

WANTED = "Residual VAE Peeking bound train score active_units log_weights all_log_weights codes_of normal_bound priced answer"


@pytest.fixture
def lesson() -> SimpleNamespace:
    """The lesson's definitions, with the session and the generator that its cells make, in single precision."""
    chance = torch.Generator().manual_seed(0)
    session = runtime.Session("smoke", torch.device("cpu"), 0, "fp32", chance)
    loaded = lesson_code.load("05", *WANTED.split(), session=session, chance=chance)
    loaded.chance = chance
    torch.manual_seed(0)
    return loaded


@pytest.fixture
def images() -> Tensor:
    return torch.bernoulli(torch.full((6, 1, 28, 28), 0.2), generator=torch.Generator().manual_seed(1))


# -- the model -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latent", [0, -3])
def test_a_code_needs_a_latent(lesson: SimpleNamespace, latent: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1 latent, not {latent}"):
        lesson.VAE(latent, 2, 16)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda x: x * 255, "divide them by 255"),
        (lambda x: x - 0.5, r"from -0.5 to 0.5, outside \[0, 1\]"),
        (lambda x: x.masked_fill(x > 0, math.nan), "NaN"),
        (lambda x: x.squeeze(1), "unsqueeze"),
        (lambda x: x.flatten(1), "not .*N, 1, H, W"),
        (lambda x: x.expand(-1, 3, -1, -1), "3 channels"),
        (lambda x: x.repeat(1, 1, 1, 2), "28x28 pixels, not 28x56"),
        (lambda x: x[:0], "no images"),
        (lambda x: x.long(), "int64, not floats"),
    ],
)
def test_an_encoder_refuses_what_is_no_image(
    lesson: SimpleNamespace, images: Tensor, spoil: Callable, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        lesson.VAE(3, 2, 16).encode(spoil(images))


def test_a_vae_gives_logits_like_its_images(lesson: SimpleNamespace, images: Tensor) -> None:
    logits, mu, logvar = lesson.VAE(3, 2, 16)(images, torch.randn(6, 3))
    assert logits.shape == images.shape
    assert mu.shape == logvar.shape == (6, 3)
    assert lesson.VAE(3, 2, 16).decode(torch.zeros(5, 2, 3)).shape == (5, 2, 1, 28, 28)


@pytest.mark.parametrize("kind", ["VAE", "Peeking"])
def test_a_decoder_can_begin_at_the_average_image(lesson: SimpleNamespace, images: Tensor, kind: str) -> None:
    average = images.mean(0)
    assert average.min() == 0  # a pixel that is never white must not get an infinite bias
    model = getattr(lesson, kind)(3, 2, 16, average)
    torch.testing.assert_close(torch.sigmoid(model.bias), average.clamp(0.005, 0.995))


def test_a_peeking_decoder_sees_earlier_pixels_only(lesson: SimpleNamespace, images: Tensor) -> None:
    model = lesson.Peeking(2, 2, 8)
    torch.nn.init.normal_(model.second)
    x = images[:1]

    def peek(pixels: Tensor) -> Tensor:
        hidden = F.relu(F.linear(pixels, model.first * model.before, model.inner_bias))
        return F.linear(hidden, model.second * model.up_to)

    seen = torch.autograd.functional.jacobian(peek, x.flatten())  # (logit, pixel)
    assert isinstance(seen, Tensor)
    assert not seen.triu().any()
    assert seen.tril(-1).any()
    noise = torch.randn(1, 2)
    with_peeking, without = model(x, noise)[0], lesson.VAE.forward(model, x, noise)[0]
    torch.testing.assert_close((with_peeking - without).flatten(), peek(x.flatten()), rtol=1e-4, atol=1e-4)


def test_a_vae_takes_size_and_colours_from_the_average_image(lesson: SimpleNamespace) -> None:
    model = lesson.VAE(3, 2, 16, torch.full((3, 32, 32), 0.25))
    pictures = torch.rand(4, 3, 32, 32)
    logits, mu, _ = model(pictures, torch.randn(4, 3))
    assert logits.shape == pictures.shape and mu.shape == (4, 3)
    with pytest.raises(ValueError, match="32x32 pixels, not 28x28"):
        model.encode(torch.rand(4, 3, 28, 28))


def test_the_bound_is_the_exercises_loss_and_without_noise_the_code_is_its_mean(
    lesson: SimpleNamespace, images: Tensor
) -> None:
    model = lesson.VAE(3, 2, 16)
    mu, logvar = model.encode(images)
    loss, kl = lesson.bound(beta=0.5, level=0.0)(model, images, 0.0)
    torch.testing.assert_close(loss, definition("negative_elbo").reference(model.decode(mu), images, mu, logvar, 0.5))
    torch.testing.assert_close(kl, definition("kl_to_standard_normal").reference(mu, logvar).mean())


def test_normal_pixels_cost_their_density_at_the_best_width(lesson: SimpleNamespace) -> None:
    model = lesson.VAE(3, 2, 16, torch.full((3, 32, 32), 0.25))
    pictures = torch.rand(5, 3, 32, 32)
    lesson.chance.manual_seed(3)
    loss, kl = lesson.normal_bound(model, pictures, 0.0)
    lesson.chance.manual_seed(3)
    logits, _, _ = model(pictures, torch.randn(5, 3, generator=lesson.chance))

    def cost(width: float) -> float:
        return -Independent(Normal(torch.sigmoid(logits), width), 3).log_prob(pictures).mean().item()

    best = (torch.sigmoid(logits) - pictures).square().mean().sqrt().item()
    assert (loss - kl).item() == pytest.approx(cost(best), rel=1e-5)
    assert cost(best) < min(cost(0.98 * best), cost(1.02 * best))


def test_a_code_that_is_cut_off_says_nothing(lesson: SimpleNamespace, images: Tensor) -> None:
    model = lesson.Peeking(2, 2, 8)
    first, second = (model(images, torch.randn(6, 2), 0.0)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(model(images, torch.randn(6, 2))[0], first)


def test_without_noise_the_code_is_its_mean(lesson: SimpleNamespace, images: Tensor) -> None:
    model = lesson.VAE(3, 2, 16)
    assert torch.equal(lesson.codes_of(model, images, 0.0), model.encode(images)[0])
    assert not torch.equal(lesson.codes_of(model, images, 1.0), model.encode(images)[0])


# -- the bounds ----------------------------------------------------------------------------------------------------


def test_log_weights_are_what_the_library_says(lesson: SimpleNamespace, images: Tensor) -> None:
    model = lesson.VAE(3, 2, 16)
    mu, logvar = model.encode(images)
    lesson.chance.manual_seed(7)
    found = lesson.log_weights(model, images, 5)
    noise = torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(7))
    q = Normal(mu, torch.exp(0.5 * logvar))
    z = mu + torch.exp(0.5 * logvar) * noise
    pixels = Independent(Bernoulli(logits=model.decode(z)), 3).log_prob(images)
    expected = pixels + Normal(0.0, 1.0).log_prob(z).sum(2) - q.log_prob(z).sum(2)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-3)


def test_many_log_weights_come_in_pieces(lesson: SimpleNamespace, images: Tensor) -> None:
    """Any number decoded at a time gives (samples, images), whether it divides them or not, with the same mean."""
    model = lesson.VAE(3, 2, 16)
    once = lesson.all_log_weights(model, images, 700, at_once=10_000)
    for at_once in (1, 300, 1500):
        pieces = lesson.all_log_weights(model, images, 70 if at_once == 1 else 700, at_once)
        assert pieces.shape == (70 if at_once == 1 else 700, 6)
        assert not pieces.requires_grad
        error = once.std(0) * (1 / len(once) + 1 / len(pieces)) ** 0.5
        assert ((pieces.mean(0) - once.mean(0)).abs() < 6 * error).all()


def test_one_sample_is_the_elbo_and_more_are_tighter(lesson: SimpleNamespace, images: Tensor) -> None:
    model = lesson.VAE(3, 2, 16)
    with torch.no_grad():
        model.encoder[-1].weight.mul_(300)  # a guess that is far from the posterior
        weights = lesson.all_log_weights(model, images, 4000, at_once=24_000)
        losses = torch.tensor([sum(lesson.score(model, images)) for _ in range(400)])
    elbo, error = -weights.mean(), (losses.std() ** 2 / len(losses) + weights.mean(1).var() / len(weights)) ** 0.5
    assert abs(losses.mean() - elbo) < 6 * error
    bound = definition("importance_bound").reference
    means = [torch.stack([bound(g).mean() for g in weights.split(k)]).mean().item() for k in (1, 10, 100, 4000)]
    assert means == sorted(means)
    assert means[-1] > means[0] + 1


def test_a_score_weighs_every_image_alike(lesson: SimpleNamespace, images: Tensor) -> None:
    """Also those of a last, shorter batch."""
    model = lesson.VAE(3, 2, 16)
    with torch.no_grad():
        model.encoder[-1].weight.mul_(50)
    many = torch.cat([images[:1].expand(1000, -1, -1, -1), images[1:3]])
    mu, logvar = model.encode(many)
    _, kl = lesson.score(model, many)
    assert kl == pytest.approx(definition("kl_to_standard_normal").reference(mu, logvar).mean().item(), rel=1e-4)


def test_an_active_latent_moves_with_the_image(lesson: SimpleNamespace, images: Tensor) -> None:
    model = lesson.VAE(2, 2, 16)
    with torch.no_grad():
        model.encoder[-1].weight[1].zero_()  # the second latent's mean is the same for all images
        model.encoder[-1].weight[0].mul_(200)
    moving = lesson.active_units(model, images)
    assert moving[0] > 0.01
    assert moving[1] < 1e-8


# -- the exercises -------------------------------------------------------------------------------------------------


def by_distributions(mu: Tensor, logvar: Tensor) -> Tensor:
    return kl_divergence(Normal(mu, torch.exp(0.5 * logvar)), Normal(torch.zeros_like(mu), 1.0)).sum(dim=-1)


def by_the_definition(logits: Tensor, x: Tensor, mu: Tensor, logvar: Tensor, beta: float) -> Tensor:
    pixels = (F.softplus(logits) - x * logits).sum(dim=list(range(1, x.dim())))
    return pixels.mean() + beta * 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum() / len(mu)


def by_the_largest(log_weights: Tensor) -> Tensor:
    largest = log_weights.max(dim=0).values
    return largest + torch.log(torch.exp(log_weights - largest).mean(dim=0))


def by_maximum(kl_per_latent: Tensor, floor: float) -> Tensor:
    means = kl_per_latent.sum(dim=0) / kl_per_latent.shape[0]
    return torch.maximum(means, torch.full_like(means, floor)).sum()


def by_rsample(mu: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
    return torch.addcmul(mu.expand_as(noise), torch.sqrt(torch.exp(logvar)).expand_as(noise), noise)


def rsample_of_the_library(mu: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
    return Normal(mu, torch.exp(0.5 * logvar)).rsample()


def bernoulli_with_epsilon(logits: Tensor, x: Tensor, mu: Tensor, logvar: Tensor, beta: float) -> Tensor:
    p = torch.sigmoid(logits)
    pixels = -(x * torch.log(p + 1e-8) + (1 - x) * torch.log(1 - p + 1e-8)).flatten(1).sum(1)
    return (pixels + beta * 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)).mean()


def floor_times_latents_for_each_image(kl_per_latent: Tensor, floor: float) -> Tensor:
    return kl_per_latent.sum(1).clamp(min=floor * kl_per_latent.shape[1]).mean()


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("kl_to_standard_normal", by_distributions),
        ("reparameterise", by_rsample),
        ("negative_elbo", by_the_definition),
        ("importance_bound", by_the_largest),
        ("free_bits", by_maximum),
    ],
)
def test_another_right_way_is_right(name: str, answer: Callable) -> None:
    for seed in range(5):
        outcome = check(name, answer, seed)
        assert outcome.status == "right", outcome.message


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("reparameterise", rsample_of_the_library),
        ("negative_elbo", bernoulli_with_epsilon),
        ("free_bits", floor_times_latents_for_each_image),
    ],
)
def test_a_wrong_way_that_nobody_listed_is_refused(name: str, answer: Callable) -> None:
    assert check(name, answer, seed=0).status in ("nearly right", "wrong", "diagnosed")


def test_kl_agrees_with_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    mu, logvar = 3 * torch.randn(2, 50, 7, generator=generator, dtype=torch.float64)
    found = definition("kl_to_standard_normal").reference(mu, logvar)
    torch.testing.assert_close(found, by_distributions(mu, logvar), rtol=0, atol=1e-10)


def test_below_the_floor_a_latent_has_no_gradient() -> None:
    kl = torch.tensor([[0.1, 2.0], [0.2, 3.0]], dtype=torch.float64, requires_grad=True)
    price = definition("free_bits").reference(kl, 0.5)
    (gradient,) = torch.autograd.grad(price, kl)
    assert price.item() == pytest.approx(0.5 + 2.5)
    assert gradient.tolist() == [[0.0, 0.5], [0.0, 0.5]]
