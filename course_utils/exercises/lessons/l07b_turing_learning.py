"""Exercise of detour 07b: learning from rewards that have no gradient."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from course_utils.exercises.define import Case, define, edge, randn

# -- 7b.1 ----------------------------------------------------------------------------------------------------------


@define(lesson="07b", points=2, outputs="loss", gradients=("log_probs", "rewards", "baseline"))
def reinforce_loss(log_probs, rewards, baseline):
    """The REINFORCE loss: its gradient makes likelier what was rewarded above the baseline.

    log_probs: the log-probability of each thing that was drawn, any shape. rewards: the same shape. baseline: a tensor that
    broadcasts against the rewards, a single number for instance.
    Returns a scalar: minus the mean of log_prob · (reward − baseline). Rewards and baseline count as given: no gradient
    reaches them.
    """
    return -(log_probs * (rewards - baseline).detach()).mean()


def _drawn(generator: torch.Generator, shape: tuple[int, ...], baseline: tuple[int, ...]) -> dict:
    log_probs = -randn(generator, *shape).abs() - 0.5
    return dict(log_probs=log_probs, rewards=randn(generator, *shape) + 2, baseline=randn(generator, *baseline) + 1)


@reinforce_loss.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape in ((7,), (5,), (9,)):
        yield _drawn(generator, shape, ())
    yield edge(
        "several games lie side by side, each with a baseline of its own",
        stated="a tensor that broadcasts against the rewards",
        **_drawn(generator, (3, 5), (3, 1)),
    )
    yield edge("one thing was drawn", stated="a single draw", **_drawn(generator, (1,), ()))


@reinforce_loss.typical
def _(generator: torch.Generator) -> dict:
    return _drawn(generator, (8, 128), (8, 1))


@reinforce_loss.mistake(
    "the sign is turned around, in front or inside the difference: minimising this makes likely what was *not* rewarded. A loss "
    "is minimised, a reward maximised: minus the mean of log_prob · (reward − baseline)."
)
def sign_turned(log_probs, rewards, baseline):
    return (log_probs * (rewards - baseline).detach()).mean()


@reinforce_loss.mistake(
    "the value is right, but a gradient reaches the rewards (and the baseline). They count as given: detach their difference. "
    "Else whoever makes the rewards learns to make them small or large instead of just."
)
def rewards_learn(log_probs, rewards, baseline):
    return -(log_probs * (rewards - baseline)).mean()


@reinforce_loss.mistake(
    "the value is right, but a gradient reaches the baseline. It counts as given, like the rewards: detach the difference."
)
def baseline_learns(log_probs, rewards, baseline):
    return -(log_probs * (rewards.detach() - baseline)).mean()


@reinforce_loss.mistake(
    "the value is right, but a gradient reaches the rewards. They count as given, like the baseline: detach the difference."
)
def only_rewards_learn(log_probs, rewards, baseline):
    return -(log_probs * (rewards - baseline.detach())).mean()


@reinforce_loss.mistake(
    "the baseline is missing. Without it the gradient has the same mean, but a much larger spread: subtract it from the reward."
)
def no_baseline(log_probs, rewards, baseline):
    return -(log_probs * rewards.detach()).mean()


@reinforce_loss.mistake(
    "the baseline is added to the reward. It is what is *usual*, and only what is better than usual should become likelier: "
    "subtract it."
)
def baseline_added(log_probs, rewards, baseline):
    return -(log_probs * (rewards + baseline).detach()).mean()


@reinforce_loss.mistake(
    "you multiply with the probability instead of its logarithm. The gradient of an expectation is that of the logarithm, "
    "weighted by what was drawn; drawing has already weighted it by the probability once."
)
def probability_itself(log_probs, rewards, baseline):
    return -(log_probs.exp() * (rewards - baseline).detach()).mean()


@reinforce_loss.mistake(
    "the log-probabilities are cut from the graph, so that nothing is learned at all. It is the rewards that count as given."
)
def log_probs_cut(log_probs, rewards, baseline):
    return -(log_probs.detach() * (rewards - baseline).detach()).mean()


@reinforce_loss.mistake(
    "you multiply two means. Then it no longer matters which draw earned which reward: multiply draw by draw, and average last."
)
def means_multiplied(log_probs, rewards, baseline):
    return -log_probs.mean() * (rewards - baseline).detach().mean()


@reinforce_loss.mistake("you sum over the draws. The mean is asked for: an estimate of an expectation.")
def summed_draws(log_probs, rewards, baseline):
    return -(log_probs * (rewards - baseline).detach()).sum()


@reinforce_loss.mistake(
    "you subtract the mean reward of the batch, not the baseline that you were given. The caller decides what is usual."
)
def own_baseline(log_probs, rewards, baseline):
    return -(log_probs * _centred(rewards).detach()).mean()


def _centred(rewards: Tensor) -> Tensor:
    return rewards - rewards.mean()


def _spread(rewards: Tensor) -> Tensor:
    """`std`, without torch's warning of a single one."""
    return (_centred(rewards).square().sum() / (rewards.numel() - 1)).sqrt()


@reinforce_loss.mistake(
    "you divide by the spread of what is left. That is a known remedy for rewards of changing size, but changes the gradient, "
    "and a single draw has no spread (0/0 is NaN). Here the reward minus the baseline counts as it is."
)
def divided_by_the_spread(log_probs, rewards, baseline):
    better = (rewards - baseline).detach()
    return -(log_probs * better / (_spread(better) + 1e-8)).mean()


@reinforce_loss.mistake(
    "you bring the rewards to mean 0 and spread 1, and never look at the baseline. The caller decides what is usual; and a single "
    "draw has no spread (0/0 is NaN)."
)
def rewards_standardised(log_probs, rewards, baseline):
    rewards = rewards.detach()
    return -(log_probs * _centred(rewards) / (_spread(rewards) + 1e-8)).mean()


@reinforce_loss.mistake(
    "the baseline stands outside of the product. There it only moves the value of the loss; it belongs beside the reward, where it "
    "decides what becomes likelier: log_prob · (reward − baseline)."
)
def baseline_outside(log_probs, rewards, baseline):
    return (-log_probs * rewards.detach()).mean() - baseline.detach().mean()


reinforce_loss.hints(
    "Each draw has a log-probability and a reward. By how much was its reward better than usual?",
    "`(rewards − baseline).detach()` counts as given. Multiply it with the log-probabilities, draw by draw.",
    "−(log_probs · (rewards − baseline).detach()).mean()",
)
