"""Detour 07b: its best discriminator is the best, its policies are probabilities, and each loss reaches one player."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.exercises import check
from course_utils.notebooks import lesson_code

CALM = torch.full((8,), 0.1)
ANIMAL = CALM.index_fill(0, torch.tensor(3), 0.9)
RATES = {"questions": 5e-2, "replies": 2e-2}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def lesson() -> SimpleNamespace:
    names = "situations usual_light best_accuracy recent log_prob ask Players visit play"
    return lesson_code.load("07b", *names.split(), MOMENTS=12, PATIENCE=3, CALM=CALM, ANIMAL=ANIMAL, RATES=RATES)


@pytest.mark.parametrize("seed", range(5))
def test_the_best_accuracy_is_what_adding_up_all_replies_says(lesson: SimpleNamespace, seed: int) -> None:
    lights = (torch.rand(12, generator=seeded(seed)) < 0.75).float()
    replies = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 12)
    places = lesson.situations(lights)
    p, q = (torch.where(replies > 0, law[places], 1 - law[places]).prod(1) for law in (ANIMAL, CALM))
    added_up = 0.5 + 0.25 * (p - q).abs().sum()
    assert lesson.best_accuracy(lights).item() == pytest.approx(added_up.item(), abs=1e-5)


def test_the_exception_needs_as_many_lit_moments_as_said(lesson: SimpleNamespace) -> None:
    lights = torch.tensor([1.0, 1, 1, 0, 1, 1, 1, 1, 1, 0, 1, 0])
    assert (lesson.situations(lights) == 3).nonzero().flatten().tolist() == [3, 9]
    assert (lesson.situations(lights, 5) == 5).nonzero().flatten().tolist() == [9]


def test_in_its_usual_light_the_animal_is_an_imitator(lesson: SimpleNamespace) -> None:
    lights = lesson.usual_light((500, 12), seeded())
    assert lesson.best_accuracy(lights).eq(0.5).all()
    assert 0.2 < lights.mean() < 0.5


def test_a_policy_gives_all_lights_together_probability_one(lesson: SimpleNamespace) -> None:
    lights = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 12).unsqueeze(0)
    policy = torch.randn(1, 8, generator=seeded())
    total = lesson.log_prob(policy, lesson.recent(lights), lights).exp().sum()
    assert total.item() == pytest.approx(1.0, abs=1e-4)


def test_lights_are_drawn_as_often_as_the_policy_says(lesson: SimpleNamespace) -> None:
    policy = torch.randn(2, 8, generator=seeded())
    lights = lesson.ask(policy, 20_000, seeded(1))
    for one, drawn in zip(policy, lights, strict=True):
        past = lesson.recent(drawn)
        for triple in range(8):
            assert drawn[past == triple].mean().item() == pytest.approx(one[triple].sigmoid().item(), abs=0.03)


def test_games_side_by_side_do_not_disturb_one_another(lesson: SimpleNamespace) -> None:
    players = lesson.Players(3)
    lights = torch.rand(3, 5, 12).round()
    players(lights, 1 - lights)[1].sum().backward()
    touched = [players.first.grad[i].abs().sum().item() > 0 for i in range(3)]
    assert touched == [False, True, False]


def test_animal_and_imitator_reply_by_their_own_tables(lesson: SimpleNamespace) -> None:
    players = lesson.Players(1)
    lights = torch.tensor([1.0, 1, 1, 0] * 3).expand(1, 4000, 12)
    is_animal = (torch.arange(4000) % 2 == 0).expand(1, 4000)
    replies = lesson.visit(players, lights, is_animal, seeded())
    assert replies[0, ::2, 3].mean().item() == pytest.approx(0.9, abs=0.03)
    assert replies[0, 1::2, 3].mean().item() == pytest.approx(0.1, abs=0.03)


def test_only_who_asks_and_gets_the_own_reward_tells_animal_from_imitator(lesson: SimpleNamespace) -> None:
    runs = {way: lesson.play(way, 300, False, games=3) for way in ("watches", "learns", "shuffled")}
    right = {way: accuracies[-50:].mean(0) for way, (_, accuracies, _) in runs.items()}
    assert (right["watches"] - 0.5).abs().max() < 0.03
    assert right["learns"].min() > 0.8
    assert right["shuffled"].max() < 0.75
    for _, _, chances in runs.values():
        assert torch.allclose(chances, CALM.expand_as(chances), atol=1e-6)  # this imitator does not learn
    assert torch.equal(runs["watches"][0].questions, torch.zeros(3, 8))


def test_an_imitator_learns_the_exception_only_where_it_is_asked_for(lesson: SimpleNamespace) -> None:
    chances = {way: lesson.play(way, 400, True, games=3)[2][-1, :, 3] for way in ("watches", "learns")}
    assert chances["watches"].sub(0.1).abs().max() < 1e-6
    assert chances["learns"].min() > 0.5


# -- the exercise --------------------------------------------------------------------------------------------------


def by_no_grad(log_probs: Tensor, rewards: Tensor, baseline: Tensor) -> Tensor:
    with torch.no_grad():
        advantage = rewards - baseline
    return (advantage * -log_probs).sum() / log_probs.numel()


def by_two_products(log_probs: Tensor, rewards: Tensor, baseline: Tensor) -> Tensor:
    return (log_probs * baseline.detach()).mean() - (log_probs * rewards.detach()).mean()


def standardised(log_probs: Tensor, better: Tensor) -> Tensor:
    return -torch.mean(log_probs * (better / (better.std() + 1e-8)).detach())


@pytest.mark.parametrize("answer", [by_no_grad, by_two_products])
def test_other_right_ways_are_accepted(answer: Callable) -> None:
    for seed in range(3):
        assert check("reinforce_loss", answer, seed).status == "right"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (lambda log_probs, rewards, baseline: F.mse_loss(log_probs, rewards), None),
        (lambda log_probs, rewards, baseline: standardised(log_probs, rewards - baseline), "divided_by_the_spread"),
        (lambda log_probs, rewards, _: standardised(log_probs, rewards - rewards.mean()), "rewards_standardised"),
        (lambda p, r, baseline: -(p * r.detach()).mean() - baseline.mean().detach(), "baseline_outside"),
        (lambda log_probs, rewards, baseline: -(log_probs * (rewards - baseline)).mean(), "rewards_learn"),
        (lambda log_probs, rewards, baseline: (log_probs * (rewards - baseline).detach()).mean(), "sign_turned"),
        (lambda log_probs, rewards, baseline: -(log_probs * (rewards - baseline).detach()).sum(), "summed_draws"),
    ],
)
@pytest.mark.filterwarnings("ignore:std")  # torch's, of a single draw
def test_wrong_ways_are_refused_and_the_usual_ones_named(answer: Callable, mistake: str | None) -> None:
    for seed in range(3):
        outcome = check("reinforce_loss", answer, seed)
        assert outcome.status not in ("right", "nearly right")
        assert outcome.mistake == mistake
