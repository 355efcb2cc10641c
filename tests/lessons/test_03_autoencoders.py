"""Lesson 03: its small functions agree with the libraries', and its exercises accept every right way and tell wrong ones."""

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.exercises import check
from course_utils.exercises.catalogue import definition
from course_utils.notebooks import lesson_code


@pytest.fixture
def lesson() -> SimpleNamespace:
    wanted = (
        "ConvolutionalAutoencoder",
        "principal_angles",
        "median_filter",
        "linear_map",
        "convolve",
        "times_seen",
    )
    return lesson_code.load("03", *wanted)


# -- the lesson's own functions ------------------------------------------------------------------------------------


def test_principal_angles_are_scipy_s(lesson: SimpleNamespace) -> None:
    linalg = pytest.importorskip("scipy.linalg")
    a, b = torch.randn(2, 11, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.from_numpy(linalg.subspace_angles(a.numpy(), b.numpy())).rad2deg()
    torch.testing.assert_close(lesson.principal_angles(a, b), expected)


@pytest.mark.parametrize("size", [3, 5])
def test_the_median_filter_is_scipy_s(lesson: SimpleNamespace, size: int) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    x = torch.rand(3, 1, 9, 8, generator=torch.Generator().manual_seed(0))
    expected = ndimage.median_filter(x.numpy(), size=(1, 1, size, size), mode="mirror")
    assert torch.equal(lesson.median_filter(x, size), torch.from_numpy(expected))


def test_the_linear_map_is_the_least_squares_fit(lesson: SimpleNamespace) -> None:
    generator = torch.Generator().manual_seed(0)
    noisy = torch.rand(2000, 1, 28, 28, generator=generator)
    clean = 0.25 + 0.5 * noisy.roll(1, 3)  # linear, so it can be found: each pixel from its neighbour
    found = lesson.linear_map(clean, noisy)(noisy[:50])
    assert (found - clean[:50]).square().mean() < 1e-4


@pytest.mark.parametrize(("k", "stride", "padding"), [(3, 1, 1), (4, 2, 1), (3, 2, 0), (1, 3, 2)])
def test_a_convolution_by_its_definition_is_the_library_s(
    lesson: SimpleNamespace, k: int, stride: int, padding: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = (3, 9, 8), (4, 3, k, k), (4,)
    x, weight, bias = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    expected = F.conv2d(x, weight, bias, stride, padding)
    torch.testing.assert_close(lesson.convolve(x, weight, bias, stride, padding), expected)


def test_a_kernel_of_four_sees_every_inner_pixel_twice(lesson: SimpleNamespace) -> None:
    assert lesson.times_seen(14, 4, 2, 1) == [1, *[2] * 12, 1]
    assert lesson.times_seen(14, 3, 2, 1) == [1, 2] * 6 + [1, 1]


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.rand(2, 3, 28, 28), "3 channels"),
        (torch.rand(2, 28, 28), "unsqueeze"),
        (255 * torch.ones(2, 1, 28, 28), "divide them by 255"),
        (-torch.ones(2, 1, 28, 28), r"outside \[0, 1\]"),
        (torch.full((2, 1, 28, 28), torch.nan), "NaN"),
        (torch.rand(0, 1, 28, 28), "empty"),
    ],
)
def test_the_autoencoder_refuses_what_it_was_not_built_for(lesson: SimpleNamespace, images: Tensor, words: str) -> None:
    model = lesson.ConvolutionalAutoencoder(latent_size=2, channels=2, hidden=4)
    with pytest.raises(ValueError, match=words):
        model(images)


@pytest.mark.parametrize("latent_size", [0, -1])
def test_a_bottleneck_holds_at_least_one_number(lesson: SimpleNamespace, latent_size: int) -> None:
    with pytest.raises(ValueError, match=f"latent_size = {latent_size}"):
        lesson.ConvolutionalAutoencoder(latent_size, channels=2, hidden=4)


def test_reconstructions_have_the_images_shape_and_range(lesson: SimpleNamespace) -> None:
    x_hat = lesson.ConvolutionalAutoencoder(latent_size=1, channels=2, hidden=4)(torch.rand(3, 1, 28, 28))
    assert x_hat.shape == (3, 1, 28, 28)
    assert x_hat.min() >= 0 and x_hat.max() <= 1


# -- the exercises -------------------------------------------------------------------------------------------------


def test_the_reference_of_pca_is_scikit_learn_s() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    generator = torch.Generator().manual_seed(0)
    spread = 0.7 ** torch.arange(9, dtype=torch.float64)
    train, x = (torch.randn(n, 9, generator=generator, dtype=torch.float64) * spread + 2 for n in (60, 7))
    fitted = decomposition.PCA(4).fit(train.numpy())
    expected = torch.from_numpy(fitted.inverse_transform(fitted.transform(x.numpy())))
    torch.testing.assert_close(definition("pca_reconstruct").reference(train, x, 4), expected)


def test_the_reference_of_entropy_is_scipy_s() -> None:
    stats = pytest.importorskip("scipy.stats")
    symbols = torch.randn(400, 5, generator=torch.Generator().manual_seed(0)).mul(3).round().long()
    expected = sum(stats.entropy(list(Counter(column.tolist()).values()), base=2) for column in symbols.T)
    assert definition("entropy_bits").reference(symbols).item() == pytest.approx(expected)


