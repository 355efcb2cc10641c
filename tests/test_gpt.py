"""The GPT is causal, its cache changes nothing, its positions are relative, and its optimisers learn."""

import dataclasses
import math
import subprocess
import sys
from collections import Counter

import pytest
import torch
import torch.nn.functional as F

from course_utils import gpt

SMALL = gpt.Recipe(vocabulary_size=11, context=24, n_layers=3, n_heads=2, width=16, batch_size=8, steps=20, warm_up=4)


def model(dtype: torch.dtype = torch.float64, recipe: gpt.Recipe = SMALL) -> gpt.GPT:
    """A model whose every parameter is away from its start, so that no branch is silent."""
    made = gpt.GPT(recipe, torch.Generator().manual_seed(0)).to(dtype).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=dtype))
    return made


def tokens(*shape: int, seed: int = 2) -> torch.Tensor:
    return torch.randint(SMALL.vocabulary_size, shape, generator=torch.Generator().manual_seed(seed))


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_an_untrained_model_gives_every_token_the_same_probability() -> None:
    logits = gpt.GPT(SMALL, generator())(tokens(4, 24))
    assert logits.shape == (4, 24, 11) and logits.dtype == torch.float32
    assert F.cross_entropy(logits.flatten(0, 1), tokens(96)).item() == pytest.approx(math.log(11))


def test_the_generator_decides_the_weights_and_the_global_one_is_left_alone() -> None:
    state = torch.get_rng_state()
    first, same, other = (gpt.GPT(SMALL, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters(), strict=True))
    assert not torch.equal(first.embedding.weight, other.embedding.weight)


@pytest.mark.parametrize("changed", [0, 7, 23])
def test_no_logit_depends_on_a_later_token(changed: int) -> None:
    net, text = model(), tokens(1, 24)
    other = text.clone()
    other[0, changed] = (other[0, changed] + 1) % 11
    differs = (net(text) != net(other)).any(dim=-1)[0]
    assert not differs[:changed].any() and differs[changed:].all()


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("chunks", [[1] * 24, [1, 4, 1, 1, 10, 7], [24], [23, 1]], ids=str)
@torch.no_grad()
def test_with_a_cache_the_logits_are_those_of_the_whole_text(
    dtype: torch.dtype, tolerance: float, chunks: list[int]
) -> None:
    net, text, cache = model(dtype), tokens(3, 24), gpt.Cache()
    pieces = torch.cat([net(part, cache) for part in text.split(chunks, dim=1)], dim=1)
    torch.testing.assert_close(pieces, net(text), rtol=0, atol=tolerance)


@torch.no_grad()
def test_the_cache_also_serves_in_bf16() -> None:
    net, text, cache = model(torch.float32), tokens(2, 24), gpt.Cache()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pieces = torch.cat([net(part, cache) for part in text.split([5, 1, 18], dim=1)], dim=1)
        whole = net(text)
    assert pieces.dtype == whole.dtype == torch.float32
    torch.testing.assert_close(pieces, whole, rtol=0, atol=0.3)
    torch.testing.assert_close(whole, net(text), rtol=0, atol=1.0)


@torch.no_grad()
@pytest.mark.parametrize("context", [24, 7, 2, 1])
def test_a_text_longer_than_the_context_is_the_same_with_and_without_the_cache(context: int) -> None:
    recipe, asked = dataclasses.replace(SMALL, context=context), []

    def remember(logits: torch.Tensor) -> torch.Tensor:
        asked.append(logits)
        return logits

    net = model(recipe=recipe)
    texts = [gpt.generate(net, tokens(2, 5), 70, generator(), filter=remember, cached=c) for c in (True, False)]
    assert texts[0].shape == (2, 75) and torch.equal(*texts)
    torch.testing.assert_close(torch.stack(asked[:70]), torch.stack(asked[70:]), rtol=0, atol=1e-10)


def test_scores_depend_on_the_distance_of_two_positions_alone() -> None:
    angles = gpt.rotary_angles(100, 8).double()
    q, k = torch.randn(2, 1, 1, 1, 8, generator=generator(), dtype=torch.float64).expand(2, 1, 1, 100, 8)
    scores = (gpt.rotate(q, angles.cos(), angles.sin()) @ gpt.rotate(k, angles.cos(), angles.sin()).mT)[0, 0]
    for distance in (0, 1, 17):
        diagonal = scores.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-5)
    assert not torch.allclose(scores.diagonal(), scores.diagonal(-1)[:1].expand(100), atol=1e-2)


def test_both_forms_of_attention_agree() -> None:
    q, k, v = torch.randn(3, 2, 2, 9, 4, generator=generator(), dtype=torch.float64)
    score = (q[:, :, -3:] @ k.mT).masked_fill(~torch.ones(3, 9, dtype=torch.bool).tril(6), -torch.inf)
    expected = score.softmax(-1) @ v
    torch.testing.assert_close(gpt.attend(q[:, :, -3:], k, v), expected)
    halves = gpt.attend(q[:, :, -3:].bfloat16(), k.bfloat16(), v.bfloat16())
    torch.testing.assert_close(halves.double(), expected, rtol=0, atol=0.05)


