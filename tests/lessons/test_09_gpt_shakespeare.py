"""Lesson 09: its cache, its test for leaks, and its exercises in other right ways and with the usual slips."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from course_utils.exercises import check
from course_utils.notebooks import lesson_code


@pytest.fixture
def lesson() -> SimpleNamespace:
    names = (
        "Attention",
        "Block",
        "GPT",
        "Cache",
        "draw",
        "generate",
        "generate_cached",
        "attention_maps",
        "sees_the_future",
    )
    session = SimpleNamespace(device=torch.device("cpu"))
    return lesson_code.load("09", *names, "leaky_attention", "Ablated", session=session, size=11)


@pytest.fixture(params=[False, True], ids=["learned", "rotary"])
def model(lesson: SimpleNamespace, request: pytest.FixtureRequest) -> Any:
    """A GPT whose blocks add something: all weights are drawn anew."""
    torch.manual_seed(0)
    model = lesson.GPT(11, width=12, n_layers=2, n_heads=3, context=16, rotary=request.param).double().eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return model


def test_with_the_cache_the_same_text_is_written_until_the_window_is_full(lesson: SimpleNamespace, model: Any) -> None:
    start = torch.tensor([[1, 2, 3], [4, 5, 6]])
    for how in ({"temperature": 0}, {"temperature": 0.8}):
        texts = [
            way(model, start, 13, torch.Generator().manual_seed(0), **how)
            for way in (lesson.generate, lesson.generate_cached)
        ]
        assert texts[0].shape == (2, 16) and torch.equal(*texts)


def test_a_full_window_goes_on_from_its_latter_half(lesson: SimpleNamespace, model: Any) -> None:
    start = torch.tensor([[1, 2, 3]])
    text = lesson.generate_cached(model, start, 14, temperature=0)
    assert text[0, -1] == model(text[:, 8:16])[0, -1].argmax()
    assert lesson.generate_cached(model, start, 60, temperature=0).shape == (1, 63)
    assert lesson.generate_cached(model, text.repeat(1, 3), 2, temperature=0).shape == (1, 53)


def test_logits_read_in_pieces_are_those_of_one_pass(lesson: SimpleNamespace, model: Any) -> None:
    tokens = torch.arange(14).view(1, 14) % 11
    caches = [lesson.Cache() for _ in model.blocks]
    pieces = torch.cat([model(piece, caches) for piece in tokens.split(5, dim=1)], dim=1)
    torch.testing.assert_close(pieces, model(tokens), atol=1e-12, rtol=0)


def test_the_test_for_leaks_tells_a_leaky_model_from_an_honest_one(lesson: SimpleNamespace, model: Any) -> None:
    assert not lesson.sees_the_future(model)
    for block in model.blocks:
        block.attn.attend = lesson.leaky_attention
    assert lesson.sees_the_future(model)


def test_attention_maps_are_the_weights_of_each_head(lesson: SimpleNamespace, model: Any) -> None:
    tokens = torch.arange(14).view(2, 7) % 11
    maps = lesson.attention_maps(model.float(), tokens)
    assert maps.shape == (2, 2, 3, 7, 7)
    assert torch.allclose(maps.sum(-1), torch.ones(2, 2, 3, 7)) and maps.triu(1).abs().max() == 0


def test_with_rotary_positions_the_same_character_is_read_alike_at_every_place(lesson: SimpleNamespace) -> None:
    torch.manual_seed(0)
    for rotary in (False, True):
        net = lesson.GPT(11, width=12, n_layers=2, n_heads=3, context=16, rotary=rotary).double()
        for weight in net.parameters():
            torch.nn.init.normal_(weight, std=0.5)
        logits = net(torch.full((1, 9), 4))
        assert torch.allclose(logits, logits[:, :1].expand_as(logits)) == rotary


@pytest.mark.parametrize("rotary", [False, True])
def test_an_ablated_net_with_all_parts_is_the_gpt(lesson: SimpleNamespace, rotary: bool) -> None:
    torch.manual_seed(0)
    whole = lesson.Ablated(residual=True, positions=True, n_heads=4, norm=True, mlp=True, rotary=rotary)
    plain = lesson.GPT(11, 64, 1, 4, context=64, rotary=rotary)
    plain.load_state_dict(whole.state_dict())
    tokens = torch.arange(20).view(2, 10) % 11
    torch.testing.assert_close(whole(tokens), plain(tokens))


def test_without_a_part_its_weights_do_not_matter(lesson: SimpleNamespace) -> None:
    tokens = torch.arange(20).view(2, 10) % 11
    for part, weight in (("positions", "wpe.weight"), ("mlp", "blocks.0.mlp.c_fc.weight")):
        parts = {"residual": True, "positions": True, "n_heads": 4, "norm": True, "mlp": True} | {part: False}
        net = lesson.Ablated(**parts)
        before = net(tokens)
        torch.nn.init.normal_(net.get_parameter(weight))
        assert torch.equal(before, net(tokens))


def loss_in_two_loops(logits, tokens):
    log_p, (batch, time) = torch.log_softmax(logits, -1), tokens.shape
    total = sum(log_p[b, t, tokens[b, t + 1]] for b in range(batch) for t in range(time - 1))
    return -total / (batch * (time - 1))


def the_library_s_attention(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def masked_with_a_large_number(q, k, v):
    time = q.size(-2)
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
    return torch.softmax(scores.masked_fill(torch.tril(torch.ones(time, time)) == 0, -1e9), -1) @ v


def infinities_added(q, k, v):
    time = q.size(-2)
    future = torch.full((time, time), -math.inf, dtype=q.dtype).triu(1)
    return torch.softmax(q @ k.mT * q.shape[-1] ** -0.5 + future, -1) @ v


def largest_score_subtracted(q, k, v):
    future = torch.ones(q.size(-2), q.size(-2)).triu(1).bool()
    scores = torch.where(future, -math.inf, torch.einsum("bhtd,bhsd->bhts", q, k) / math.sqrt(q.size(-1)))
    powers = (scores - scores.amax(-1, keepdim=True)).exp()
    return powers / powers.sum(-1, keepdim=True) @ v


def one_position_after_the_other(q, k, v):
    asked = [q[:, :, [t]] @ k[:, :, : t + 1].mT / q.size(-1) ** 0.5 for t in range(q.size(2))]
    return torch.cat([scores.softmax(-1) @ v[:, :, : scores.size(-1)] for scores in asked], 2)


def text_by_text(logits, tokens):
    return torch.stack([F.cross_entropy(z[:-1], ids[1:]) for z, ids in zip(logits, tokens, strict=True)]).mean()


def last_answer_ignored(logits, tokens):
    answers = tokens.roll(-1, 1)
    answers[:, -1] = -100  # cross_entropy passes over this index
    return F.cross_entropy(logits.mT, answers)


def heads_by_chunks(x, n_heads):
    return torch.stack(x.chunk(n_heads, -1), 1)


def heads_by_concatenation(y):
    return torch.cat(y.unbind(1), -1)


def top_k_on_a_copy(logits, k):
    filtered = logits.clone()
    filtered[filtered < torch.topk(logits, min(k, logits.size(-1))).values[..., [-1]]] = -math.inf
    return filtered


def top_p_by_shifting_the_mask(logits, p):
    ordered, order = logits.sort(descending=True)
    outside = ordered.softmax(-1).cumsum(-1) > p
    outside[..., 1:] = outside[..., :-1].clone()
    outside[..., 0] = False
    return logits.masked_fill(outside.scatter(-1, order, outside) & (p < 1), -math.inf)


def top_p_by_counting(logits, p):
    ordered, order = logits.sort(descending=True)
    n = (ordered.softmax(-1).cumsum(-1) < p).sum(-1, keepdim=True) + 1
    return logits if p == 1 else logits.masked_fill(order.argsort(-1) >= n, -math.inf)


def top_p_sorted_upwards(logits, p):
    ordered, order = logits.sort()
    outside = ordered.softmax(-1).cumsum(-1) <= 1 - p
    outside[..., -1] = False
    return logits.masked_fill(outside.scatter(-1, order, outside), -math.inf)


def remembered_by_the_whole(q, k, v, past_k, past_v):
    keys, values = torch.cat([past_k, k], -2), torch.cat([past_v, v], -2)
    old, new = past_k.size(2), q.size(2)
    allowed = torch.arange(old + new) <= old + torch.arange(new).unsqueeze(1)
    scores = torch.einsum("bhtd,bhsd->bhts", q, keys) / math.sqrt(q.size(-1))
    return scores.masked_fill(~allowed, -1e9).softmax(-1) @ values, keys, values


def remembered_row_by_row(q, k, v, past_k, past_v):
    keys, values = torch.cat((past_k, k), 2), torch.cat((past_v, v), 2)
    rows = []
    for i in range(q.size(2)):
        seen = past_k.size(2) + i + 1
        scores = q[:, :, [i]] @ keys[:, :, :seen].transpose(-1, -2) / q.size(-1) ** 0.5
        rows.append(scores.softmax(-1) @ values[:, :, :seen])
    return torch.cat(rows, 2), keys, values


def remembered_with_empty_queries(q, k, v, past_k, past_v):
    keys, values = torch.cat([past_k, k], 2), torch.cat([past_v, v], 2)
    scores = torch.cat([torch.zeros_like(past_k), q], 2) @ keys.mT / q.shape[-1] ** 0.5
    weights = scores.masked_fill(torch.ones_like(scores).tril() == 0, -math.inf).softmax(-1)
    return (weights @ values)[:, :, past_k.shape[2] :], keys, values


def only_new_scores_masked(q, k, v, past_k, past_v):
    keys, values = torch.cat([past_k, k], -2), torch.cat([past_v, v], -2)
    old, new = (q @ keys.transpose(-2, -1) / q.shape[-1] ** 0.5).split([past_k.shape[2], k.shape[2]], -1)
    new = new.masked_fill(torch.ones(k.shape[2], k.shape[2]).triu(1).bool(), -math.inf)
    return torch.cat([old, new], -1).softmax(-1) @ values, keys, values


def logarithm_of_the_mask_added(q, k, v):
    mask = torch.ones(q.size(2), q.size(2)).tril().log().to(q)
    return (torch.einsum("bhid,bhjd->bhij", q, k) * q.shape[-1] ** -0.5 + mask).softmax(-1) @ v


def top_p_one_by_one(logits, p):
    kept = torch.full_like(logits, -math.inf)
    for row, into in zip(logits.reshape(-1, logits.shape[-1]), kept.view(-1, logits.shape[-1]), strict=True):
        total, probabilities = 0.0, row.softmax(-1)
        for token in row.argsort(descending=True):
            into[token], total = row[token], total + probabilities[token]
            if p <= total and p < 1:
                break
    return kept


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("cached_attention", remembered_with_empty_queries),
        ("cached_attention", only_new_scores_masked),
        ("causal_attention", logarithm_of_the_mask_added),
        ("top_p_filter", top_p_one_by_one),
        (
            "next_token_loss",
            lambda z, ids: -torch.distributions.Categorical(logits=z[:, :-1]).log_prob(ids[:, 1:]).mean(),
        ),
        ("cached_attention", remembered_by_the_whole),
        ("cached_attention", remembered_row_by_row),
        ("next_token_loss", loss_in_two_loops),
        ("causal_attention", the_library_s_attention),
        ("causal_attention", masked_with_a_large_number),
        ("next_token_loss", text_by_text),
        ("next_token_loss", last_answer_ignored),
        ("causal_attention", infinities_added),
        ("causal_attention", largest_score_subtracted),
        ("causal_attention", one_position_after_the_other),
        ("split_heads", heads_by_chunks),
        ("merge_heads", heads_by_concatenation),
        ("top_k_filter", top_k_on_a_copy),
        ("top_p_filter", top_p_by_shifting_the_mask),
        ("top_p_filter", top_p_by_counting),
        ("top_p_filter", top_p_sorted_upwards),
    ],
)
def test_right_answers_in_other_words_are_right(name, answer) -> None:
    for seed in range(5):
        outcome = check(name, answer, seed)
        assert outcome.status == "right", outcome.message


def all_texts_in_one_line(logits, tokens):
    return F.cross_entropy(logits.reshape(-1, logits.size(-1))[:-1], tokens.reshape(-1)[1:])


def same_place_without_the_last(logits, tokens):
    return F.cross_entropy(logits[:, :-1].mT, tokens[:, :-1])


def log_of_p_plus_a_constant(logits, tokens):
    p = torch.softmax(logits, -1)[:, :-1]
    return -torch.log(p + 1e-8).gather(-1, tokens[:, 1:].unsqueeze(-1)).mean()


def scores_multiplied_and_zeros_forbidden(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(k.size(-1)) * torch.tril(torch.ones(q.size(-2), q.size(-2)))
    scores[scores == 0] = -math.inf
    return torch.softmax(scores, -1) @ v


def softmax_then_mask_then_renormalise(q, k, v):
    weights = torch.softmax(q @ k.mT / k.size(-1) ** 0.5, -1) * torch.ones(q.size(-2), q.size(-2)).tril()
    return weights / weights.sum(-1, keepdim=True) @ v


def divided_after_the_softmax(q, k, v):
    future = torch.ones(q.size(-2), q.size(-2)).triu(1).bool()
    return (q @ k.mT).masked_fill(future, -math.inf).softmax(-1) / math.sqrt(q.size(-1)) @ v


def minus_infinity_after_the_softmax(q, k, v):
    future = torch.ones(q.size(-2), q.size(-2)).triu(1).bool()
    return (q @ k.mT / math.sqrt(q.size(-1))).softmax(-1).masked_fill(future, -math.inf) @ v


def one_billionth_for_minus_a_billion(q, k, v):
    future = torch.ones(q.size(-2), q.size(-2)).triu(1).bool()
    return (q @ k.mT / math.sqrt(q.size(-1))).masked_fill(future, 1e-9).softmax(-1) @ v


def neither_scaled_nor_masked(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, scale=1.0)


def turned_with_capital_t(q, k, v):
    future = torch.ones(q.size(-2), q.size(-2)).triu(1).bool()
    scores = q @ k.permute(*range(k.ndim)[::-1]) / q.size(-1) ** 0.5
    return scores.masked_fill(future, -math.inf).softmax(-1) @ v


def time_and_channels_exchanged(x, n_heads):
    batch, time, _ = x.shape
    return x.mT.reshape(batch, n_heads, time, -1)


def last_two_exchanged(y):
    batch, _, time, _ = y.shape
    return y.mT.reshape(batch, time, -1)


def logits_times_the_mask(logits, k):
    return logits * (logits >= logits.topk(min(k, logits.shape[-1])).values[..., -1:])


def a_billion_below(logits, p):
    ordered, order = logits.sort(descending=True)
    probabilities = ordered.softmax(-1)
    outside = (probabilities.cumsum(-1) - probabilities >= p) & (p < 1)
    return logits.masked_fill(torch.zeros_like(outside).scatter(-1, order, outside), -1e9)


def summed_without_sorting(logits, p):
    probabilities = logits.softmax(-1)
    return torch.where((probabilities.cumsum(-1) - probabilities < p) | (p >= 1), logits, -math.inf)


def scores_times_the_mask(q, k, v):
    time = q.size(-2)
    return torch.softmax(q @ k.mT / q.size(-1) ** 0.5 * torch.ones(time, time).tril(), -1) @ v


def softmax_over_dimension_2(q, k, v):
    future = torch.ones(q.shape[2], q.shape[2]).triu(1).bool()
    return (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(future, -math.inf).softmax(2) @ v


def transposed_too_far(y):
    batch, heads, time, d = y.shape
    return y.permute(0, 2, 3, 1).reshape(batch, time, heads * d)


def sorted_upwards_from_the_wrong_end(logits, k):
    return logits.masked_fill(logits < logits.sort(descending=True).values[..., k : k + 1], -math.inf)


def running_sum_above_p_dropped(logits, p):
    ordered, order = logits.sort(descending=True)
    outside = ordered.softmax(-1).cumsum(-1) > p
    return logits.masked_fill(outside.scatter(-1, order, outside), -math.inf)


def mask_in_sorted_order(logits, p):
    probabilities = logits.sort(descending=True).values.softmax(-1)
    return logits.masked_fill(probabilities.cumsum(-1) - probabilities >= p, -math.inf)


def sorted_upwards_and_cut_at_p(logits, p):
    ordered, order = logits.sort()
    outside = ordered.softmax(-1).cumsum(-1) <= p
    outside[..., -1] = False
    return logits.masked_fill(outside.scatter(-1, order, outside), -math.inf)


def mass_before_against_one_minus_p(logits, p):
    ordered, order = logits.sort(descending=True)
    probabilities = ordered.softmax(-1)
    outside = probabilities.cumsum(-1) - probabilities >= 1 - p
    return logits.masked_fill(outside.scatter(-1, order, outside), -math.inf)


def running_sum_below_p_kept(logits, p):
    ordered, order = logits.sort(descending=True)
    inside = ordered.softmax(-1).cumsum(-1) < p
    return torch.where(inside.scatter(-1, order, inside), logits, -math.inf)


def mask_as_ever(q, k, v, past_k, past_v):
    keys, values = torch.cat([past_k, k], 2), torch.cat([past_v, v], 2)
    future = torch.ones(q.size(2), keys.size(2)).triu(1).bool()
    return (q @ keys.mT / q.size(-1) ** 0.5).masked_fill(future, -math.inf).softmax(-1) @ values, keys, values


def nothing_masked(q, k, v, past_k, past_v):
    keys, values = torch.cat([past_k, k], 2), torch.cat([past_v, v], 2)
    return (q @ keys.mT / q.size(-1) ** 0.5).softmax(-1) @ values, keys, values


def joined_the_other_way_round(q, k, v, past_k, past_v):
    keys, values = torch.cat([k, past_k], 2), torch.cat([v, past_v], 2)
    future = torch.ones(q.size(2), keys.size(2)).triu(past_k.size(2) + 1).bool()
    return (q @ keys.mT / q.size(-1) ** 0.5).masked_fill(future, -math.inf).softmax(-1) @ values, keys, values


def p_kept_above_a_constant(logits, tokens):
    p = torch.softmax(logits, -1)[:, :-1].clamp(min=1e-8)
    return -torch.log(p).gather(-1, tokens[:, 1:].unsqueeze(-1)).mean()


def minus_a_thousand(q, k, v):
    future = torch.ones(q.size(-2), q.size(-2)).triu(1).bool()
    return (q @ k.mT / math.sqrt(q.size(-1))).masked_fill(future, -1000.0).softmax(-1) @ v


def remembered_and_masked_too_late(q, k, v, past_k, past_v):
    keys, values = torch.cat([past_k, k], 2), torch.cat([past_v, v], 2)
    allowed = torch.ones(q.size(2), keys.size(2)).tril(past_k.size(2))
    return (q @ keys.mT / q.size(-1) ** 0.5).softmax(-1) * allowed @ values, keys, values


def remembered_and_divided_too_late(q, k, v, past_k, past_v):
    keys, values = torch.cat([past_k, k], 2), torch.cat([past_v, v], 2)
    future = torch.ones(q.size(2), keys.size(2)).triu(past_k.size(2) + 1).bool()
    return (q @ keys.mT).masked_fill(future, -math.inf).softmax(-1) / q.size(-1) ** 0.5 @ values, keys, values


def remembered_zeros(q, k, v, past_k, past_v):
    keys, values = torch.cat([past_k, k], 2), torch.cat([past_v, v], 2)
    future = torch.ones(q.size(2), keys.size(2)).triu(past_k.size(2) + 1).bool()
    return (q @ keys.mT / q.size(-1) ** 0.5).masked_fill(future, 0.0).softmax(-1) @ values, keys, values


@pytest.mark.parametrize(
    ("name", "answer", "mistake"),
    [
        ("next_token_loss", p_kept_above_a_constant, "p_kept_above_1e-08"),
        ("causal_attention", minus_a_thousand, "generic:edge:each score is larger by 800 than the one before"),
        ("cached_attention", remembered_and_masked_too_late, "cached_masked_after_softmax"),
        ("cached_attention", remembered_and_divided_too_late, "cached_scaled_after_softmax"),
        ("cached_attention", remembered_zeros, "cached_filled_with_zero"),
        (
            "top_k_filter",
            lambda z, k: z.where(z >= z.topk(min(k, z.shape[-1])).values[..., -1:], -math.inf).log_softmax(-1),
            "normalised_anew",
        ),
        ("cached_attention", mask_as_ever, "counted_from_zero"),
        ("cached_attention", nothing_masked, "new_ones_unmasked"),
        ("cached_attention", joined_the_other_way_round, "new_before_old"),
        ("next_token_loss", lambda logits, tokens: F.cross_entropy(logits.mT, tokens), "the_token_just_read"),
        ("next_token_loss", all_texts_in_one_line, "across_texts"),
        ("next_token_loss", same_place_without_the_last, "both_cut_alike"),
        ("next_token_loss", log_of_p_plus_a_constant, "logarithm_of_p_plus_1e-08"),
        ("causal_attention", scores_times_the_mask, "filled_with_zero"),
        ("causal_attention", scores_multiplied_and_zeros_forbidden, "zeros_taken_for_forbidden"),
        ("causal_attention", softmax_then_mask_then_renormalise, "cut_out_and_renormalised"),
        ("causal_attention", divided_after_the_softmax, "scaled_after_softmax"),
        ("causal_attention", minus_infinity_after_the_softmax, "infinities_after_softmax"),
        ("causal_attention", one_billionth_for_minus_a_billion, "filled_with_zero"),
        ("causal_attention", softmax_over_dimension_2, "softmax_over_queries"),
        ("causal_attention", neither_scaled_nor_masked, "unscaled_and_unmasked"),
        ("causal_attention", turned_with_capital_t, "all_dimensions_turned"),
        ("split_heads", time_and_channels_exchanged, "transposed_before_cutting"),
        ("split_heads", lambda x, n_heads: torch.stack(x.split(n_heads, -1), 1), "number_for_size"),
        ("merge_heads", transposed_too_far, "shuffled_like_cards"),
        ("merge_heads", last_two_exchanged, "wrong_pair_transposed"),
        ("top_k_filter", logits_times_the_mask, "zeroed"),
        ("top_k_filter", sorted_upwards_from_the_wrong_end, "one_too_many"),
        ("top_p_filter", running_sum_above_p_dropped, "stops_short"),
        ("top_p_filter", running_sum_below_p_kept, "sums_below_p"),
        ("top_p_filter", sorted_upwards_and_cut_at_p, "the_rest_kept_and_the_first"),
        ("top_p_filter", mass_before_against_one_minus_p, "the_rest_kept"),
        ("top_p_filter", mask_in_sorted_order, "mask_left_sorted"),
        ("top_p_filter", a_billion_below, "very_small_outside"),
        ("top_p_filter", summed_without_sorting, "summed_unsorted"),
    ],
)
def test_the_usual_slips_are_told_by_name(name, answer, mistake) -> None:
    for seed in range(5):
        outcome = check(name, answer, seed)
        assert outcome.mistake == mistake, outcome.message
