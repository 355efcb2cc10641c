"""Lesson 11: pictures as texts and back, the price that the GPT asks, its measures against the course's, and what counts as decided."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from course_utils import evaluate, family_diagrams, runtime
from course_utils.exercises.catalogue import definition
from course_utils.notebooks import find, ipynb, lesson_code

WANTED = "as_text as_picture gpt_nll in_parts shuffled tossed moments distance distances blocks decided cost Family"
PLACES = torch.tensor([8, 4, 2, 1]).view(1, 4, 1, 1)


@pytest.fixture(scope="module")
def lesson() -> SimpleNamespace:
    session = runtime.Session("smoke", torch.device("cpu"), 0, "fp32", torch.Generator().manual_seed(0))
    return lesson_code.load("11", *WANTED.split(), session=session, device=session.device, BEGIN=16, PLACES=PLACES)


@pytest.fixture
def digits() -> Tensor:
    return torch.randint(0, 2, (5, 1, 28, 28), generator=torch.Generator().manual_seed(0)).float()


# -- pictures as texts ---------------------------------------------------------------------------------------------


def test_a_picture_comes_back_from_its_text(lesson: SimpleNamespace, digits: Tensor) -> None:
    text = lesson.as_text(digits)
    assert text.shape == (5, 197) and text.dtype == torch.int64
    assert (text[:, 0] == 16).all() and int(text[:, 1:].max()) <= 15 and int(text.min()) >= 0
    assert torch.equal(lesson.as_picture(text), digits)


def test_patches_are_read_row_by_row_and_numbered_by_their_pixels(lesson: SimpleNamespace) -> None:
    picture = torch.zeros(1, 1, 28, 28)
    picture[0, 0, 2, 5] = 1  # second row of patches, third patch, upper right
    picture[0, 0, 3, 4] = 1  # … lower left
    text = lesson.as_text(picture)[0]
    assert text.nonzero().flatten().tolist() == [0, 1 + 14 + 2]
    assert text[1 + 14 + 2] == 4 + 2


class Table(nn.Module):
    """Logits (N, T, 17) that depend on the token before alone."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = torch.randn(17, 17, generator=torch.Generator().manual_seed(1))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.logits[tokens]


def test_the_price_of_a_picture_is_the_sum_over_its_patches(lesson: SimpleNamespace, digits: Tensor) -> None:
    model, text = Table(), lesson.as_text(digits)
    chances = torch.log_softmax(model.logits, 1)
    expected = -torch.stack(
        [chances[before, after].sum() for before, after in zip(text[:, :-1], text[:, 1:], strict=True)]
    )
    torch.testing.assert_close(lesson.gpt_nll(model, digits), expected, rtol=1e-5, atol=1e-3)


def test_a_model_that_knows_nothing_pays_four_pixels_and_a_little_for_the_sign(
    lesson: SimpleNamespace, digits: Tensor
) -> None:
    model = Table()
    model.logits = torch.zeros(17, 17)
    torch.testing.assert_close(lesson.gpt_nll(model, digits), torch.full((5,), 196 * math.log(17)))


# -- measures ------------------------------------------------------------------------------------------------------


def test_the_distance_is_the_courses(lesson: SimpleNamespace) -> None:
    generator = torch.Generator().manual_seed(2)
    a, b = torch.randn(200, 6, generator=generator), 1.5 * torch.randn(90, 6, generator=generator)
    lesson.distance.__globals__["frechet_distance"] = definition("frechet_distance").reference
    assert lesson.distance(a, lesson.moments(b)) == pytest.approx(evaluate.frechet_distance(a, b), rel=1e-6)


def test_sets_are_full_ones_of_neighbours_and_their_distances_sorted(lesson: SimpleNamespace) -> None:
    lesson.distance.__globals__["frechet_distance"] = definition("frechet_distance").reference
    features = torch.randn(25, 3, generator=torch.Generator().manual_seed(3))
    features[10:20] += 5  # the second set lies far away, and the last five are no full set
    found = lesson.distances(features, lesson.moments(features[:10]), 10)
    assert len(found) == 2
    assert found[0] == pytest.approx(0, abs=1e-6) and found[1] > 25


def test_shuffled_digits_keep_their_labels(lesson: SimpleNamespace) -> None:
    part = SimpleNamespace(images=torch.arange(50.0).view(50, 1, 1).expand(50, 2, 2), labels=torch.arange(50))
    pictures, labels = lesson.shuffled(part)
    assert pictures.shape == (50, 1, 2, 2) and torch.equal(pictures[:, 0, 0, 0].long(), labels)
    assert not torch.equal(labels, part.labels) and torch.equal(labels.sort().values, part.labels)
    assert torch.equal(lesson.shuffled(part)[1], labels)


def test_blocks_are_means_of_sixteen_pixels(lesson: SimpleNamespace, digits: Tensor) -> None:
    found = lesson.blocks(digits)
    assert found.shape == (5, 49)
    torch.testing.assert_close(found[2, 8], digits[2, 0, 4:8, 4:8].mean())


def test_a_pair_is_decided_where_no_seed_contradicts(lesson: SimpleNamespace) -> None:
    found = {"a": [1.0, 2.0], "b": [1.5, 3.0], "c": [4.0, 5.0]}
    assert lesson.decided(found) == {("a", "c"), ("b", "c")}


def test_a_toss_is_repeatable_and_keeps_black_and_white(lesson: SimpleNamespace, digits: Tensor) -> None:
    assert torch.equal(lesson.tossed(digits, 3), digits)
    grey = torch.full((2, 1, 28, 28), 0.3)
    assert torch.equal(lesson.tossed(grey, 3), lesson.tossed(grey, 3))
    assert 0.25 < lesson.tossed(grey, 3).mean() < 0.35


def test_a_mixture_with_snow_pays_less_than_log_2_more(digits: Tensor) -> None:
    """The half-hearted model of section 6, by its formula."""
    price, snow = torch.tensor([60.0, 100.0, 540.0]), torch.full((3,), 784 * math.log(2))
    mixed = math.log(2) - torch.logaddexp(-price, -snow)
    assert (mixed <= price + math.log(2) + 1e-4).all() and (mixed >= torch.minimum(price, snow) - 1e-4).all()


def test_all_families_of_the_picture_are_in_the_notebook() -> None:
    (path,) = (found.path for found in find.lessons(find.find_root()) if found.number == "11")
    code = "\n".join(cell.source for cell in ipynb.code_cells(ipynb.read(path)))
    assert all(f'"{name}": Family(' in code for name in family_diagrams.FAMILIES)
