"""Lesson 03: more right answers, answers that are nearly right, and the common slips by their names."""

import math
from collections import Counter
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.exercises import check
from course_utils.exercises.catalogue import definition

pca = definition("pca_reconstruct").reference
denoising_loss = definition("denoising_loss").reference
entropy_bits = definition("entropy_bits").reference


def pca_along(train: Tensor, x: Tensor, components: Tensor) -> Tensor:
    """There and back along these directions (D, k), around the training mean."""
    mean = train.mean(0)
    return mean + (x - mean) @ components @ components.T


def pca_by_thin_svd(train: Tensor, x: Tensor, k: int) -> Tensor:
    return pca_along(train, x, torch.linalg.svd(train - train.mean(0), full_matrices=False).Vh[:k].mT)


def pca_by_unsorted_eigenvectors(train: Tensor, x: Tensor, k: int) -> Tensor:
    values, vectors = torch.linalg.eig(torch.cov(train.T))
    return pca_along(train, x, vectors.real[:, values.real.argsort(descending=True)[:k]])


def loss_image_by_image(reconstruction: Tensor, clean: Tensor, noisy: Tensor) -> Tensor:
    pairs = zip(reconstruction, clean, strict=True)
    return torch.stack([F.mse_loss(one, other, reduction="sum") for one, other in pairs]).mean()


def score_over_all_dimensions(x: Tensor, reconstruction: Tensor) -> Tensor:
    return ((x - reconstruction) ** 2).sum(dim=tuple(range(1, x.dim())))


def score_image_by_image(x: Tensor, reconstruction: Tensor) -> Tensor:
    return torch.stack([(one - other).square().sum() for one, other in zip(x, reconstruction, strict=True)])


def entropy_of_categories(symbols: Tensor) -> Tensor:
    counts = [column.unique(return_counts=True)[1].double() for column in symbols.unbind(1)]
    return torch.stack([torch.distributions.Categorical(probs=n).entropy() for n in counts]).sum() / math.log(2)


def entropy_by_a_counter(symbols: Tensor) -> Tensor:
    bits = 0.0
    for column in symbols.T.tolist():
        for count in Counter(column).values():
            bits -= count / len(column) * math.log2(count / len(column))
    return torch.tensor(bits, dtype=torch.float64)


def spoilt(change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Callable:
    """An answer to `corrupt` that changes the noise and the uniform numbers, like x, before it uses them."""

    def answer(x: Tensor, noise_std: float, missing: float, generator: torch.Generator) -> Tensor:
        noise, uniform = torch.randn(x.shape, generator=generator), torch.rand(x.shape, generator=generator)
        noise, uniform = change(noise.to(x), uniform.to(x))
        return (x + noise_std * noise).clamp(0, 1) * (uniform >= missing)

    return answer


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("pca_reconstruct", pca_by_thin_svd),
        ("pca_reconstruct", pca_by_unsorted_eigenvectors),
        ("corrupt", spoilt(lambda noise, uniform: (-noise, uniform))),
        ("denoising_loss", loss_image_by_image),
        ("anomaly_score", score_over_all_dimensions),
        ("anomaly_score", score_image_by_image),
        ("entropy_bits", entropy_of_categories),
        ("entropy_bits", entropy_by_a_counter),
    ],
)
def test_another_way_to_write_it_is_right_too(name: str, answer: Callable) -> None:
    for seed in range(3):
        outcome = check(name, answer, seed)
        assert outcome.status == "right", outcome.message


def twice(x: Tensor) -> Tensor:
    """The first half of the images, and once more the first half."""
    return torch.cat([x[: (len(x) + 1) // 2], x[: len(x) // 2]])


def in_pairs(x: Tensor) -> Tensor:
    return x[..., ::2].repeat_interleave(2, -1)[..., : x.shape[-1]]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("corrupt", spoilt(lambda noise, uniform: (noise.clamp(-2, 2), uniform))),
        ("corrupt", spoilt(lambda noise, uniform: (12**0.5 * (torch.special.ndtr(noise) - 0.5), uniform))),
        ("corrupt", spoilt(lambda noise, uniform: (1.1 * noise, uniform))),
        ("corrupt", spoilt(lambda noise, uniform: (0.9 * noise, uniform))),
        ("corrupt", spoilt(lambda noise, uniform: (twice(noise), uniform))),
        ("corrupt", spoilt(lambda noise, uniform: (noise, twice(uniform)))),
        ("corrupt", spoilt(lambda noise, uniform: (noise, in_pairs(uniform)))),
        ("corrupt", spoilt(lambda noise, uniform: (noise, torch.special.ndtr(noise)))),
        ("pca_reconstruct", lambda train, x, k: pca(train, x, max(k, 1))),
        ("pca_reconstruct", lambda train, x, k: pca(train, x, min(k, 4))),
        ("denoising_loss", lambda reconstruction, clean, noisy: denoising_loss(reconstruction.detach(), clean, noisy)),
        (
            "denoising_loss",
            lambda reconstruction, clean, noisy: (reconstruction - clean).square().sum((1, 2, 3)).mean(),
        ),
        ("anomaly_score", lambda x, reconstruction: (x - reconstruction).square().sum((2, 3)).squeeze()),
        ("entropy_bits", lambda symbols: entropy_bits(symbols.abs())),
        ("entropy_bits", lambda symbols: entropy_bits(symbols[:, :5])),
    ],
)
def test_nearly_right_is_not_right(name: str, answer: Callable) -> None:
    for seed in range(3):
        assert check(name, answer, seed).status in ("nearly right", "wrong", "diagnosed", "error")


def eigenvectors(rows: Tensor) -> Tensor:
    """In columns, the least important first."""
    return torch.linalg.eigh(rows.T @ rows).eigenvectors


def centred(rows: Tensor) -> Tensor:
    return rows - rows.mean(0)


def uncentred_directions(train: Tensor, x: Tensor, k: int) -> Tensor:
    return pca_along(train, x, eigenvectors(train).flip(1)[:, :k])


def flipped_along_rows(train: Tensor, x: Tensor, k: int) -> Tensor:
    return pca_along(train, x, eigenvectors(centred(train)).flip(0)[:, :k])


def first_rows(train: Tensor, x: Tensor, k: int) -> Tensor:
    return pca_along(train, x, eigenvectors(centred(train)).flip(1)[:k].T)


def distance_to_the_input(reconstruction: Tensor, clean: Tensor, noisy: Tensor) -> Tensor:
    return F.mse_loss(reconstruction, noisy)


def bernoulli_loss(reconstruction: Tensor, clean: Tensor, noisy: Tensor) -> Tensor:
    return F.binary_cross_entropy(reconstruction, clean, reduction="none").flatten(1).sum(1).mean()


@pytest.mark.parametrize(
    ("name", "answer", "mistake"),
    [
        ("pca_reconstruct", uncentred_directions, "directions_of_uncentred_rows"),
        ("pca_reconstruct", flipped_along_rows, "entries_reversed"),
        ("pca_reconstruct", first_rows, "rows_of_the_eigenvectors"),
        ("denoising_loss", distance_to_the_input, "noisy_and_averaged"),
        ("denoising_loss", bernoulli_loss, "cross_entropy"),
    ],
)
def test_a_common_slip_has_a_name(name: str, answer: Callable, mistake: str) -> None:
    outcome = check(name, answer, seed=1)
    assert outcome.mistake == mistake, outcome.message
