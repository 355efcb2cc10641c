"""Detour 07a: its questions, translators and critics do what the text says of them."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils import data, runtime, training
from course_utils.exercises import check
from course_utils.exercises.catalogue import definition
from course_utils.notebooks import lesson_code

AROUND = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def lesson() -> SimpleNamespace:
    """The definitions of the detour, in single precision."""
    torch.manual_seed(0)
    session = runtime.Session("smoke", torch.device("cpu"), 0, "fp32", seeded())
    names = "thin dots Translator PatchCritic hinge_losses see adam translate both_ways sharpness Enlarger"
    return lesson_code.load("07a", *names.split(), session=session, critic_width=2, CLOCKWISE=AROUND)


@pytest.fixture
def glyphs() -> Tensor:
    return data.glyphs(64).images.unsqueeze(1)


def test_thinning_keeps_the_pieces_and_leaves_nothing_to_peel(lesson: SimpleNamespace, glyphs: Tensor) -> None:
    strokes = lesson.thin(glyphs)
    assert torch.equal(lesson.thin(strokes), strokes)
    assert ((strokes > 0) <= (glyphs > 0.5)).all()
    assert strokes.sum() < 0.5 * (glyphs > 0.5).sum()
    label: Any = scipy.ndimage.label
    every_direction = torch.ones(3, 3).numpy()
    for stroke, image in zip(strokes[:, 0], glyphs[:, 0], strict=True):
        pieces = [label(x.numpy(), every_direction)[1] for x in (stroke > 0, image > 0.5)]
        assert pieces[0] == pieces[1]


def test_dots_are_a_drawn_share_of_the_strokes(lesson: SimpleNamespace) -> None:
    strokes = lesson.thin(data.glyphs(400).images.unsqueeze(1))
    kept = lesson.dots(strokes, 0.25, seeded(1))
    assert (kept <= strokes).all()
    assert (kept.sum() / strokes.sum()).item() == pytest.approx(0.25, abs=0.03)
    assert torch.equal(kept, lesson.dots(strokes, 0.25, seeded(1)))


def test_a_translator_begins_near_its_question(lesson: SimpleNamespace) -> None:
    question = (torch.rand(3, 1, 28, 28) > 0.8).float()
    answer = lesson.Translator(3)(question)
    assert answer.shape == question.shape
    assert ((answer > 0.5) == (question > 0.5)).all()


def test_an_enlarger_begins_near_interpolation(lesson: SimpleNamespace) -> None:
    small = torch.rand(3, 1, 7, 7)
    answer = lesson.Enlarger(3)(small)
    smooth = F.interpolate(small, scale_factor=4, mode="bilinear")
    assert answer.shape == smooth.shape
    assert torch.corrcoef(torch.stack([answer.flatten(), smooth.flatten()]))[0, 1] > 0.9


@pytest.mark.parametrize(("whole", "pixels"), [(False, 18), (True, 28)])
def test_a_score_depends_on_its_patch_alone(lesson: SimpleNamespace, whole: bool, pixels: int) -> None:
    images = torch.zeros(1, 2, 28, 28, requires_grad=True)
    scores = lesson.PatchCritic(4, whole=whole)(images)
    assert scores.shape == ((1, 1) if whole else (1, 1, 7, 7))
    score = scores[0, 0] if whole else scores[0, 0, 3, 3]
    seen = torch.autograd.grad(score, images)[0].abs().sum((0, 1)) > 0
    assert (int(seen.any(0).sum()), int(seen.any(1).sum())) == (pixels, pixels)


def test_the_hinge_is_that_of_lesson_07(lesson: SimpleNamespace) -> None:
    real, fake = torch.randn(2, 9, generator=seeded())
    torch.testing.assert_close(lesson.hinge_losses(real, fake), definition("hinge_losses").reference(real, fake))


def test_a_critic_of_pairs_sees_a_small_question_enlarged(lesson: SimpleNamespace) -> None:
    small, image = torch.rand(3, 1, 7, 7), torch.rand(3, 1, 28, 28)
    seen = lesson.see(small, image)
    assert torch.equal(seen[:, 1:], image)
    torch.testing.assert_close(F.avg_pool2d(seen[:, :1], 4), small)


@pytest.mark.parametrize("judged", [False, True])
def test_translation_learns_with_and_without_a_critic(lesson: SimpleNamespace, glyphs: Tensor, judged: bool) -> None:
    question = lesson.dots(lesson.thin(glyphs), 0.5, seeded())
    network, critic = lesson.Translator(4), lesson.PatchCritic(2) if judged else None
    before = F.l1_loss(network(question), glyphs)
    stream = training.batches(question, glyphs, size=16)
    lesson.translate(network, stream, 40, "translation", F.l1_loss, 3e-3, critic, 0.01)
    assert F.l1_loss(network(question), glyphs) < 0.9 * before
    if critic:
        assert all(weight.requires_grad for weight in critic.parameters())


def test_the_cycle_is_closed_only_where_it_counts(lesson: SimpleNamespace, glyphs: Tensor) -> None:
    """Two translators that begin by turning everything dark learn to come back only if the cycle counts."""
    x, y = lesson.thin(glyphs[:32]), glyphs[32:]
    errors = {}
    for weight in (0.0, 10.0):
        torch.manual_seed(0)
        there, back = lesson.Translator(4), lesson.Translator(4)
        lesson.both_ways(there, back, training.batches(x, y, size=16), 40, "unpaired", weight, 3e-3)
        with torch.no_grad():
            errors[weight] = F.l1_loss(back(there(x)), x) + F.l1_loss(there(back(y)), y)
    assert errors[10.0] < errors[0.0]


def test_blur_costs_sharpness(lesson: SimpleNamespace, glyphs: Tensor) -> None:
    assert lesson.sharpness(torch.full((2, 1, 5, 5), 0.3)) == pytest.approx(0.0, abs=1e-12)
    blurred = F.avg_pool2d(glyphs, 3, stride=1, padding=1)
    assert lesson.sharpness(blurred) < 0.5 * lesson.sharpness(glyphs)


# -- the exercise --------------------------------------------------------------------------------------------------


def by_the_library(x: Tensor, x_back: Tensor, y: Tensor, y_back: Tensor) -> Tensor:
    return F.l1_loss(x_back, x) + F.l1_loss(y, y_back)


def by_one_norms(x: Tensor, x_back: Tensor, y: Tensor, y_back: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x - x_back, 1) / x.numel() + torch.linalg.vector_norm(y - y_back, 1) / y.numel()


def joined(images: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([some.flatten() for some in images])


@pytest.mark.parametrize("answer", [by_the_library, by_one_norms])
def test_other_right_ways_are_accepted(answer: Callable) -> None:
    for seed in range(3):
        assert check("cycle_loss", answer, seed).status == "right"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (lambda x, x_back, y, y_back: (x_back - x).abs().amax() + (y_back - y).abs().amax(), None),
        (lambda x, x_back, y, y_back: F.huber_loss(x_back, x) + F.huber_loss(y_back, y), "smooth_errors"),
        (lambda x, x_back, y, y_back: torch.dist(x_back, x) + torch.dist(y_back, y), "lengths"),
        (lambda x, x_back, y, y_back: F.mse_loss(x_back, x) ** 0.5 + F.mse_loss(y_back, y) ** 0.5, "roots_of_squares"),
        (
            lambda x, *rest: sum(
                (a - b).abs().flatten(1).sum(1).mean() for a, b in zip((x, rest[1]), rest[::2], strict=True)
            ),
            "summed_over_an_image",
        ),
        (lambda x, x_back, y, y_back: F.l1_loss(*map(joined, ((x_back, y_back), (x, y)))), "one_heap"),
        (lambda x, x_back, y, y_back: F.mse_loss(x_back, x) + F.mse_loss(y_back, y), "squared_errors"),
        (lambda x, x_back, y, y_back: F.l1_loss(x_back, y) + F.l1_loss(y_back, x), "crossed"),
        (lambda x, x_back, y, y_back: (F.l1_loss(x_back, x) + F.l1_loss(y_back, y)) / 2, "ways_averaged"),
    ],
)
def test_wrong_ways_are_refused_and_the_usual_ones_named(answer: Callable, mistake: str | None) -> None:
    for seed in range(3):
        outcome = check("cycle_loss", answer, seed)
        assert outcome.status not in ("right", "nearly right")
        assert outcome.mistake == mistake
