"""The small classifier of pictures learns what can be learned, wherever it stands, and repeats itself."""

import torch
from torch import Tensor

from course_utils import classify, runtime


def coloured(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Squares on white at any place, red, green or blue."""
    generator = torch.Generator().manual_seed(seed)
    pictures, labels = torch.ones(n, 3, 16, 16), torch.arange(n) % 3
    for picture, label in zip(pictures, labels, strict=True):
        top, left = torch.randint(10, (2,), generator=generator).tolist()
        picture[:, top : top + 6, left : left + 6] = 0.0
        picture[label, top : top + 6, left : left + 6] = 1.0
    return pictures, labels


def test_the_classifier_tells_colours_apart_and_is_the_same_again() -> None:
    session = runtime.Session("smoke", torch.device("cpu"), 0, "fp32", torch.Generator().manual_seed(0))
    before = torch.random.get_rng_state()
    models = [classify.train_classifier(session, *coloured(90, 0), total=30) for _ in range(2)]
    assert torch.equal(torch.random.get_rng_state(), before)
    fresh, labels = coloured(60, 1)
    assert classify.share_right(models[0], fresh, labels) > 90
    assert classify.share_right(models[0], fresh, (labels + 1) % 3) < 10
    torch.testing.assert_close(models[0](fresh), models[1](fresh))
    assert classify.share_right(models[0], fresh * 3 - 1, labels) == classify.share_right(
        models[0], (fresh * 3 - 1).clamp(0, 1), labels
    )


def test_evenly_repeats_rows_of_rare_labels() -> None:
    labels = torch.tensor([1, 0, 1, 1, 2, 1, 1, 2])
    assert classify.evenly(labels).tolist() == [1] * 5 + [0, 2, 3, 5, 6] + [4, 7, 4, 7, 4]
