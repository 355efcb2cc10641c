"""Detour 05a: what its tables count, its conditional model, and its exercises in other right ways."""

import math
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from course_utils.exercises import check
from course_utils.exercises.catalogue import definition
from course_utils.notebooks import lesson_code


@pytest.fixture
def lesson() -> SimpleNamespace:
    names = "VAE", "binned", "tell", "kl_per_latent", "measure", "Quantised", "neighbours", "tables"
    return lesson_code.load("05a", *names)


def test_a_latent_tells_all_about_itself_and_nothing_about_another(lesson: SimpleNamespace) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(8000, 2, generator=generator)
    digit = torch.randint(10, (8000, 1), generator=generator).float()
    factors = torch.cat([values[:, :1], digit], 1)
    codes = torch.cat([-3 * values[:, :1] ** 3, values[:, 1:], digit + 0.01 * values[:, 1:]], 1)
    table, entropies = lesson.tell(codes, factors)
    assert torch.allclose(entropies, torch.tensor([math.log(20), math.log(10)], dtype=torch.float64), atol=2e-3)
    assert table[0, 0] == pytest.approx(math.log(20), abs=1e-3)  # any monotone function of it will do
    assert table[1].max() < 0.05
    assert table[2, 1] == pytest.approx(math.log(10), abs=0.2)  # its bins do not end where the digits do
    assert table[2, 0] < 0.05


def test_levels_stay_levels_and_values_are_cut_into_equal_shares(lesson: SimpleNamespace) -> None:
    values = torch.stack([torch.arange(100).float() ** 2, (torch.arange(100) % 7).float()], 1)
    cut = lesson.binned(values)
    assert torch.equal(torch.bincount(cut[:, 0]), torch.full((20,), 5))
    assert torch.equal(cut[:, 1], torch.arange(100) % 7)


def test_a_label_reaches_both_halves(lesson: SimpleNamespace) -> None:
    model, x = lesson.VAE(3, 8, labels=10), torch.rand(2, 1, 28, 28)
    one, two = torch.tensor([1, 1]), torch.tensor([2, 2])
    assert not torch.equal(model.encode(x, one)[0], model.encode(x, two)[0])
    assert not torch.equal(model.decode(torch.zeros(2, 3), one), model.decode(torch.zeros(2, 3), two))
    plain = lesson.VAE(3, 8)
    assert torch.equal(plain.encode(x, one)[0], plain.encode(x, two)[0])


def test_a_rotation_changes_no_line_s_share_and_a_latent_of_its_own_has_a_gap(lesson: SimpleNamespace) -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(4000, 4, generator=generator)
    factors = codes[:, :2] + 0.1 * torch.randn(4000, 2, generator=generator)
    gaps, fits = lesson.measure(codes, factors)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=generator))[0]
    turned_gaps, turned_fits = lesson.measure(codes @ turn, factors)
    assert (gaps > 0.5).all() and (turned_gaps < gaps).all()
    torch.testing.assert_close(turned_fits, fits, rtol=1e-3, atol=1e-3)
    assert (fits > 0.98).all()


def test_an_answer_becomes_the_nearest_vector_of_the_codebook(lesson: SimpleNamespace) -> None:
    model = lesson.Quantised(size=6, depth=3, channels=2)
    numbers = torch.randint(6, (4, 7, 7), generator=torch.Generator().manual_seed(0))
    near = model.vectors(numbers) + 1e-3 * torch.randn(4, 3, 7, 7)
    assert torch.equal(model.nearest(near), numbers)
    z = model.encoder(torch.rand(4, 1, 28, 28))
    distances = (z.unsqueeze(1) - model.book.view(1, 6, 3, 1, 1)).square().sum(2)  # (4, 6, 7, 7)
    assert torch.equal(model.nearest(z), distances.argmin(1))
    assert model.decoder(model.vectors(numbers)).shape == (4, 1, 28, 28)


def test_neighbours_stand_to_the_left_and_above(lesson: SimpleNamespace) -> None:
    numbers = torch.randint(32, (2, 7, 7), generator=torch.Generator().manual_seed(0))
    context = lesson.neighbours(numbers)
    assert context[0, 0, 0] == 33 * 32 + 32  # nothing there
    assert context[1, 3, 4] == 33 * numbers[1, 3, 3] + numbers[1, 2, 4]
    assert context[0, 0, 5] == 33 * numbers[0, 0, 4] + 32 and context[0, 6, 0] == 33 * 32 + numbers[0, 5, 0]


def test_tables_are_shares_and_a_better_informed_one_costs_less(lesson: SimpleNamespace) -> None:
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randint(4, (600, 1, 7), generator=generator).expand(-1, 7, -1).contiguous()  # a row says all
    by_place, by_neighbours = lesson.tables(numbers)
    for table in (by_place, by_neighbours):
        torch.testing.assert_close(table.exp().sum(1), torch.ones(len(table)))
    placed = -by_place[torch.arange(49).view(7, 7), numbers].sum((1, 2)).mean().item()
    given = -by_neighbours[lesson.neighbours(numbers), numbers].sum((1, 2)).mean().item()
    assert placed == pytest.approx(49 * math.log(4), rel=0.01)
    assert given == pytest.approx(7 * math.log(4), rel=0.15)


def test_the_reference_of_mutual_information_is_scikit_learn_s() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    a, b = torch.randint(5, (2, 300), generator=torch.Generator().manual_seed(0))
    expected = metrics.mutual_info_score(a.numpy(), b.numpy())
    assert definition("mutual_information").reference(a, b).item() == pytest.approx(expected)


def by_the_table(a: Tensor, b: Tensor) -> Tensor:
    counts = torch.bincount(a * (b.max() + 1) + b, minlength=int((a.max() + 1) * (b.max() + 1)))
    joint = counts.double().view(int(a.max()) + 1, -1) / len(a)
    apart = joint.sum(1, keepdim=True) @ joint.sum(0, keepdim=True)
    return torch.where(joint > 0, joint * torch.log(joint / apart), 0.0).nan_to_num().sum()


def by_distributions(mean: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    return -torch.distributions.Normal(mean, sigma).log_prob(x).flatten(1).sum(1)


@pytest.mark.parametrize(("name", "answer"), [("mutual_information", by_the_table), ("gaussian_nll", by_distributions)])
def test_another_right_way_is_right(name: str, answer: Callable) -> None:
    for seed in range(3):
        outcome = check(name, answer, seed)
        assert outcome.status == "right", outcome.message