def test_no_spoilt_image_is_refused_by_chance() -> None:
    for seed in range(100, 140):
        outcome = check("corrupt", definition("corrupt").reference, seed)
        assert outcome.status == "right", (seed, outcome.message)


def pca_by_svd(train: Tensor, x: Tensor, k: int) -> Tensor:
    mean = train.mean(dim=0, keepdim=True)
    v = torch.linalg.svd(train - mean)[2][:k]
    return torch.einsum("nd,kd,ke->ne", x - mean, v, v) + mean


def pca_by_covariance(train: Tensor, x: Tensor, k: int) -> Tensor:
    mean, d = train.mean(0), train.shape[1]
    v = torch.linalg.eigh(torch.cov(train.T))[1][:, d - k :]
    return (x - mean) @ (v @ v.T) + mean


def spoilt_in_place(x: Tensor, noise_std: float, missing: float, generator: torch.Generator) -> Tensor:
    x = x.clone()
    x += noise_std * torch.randn(x.shape, generator=generator, dtype=x.dtype)
    x = x.clip(0, 1)
    x[torch.rand(x.shape, generator=generator) < missing] = 0
    return x


def spoilt_by_bernoulli(x: Tensor, noise_std: float, missing: float, generator: torch.Generator) -> Tensor:
    lost = torch.bernoulli(torch.full_like(x, missing), generator=generator).bool()
    noisy = x + torch.empty_like(x).normal_(0, 1, generator=generator) * noise_std
    return torch.where(lost, torch.zeros_like(x), noisy.clamp(0, 1))


def loss_by_mse(reconstruction: Tensor, clean: Tensor, noisy: Tensor) -> Tensor:
    return F.mse_loss(reconstruction, clean, reduction="sum") / noisy.shape[0]


def score_by_einsum(x: Tensor, reconstruction: Tensor) -> Tensor:
    gap = (x - reconstruction).reshape(len(x), -1)
    return torch.einsum("nd,nd->n", gap, gap)


def entropy_by_tables(symbols: Tensor) -> Tensor:
    bits = torch.zeros((), dtype=torch.float64)
    for column in symbols.unbind(1):
        p = torch.bincount(column - column.min()).to(torch.float64) / len(column)
        bits -= torch.special.xlogy(p, p).sum() / torch.log(torch.tensor(2.0, dtype=torch.float64))
    return bits


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("pca_reconstruct", pca_by_svd),
        ("pca_reconstruct", pca_by_covariance),
        ("corrupt", spoilt_in_place),
        ("corrupt", spoilt_by_bernoulli),
        ("denoising_loss", loss_by_mse),
        ("anomaly_score", score_by_einsum),
        ("entropy_bits", entropy_by_tables),
    ],
)
def test_another_way_to_write_it_is_right_too(name: str, answer: Callable, seed: int) -> None:
    outcome = check(name, answer, seed)
    assert outcome.status == "right", outcome.message


def laplace_noise(x: Tensor, noise_std: float, missing: float, generator: torch.Generator) -> Tensor:
    chance = torch.rand(x.shape, generator=generator) - 0.5
    noise = -(0.5**0.5) * chance.sign() * (1 - 2 * chance.abs()).clamp(min=1e-9).log()
    return (x + noise_std * noise).clamp(0, 1) * (torch.rand(x.shape, generator=generator) >= missing).to(x)


def whole_rows_lost(x: Tensor, noise_std: float, missing: float, generator: torch.Generator) -> Tensor:
    noisy = (x + noise_std * torch.randn(x.shape, generator=generator)).clamp(0, 1)
    return (noisy * (torch.rand(x[..., :1].shape, generator=generator) >= missing)).to(x)


def dropped(x: Tensor, noise_std: float, missing: float, generator: torch.Generator) -> Tensor:
    return F.dropout((x + noise_std * torch.randn_like(x)).clamp(0, 1), missing) * (1 - missing)


def clamped_to_plus_minus_one(x: Tensor, noise_std: float, missing: float, generator: torch.Generator) -> Tensor:
    noisy = (x + noise_std * torch.randn(x.shape, generator=generator)).clamp(-1, 1)
    return (noisy * (torch.rand(x.shape, generator=generator) >= missing)).to(x)


def pca_of_white_data(train: Tensor, x: Tensor, k: int) -> Tensor:
    mean = train.mean(0)
    variance, v = torch.linalg.eigh(torch.cov(train.T))
    v = v[:, len(v) - k :] / variance[len(v) - k :].sqrt()
    return (x - mean) @ v @ v.T + mean


def entropy_of_neighbours(symbols: Tensor) -> Tensor:
    return definition("entropy_bits").reference(symbols.diff(dim=0))


@pytest.mark.parametrize(
    ("name", "answer", "status", "words"),
    [
        ("corrupt", laplace_noise, "wrong", "Gaussian"),
        ("corrupt", whole_rows_lost, "wrong", "one by one"),
        ("corrupt", dropped, "diagnosed", "global generator"),
        ("corrupt", clamped_to_plus_minus_one, "diagnosed", "cut off at 0"),
        ("pca_reconstruct", pca_of_white_data, "wrong", "differs"),
        ("entropy_bits", entropy_of_neighbours, "wrong", "differs"),
    ],
)
def test_a_wrong_way_is_told(name: str, answer: Callable, status: str, words: str) -> None:
    outcome = check(name, answer, seed=0)
    assert outcome.status == status, outcome.message
    assert words in outcome.message