def test_greedy_text_needs_no_luck_and_seeded_text_repeats() -> None:
    net, state = model(), torch.get_rng_state()
    greedy = [gpt.generate(net, tokens(1, 3), 30, generator(seed), temperature=0) for seed in (1, 2)]
    assert torch.equal(*greedy)
    drawn = [gpt.generate(net, tokens(1, 3), 30, generator(seed)) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert all(torch.equal(text[:, :3], tokens(1, 3)) for text in greedy + drawn)
    assert torch.equal(state, torch.get_rng_state())


def test_generate_leaves_the_mode_and_the_prompt_as_they_were() -> None:
    net, prompt = model().train(), tokens(1, 3)
    gpt.generate(net, prompt, 4, generator())
    assert net.training and torch.equal(prompt, tokens(1, 3))
    assert gpt.generate(net, prompt, 0).shape == (1, 3)


def test_of_a_long_prompt_the_last_context_tokens_count() -> None:
    net, long = model(), tokens(1, 60)
    whole = gpt.generate(net, long, 10, generator())
    assert torch.equal(whole[:, :60], long)
    assert torch.equal(whole[:, 60:], gpt.generate(net, long[:, -24:], 10, generator())[:, 24:])


def test_a_filter_decides_which_tokens_may_come() -> None:
    def only_four(logits: torch.Tensor) -> torch.Tensor:
        return torch.full_like(logits, -torch.inf).index_fill(1, torch.tensor([4]), 0.0)

    assert (gpt.generate(model(), tokens(2, 3), 8, generator(), filter=only_four)[:, 3:] == 4).all()


@pytest.mark.parametrize(
    "prompt, options, message",
    [
        (torch.zeros(1, 0, dtype=torch.int64), {}, r'give at least one character, for example "\\n"'),
        (torch.tensor([[3, 11]]), {}, "tokens lie between 0 and 10; the prompt's run from 3 to 11"),
        (torch.tensor([[-1]]), {}, "run from -1 to -1"),
        (torch.tensor([3]), {}, r"must be tokens \(B, T\) int64, not \(1,\)"),
        (torch.tensor([[3.0]]), {}, "torch.float32"),
        (torch.tensor([[3]]), {"temperature": -1.0}, "must not be negative: got 5 and -1.0"),
        (torch.tensor([[3]]), {"temperature": math.nan}, "nan"),
        (torch.tensor([[3]]), {"length": -1}, "got -1 and 1.0"),
    ],
)
def test_generate_refuses_what_makes_no_sense(prompt: torch.Tensor, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gpt.generate(model(), prompt, **{"length": 5, **options})


def test_more_tokens_than_the_context_holds_are_refused() -> None:
    net, cache = model(), gpt.Cache()
    with pytest.raises(ValueError, match=r"T from 1 to 24, not \(1, 25\)"):
        net(tokens(1, 25))
    net(tokens(1, 20), cache)
    with pytest.raises(ValueError, match=r"T from 1 to 4 after the 20 in the cache, not \(1, 5\)"):
        net(tokens(1, 5), cache)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"width": 18, "n_heads": 4}, "width 18 cannot be shared equally by n_heads = 4"),
        ({"width": 18, "n_heads": 2}, "18 / 2 = 9 must be even"),
        ({"context": 0}, "context must be at least 1, not 0"),
        ({"steps": -3}, "steps must be at least 1, not -3"),
        ({"dropout": 1.5}, "dropout must lie between 0 and 1, not 1.5"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **values)


def test_every_parameter_has_exactly_one_optimiser_and_matrices_have_muon() -> None:
    net = gpt.GPT(SMALL)
    muon, adam = gpt.optimisers(net, SMALL)
    held = [p for optimiser in (muon, adam) for group in optimiser.param_groups for p in group["params"]]
    assert Counter(map(id, held)) == Counter(map(id, net.parameters()))
    assert sum(p.numel() for p in muon.param_groups[0]["params"]) == 12 * SMALL.n_layers * SMALL.width**2


def test_a_step_of_muon_has_singular_values_near_one() -> None:
    recipe = dataclasses.replace(SMALL, matrix_rate=1.0, warm_up=0, warm_down=0.0)
    net = model(torch.float32, recipe)
    matrix = net.blocks.get_parameter("0.attention.c_proj.weight")
    before = matrix.detach().clone()
    matrix.grad = torch.randn(16, 16, generator=generator())
    gpt.update(gpt.optimisers(net, recipe), 0, recipe)
    stretch = torch.linalg.svdvals(before - matrix.detach())
    assert torch.linalg.svdvals(torch.randn(16, 16, generator=generator())).min() < 0.3
    assert stretch.min() > 0.5 and stretch.max() < 1.3


def test_the_learning_rate_goes_up_then_down_to_nothing() -> None:
    rates = [gpt.learning_rate(step, SMALL) for step in range(SMALL.steps + 1)]
    assert rates[0] == pytest.approx(1 / 5) and rates[SMALL.steps] == 0 and 0 < rates[-2] < 0.1
    assert max(rates) == 1 and rates.index(1) == SMALL.warm_up
    assert sorted(rates[: SMALL.warm_up]) == rates[: SMALL.warm_up]
    assert sorted(rates[SMALL.warm_up :], reverse=True) == rates[SMALL.warm_up :]


def test_twenty_steps_learn_a_batch_by_heart() -> None:
    net = gpt.GPT(SMALL, generator())
    optimisers, batch = gpt.optimisers(net, SMALL), tokens(8, 25)
    losses = []
    for step in range(SMALL.steps):
        loss = F.cross_entropy(net(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()
        gpt.update(optimisers, step, SMALL)
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("name", ["smoke", "cpu", "gpu"])
def test_every_recipe_runs(name: str) -> None:
    recipe = gpt.RECIPES[name]
    net = gpt.GPT(recipe, generator())
    text = torch.randint(recipe.vocabulary_size, (1, 9), generator=generator())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        F.cross_entropy(net(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten()).backward()
    gpt.update(gpt.optimisers(net, recipe), 0, recipe)


def test_importing_the_model_loads_neither_the_compiler_nor_matplotlib() -> None:
    code = "import sys, course_utils.gpt; sys.exit('torch._dynamo' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
