"""Detour 09a: its encoder for whole books, its blocks, and its exercises in other right ways and with the usual slips."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from course_utils import gpt
from course_utils.exercises import check
from course_utils.exercises.catalogue import definition
from course_utils.notebooks import lesson_code


@pytest.fixture
def lesson() -> SimpleNamespace:
    return lesson_code.load("09a", "Parts", "Attention", "MLP", "Block", "GPT", "encode", "encode_all", "newton_schulz")


def test_the_encoder_for_whole_books_merges_as_the_exercise_does(lesson: SimpleNamespace) -> None:
    generator = np.random.default_rng(0)
    rules = [((1, 1), 5), ((5, 5), 6), ((0, 1), 7), ((6, 2), 8)]
    for _ in range(20):
        ids = generator.integers(0, 3, size=200)
        ids[50:70] = 1  # a run
        assert lesson.encode_all(ids.copy(), rules).tolist() == lesson.encode(ids.tolist(), rules)


@pytest.mark.parametrize(
    "changes",
    [{}, {"rms": True}, {"rotary": True}, {"qk_norm": True}, {"mlp": "swiglu"}, {"mlp": "relu2"}, {"kv_heads": 1}],
)
def test_no_part_lets_the_future_leak(lesson: SimpleNamespace, changes: dict) -> None:
    torch.manual_seed(0)
    model = lesson.GPT(dataclasses.replace(lesson.Parts(size=11, width=16), **changes)).double()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    tokens = torch.arange(12).view(1, 12) % 11
    changed = tokens.clone()
    changed[:, 6:] = 3
    torch.testing.assert_close(model(tokens)[:, :6], model(changed)[:, :6], atol=1e-12, rtol=0)
    assert (model(tokens)[:, 6:] - model(changed)[:, 6:]).abs().max() > 1e-3


def test_a_gate_costs_no_weights_and_shared_keys_save_some(lesson: SimpleNamespace) -> None:
    def weights(**changes: object) -> int:
        return sum(p.numel() for p in lesson.GPT(lesson.Parts(**changes)).parameters())

    assert abs(weights(mlp="swiglu") / weights() - 1) < 0.01
    assert weights() - weights(kv_heads=1) == 2 * 64 * 2 * 3 * 16  # layers, width, keys and values, heads saved, d


def test_rotary_scores_know_only_distances(lesson: SimpleNamespace) -> None:
    torch.manual_seed(0)
    layer = lesson.Attention(lesson.Parts(width=16, rotary=True)).double()
    x = torch.randn(1, 1, 16, dtype=torch.float64).expand(1, 9, 16)  # the same character everywhere
    torch.testing.assert_close(layer(x), layer(x)[:, :1].expand(1, 9, 16))


def test_newton_schulz_makes_singular_values_alike_and_leaves_directions(lesson: SimpleNamespace) -> None:
    matrix = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    u, values, vh = torch.linalg.svd(matrix, full_matrices=False)
    made = u.T @ lesson.newton_schulz(matrix) @ vh.T
    assert torch.allclose(made, torch.diag(made.diagonal()), atol=1e-4)
    assert made.diagonal().min() > 0.6 and made.diagonal().max() < 1.3 and values.max() / values.min() > 3


def test_rotate_is_what_the_course_s_gpt_does_with_its_own_base() -> None:
    generator = torch.Generator().manual_seed(0)
    x, d = torch.randn(2, 3, 7, 8, generator=generator, dtype=torch.float64), 8
    angles = torch.outer(torch.arange(7.0), 10000 ** (-torch.arange(0, d, 2) / d)).double()
    ours = definition("rotate")(x, torch.arange(7))
    torch.testing.assert_close(ours, gpt.rotate(x, angles.cos(), angles.sin()), atol=1e-5, rtol=0)


def merged_on_a_stack(ids, pair, new_id):
    merged = []
    for token in ids:
        merged.append(token)
        if tuple(merged[-2:]) == pair:
            merged[-2:] = [new_id]
    return merged


def by_complex_numbers(x, positions):
    half = x.size(-1) // 2
    speeds = 10000 ** -(torch.arange(0, 2 * half, 2) / (2 * half))
    turn = torch.polar(torch.ones(1), torch.outer(positions.float(), speeds)).to(torch.complex128)
    turned = torch.complex(x[..., :half].double(), x[..., half:].double()) * turn
    return torch.cat([turned.real, turned.imag], -1).to(x.dtype)


def by_an_exponential_in_single_precision(x, positions):
    (a, b), d = x.chunk(2, -1), x.shape[-1]
    angle = positions.unsqueeze(1) * torch.exp(torch.arange(0, d, 2) * (-math.log(10000.0) / d))
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


def as_llama_s_code(x, positions):
    d = x.shape[-1]
    inverse = 1.0 / (10000 ** (torch.arange(0, d, 2, dtype=x.dtype) / d))
    angles = torch.einsum("t,f->tf", positions.to(x.dtype), inverse)
    angles = torch.cat([angles, angles], -1)
    other = torch.cat([-x[..., d // 2 :], x[..., : d // 2]], -1)
    return x * angles.cos() + other * angles.sin()


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("merge_pair", merged_on_a_stack),
        ("rotate", by_complex_numbers),
        ("rotate", as_llama_s_code),
        ("rotate", by_an_exponential_in_single_precision),
    ],
)
def test_right_answers_in_other_words_are_right(name, answer) -> None:
    for seed in range(5):
        outcome = check(name, answer, seed)
        assert outcome.status == "right", outcome.message


def merged_in_a_for_loop(ids, pair, new_id):
    merged = []
    for i in range(len(ids) - 1):
        if (ids[i], ids[i + 1]) == pair:
            merged.append(new_id)
            i += 1
        else:
            merged.append(ids[i])
    return merged


def deleted_from_the_argument(ids, pair, new_id):
    i = 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) == pair:
            ids[i] = new_id
            del ids[i + 1]
        i += 1
    return ids


def merged_with_the_token_before(ids, pair, new_id):
    merged = []
    for i in range(len(ids)):
        if i > 0 and (ids[i - 1], ids[i]) == pair:
            merged = [*merged[:-1], new_id]
        else:
            merged.append(ids[i])
    return merged


def last_token_appended_at_the_end(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) == pair:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    merged.append(ids[-1])
    return merged


def other_half_with_the_wrong_sign(x, positions):
    d = x.shape[-1]
    angles = torch.outer(positions.to(x.dtype), 10000.0 ** -(torch.arange(0, d, 2, dtype=x.dtype) / d)).repeat(1, 2)
    other = torch.cat([x[..., d // 2 :], -x[..., : d // 2]], -1)
    return x * angles.cos() + other * angles.sin()


def as_if_every_channel_were_a_pair(x, positions):
    d = x.shape[-1]
    angles = torch.outer(positions.to(x.dtype), 10000.0 ** -(torch.arange(d, dtype=x.dtype) / d))
    return x * angles.cos() + torch.cat([-x[..., d // 2 :], x[..., : d // 2]], -1) * angles.sin()


def pairs_from_one_on(x, positions):
    (a, b), d = x.chunk(2, -1), x.shape[-1]
    angle = torch.outer(positions.to(x.dtype), 10000.0 ** (-2 * torch.arange(1, d // 2 + 1, dtype=x.dtype) / d))
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


def pairs_of_neighbours(x, positions):
    d = x.shape[-1]
    angles = torch.outer(positions.to(x.dtype), 10000.0 ** -(torch.arange(0, d, 2, dtype=x.dtype) / d))
    y = torch.empty_like(x)
    y[..., 0::2] = x[..., 0::2] * angles.cos() - x[..., 1::2] * angles.sin()
    y[..., 1::2] = x[..., 0::2] * angles.sin() + x[..., 1::2] * angles.cos()
    return y


def places_counted_here(x, positions):
    d = x.shape[-1]
    places = torch.arange(x.shape[-2], dtype=x.dtype)
    angles = torch.outer(places, 10000.0 ** -(torch.arange(0, d, 2, dtype=x.dtype) / d))
    a, b = x[..., : d // 2], x[..., d // 2 :]
    return torch.cat([a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()], -1)


@pytest.mark.parametrize(
    ("name", "answer", "mistake"),
    [
        ("merge_pair", merged_in_a_for_loop, "for_loop"),
        ("merge_pair", deleted_from_the_argument, "merged_in_place"),
        ("merge_pair", merged_with_the_token_before, "used_twice"),
        ("merge_pair", last_token_appended_at_the_end, "last_token_always_appended"),
        ("rotate", as_if_every_channel_were_a_pair, "an_angle_for_every_channel"),
        ("rotate", pairs_from_one_on, "pairs_counted_from_one"),
        ("rotate", other_half_with_the_wrong_sign, "turned_back"),
        ("rotate", pairs_of_neighbours, "neighbours_paired"),
        ("rotate", places_counted_here, "rows_counted"),
    ],
)
def test_the_usual_slips_are_told_by_name(name, answer, mistake) -> None:
    for seed in range(5):
        outcome = check(name, answer, seed)
        assert outcome.mistake == mistake, outcome.message
