"""Exercises of detour 09a: rotary positions, and tokens longer than a character."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from course_utils.exercises.define import Case, define, edge, randn

# -- 9a.1 ----------------------------------------------------------------------------------------------------------


@define(lesson="09a", points=2, outputs="y", gradients=("x",))
def rotate(x, positions):
    """Turn each pair of channels by an angle that grows with the position.

    x: (B, heads, T, d), d even: queries or keys. positions: (T,) int64, the place of each row in its text. Pair i is
    (x[..., i], x[..., i + d/2]), for i = 0 … d/2 − 1; its angle is position · 10000^(−2i/d) radians, and
    (a, b) → (a cos − b sin, a sin + b cos). Returns y, (B, heads, T, d), every channel in its old place.
    Source: Su et al., RoFormer (2021); the pairs are those of Llama's published code, not neighbours as in the paper.
    """
    a, b = x.chunk(2, dim=-1)  # (B, heads, T, d / 2)
    i = torch.arange(a.shape[-1], dtype=x.dtype, device=x.device)
    angle = positions.unsqueeze(-1) * 10000 ** (-2 * i / x.shape[-1])  # (T, d / 2)
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], dim=-1)


def _placed(generator: torch.Generator, batch: int, heads: int, time: int, d: int, first: int | None = None) -> dict:
    """Rows at places from `first` on, or anywhere."""
    anywhere = torch.randperm(40, generator=generator)[:time]
    positions = anywhere if first is None else torch.arange(first, first + time)
    return dict(x=randn(generator, batch, heads, time, d), positions=positions)


@rotate.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    yield _placed(generator, 2, 3, 5, 8)
    yield _placed(generator, 3, 2, 4, 6, first=7)
    yield _placed(generator, 2, 4, 6, 10)
    yield _placed(generator, 4, 3, 5, 6, first=1)
    yield edge("the text begins at place 0", stated="they may begin at 0", **_placed(generator, 2, 3, 6, 8, first=0))
    yield edge("there is one pair of channels", stated="d may be 2", **_placed(generator, 3, 2, 5, 2))
    yield edge("there is a single row", stated="T may be 1", **_placed(generator, 2, 3, 1, 6))


@rotate.typical
def _(generator: torch.Generator) -> dict:
    return dict(x=randn(generator, 8, 4, 64, 16), positions=torch.arange(64))


def _turned(x: Tensor, angle: Tensor, sign: int = 1) -> Tensor:
    """The reference's rotation by other angles (T, d / 2), or the other way."""
    a, b = x.chunk(2, -1)
    cos, sin = angle.cos(), sign * angle.sin()
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def _angles(x: Tensor, positions: Tensor, power: float = -2.0) -> Tensor:
    """position · 10000^(power · i / d), (T, d / 2)."""
    i = torch.arange(x.shape[-1] // 2, dtype=x.dtype, device=x.device)
    return positions.unsqueeze(-1).to(x.dtype) * 10000 ** (power * i / x.shape[-1])


@rotate.mistake(
    "you pair neighbours, (x[2i], x[2i + 1]), as the paper draws it. Here pair i is (x[i], x[i + d/2]): the first half of "
    "the channels with the second, `x.chunk(2, dim=-1)`. Either works, but weights that learned one are lost in the other."
)
def neighbours_paired(x, positions):
    angle = _angles(x, positions)
    a, b = x[..., ::2], x[..., 1::2]
    turned = torch.stack([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)
    return turned.flatten(-2)


@rotate.mistake(
    "the numbers are right, but each pair's two results stand side by side. They belong where the pair came from: channel i "
    "and channel i + d/2. Join the halves with `torch.cat`, not with `stack` and `flatten`."
)
def results_interleaved(x, positions):
    turned = _turned(x, _angles(x, positions))
    return torch.stack(turned.chunk(2, -1), -1).flatten(-2)


@rotate.mistake(
    "you turn the other way: (a cos + b sin, −a sin + b cos). Scores between two rotated vectors would be the same, but not "
    "what is asked for."
)
def turned_back(x, positions):
    return _turned(x, _angles(x, positions), sign=-1)


@rotate.mistake(
    "both sines have the same sign: (a cos + b sin, a sin + b cos) is no rotation, and changes lengths. One of them is "
    "negative: a cos − b sin."
)
def minus_forgotten(x, positions):
    a, b = x.chunk(2, -1)
    angle = _angles(x, positions)
    return torch.cat([a * angle.cos() + b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


@rotate.mistake(
    "the first half is overwritten before the second is computed from it: b then meets the rotated a. Compute both from the "
    "old a and b."
)
def half_overwritten(x, positions):
    a, b = x.chunk(2, -1)
    angle = _angles(x, positions)
    a = a * angle.cos() - b * angle.sin()
    return torch.cat([a, a * angle.sin() + b * angle.cos()], -1)


@rotate.mistake(
    "all pairs turn equally fast. Pair i turns by position · 10000^(−2i/d): the first fast, the last so slowly that it tells "
    "far places apart."
)
def one_speed(x, positions):
    return _turned(x, _angles(x, positions, power=0.0))


@rotate.mistake(
    "the 2 in the exponent is missing: with −i/d the slowest pair turns at about 1/100, not at about 1/10 000 of the fastest. "
    "i runs to d/2 only."
)
def exponent_halved(x, positions):
    return _turned(x, _angles(x, positions, power=-1.0))


@rotate.mistake(
    "the exponent is twice what it should be: if your i already counts 0, 2, 4, …, it needs no further 2; and 2i is divided by "
    "d, not by d/2."
)
def exponent_doubled(x, positions):
    return _turned(x, _angles(x, positions, power=-4.0))


@rotate.mistake(
    "the exponent has lost its minus: later pairs turn faster and faster, up to thousands of radians per place, where "
    "neighbours look like strangers."
)
def faster_and_faster(x, positions):
    return _turned(x, _angles(x, positions, power=2.0))


@rotate.mistake(
    "you count the rows, 0 … T − 1, and never look at `positions`. With a cache the rows of a call stand in the middle of a "
    "text: use the places that you are given."
)
def rows_counted(x, positions):
    return _turned(x, _angles(x, torch.arange(x.shape[-2], device=x.device)))


@rotate.mistake(
    "positions are counted from 1. The row at place 0 is not turned at all; use the places as they are given."
)
def counted_from_one(x, positions):
    return _turned(x, _angles(x, positions + 1))


@rotate.mistake(
    "sine and cosine are exchanged: at position 0, where nothing should turn, yours turns by a quarter. cos belongs to a in the "
    "first half, and to b in the second."
)
def sine_for_cosine(x, positions):
    a, b = x.chunk(2, -1)
    angle = _angles(x, positions)
    return torch.cat([a * angle.sin() - b * angle.cos(), a * angle.cos() + b * angle.sin()], -1)


@rotate.mistake(
    "you add sines and cosines to the channels: those are the positions of Vaswani et al. (2017). Rotary positions add nothing, "
    "they turn what is there."
)
def added(x, positions):
    angle = _angles(x, positions)
    return x + torch.cat([angle.sin(), angle.cos()], -1)


@rotate.mistake(
    "pairs are counted from 1. The first one, i = 0, turns by the position itself, since 10000⁰ = 1: i runs from 0 to d/2 − 1."
)
def pairs_counted_from_one(x, positions):
    return _turned(x, _angles(x, positions) * 10000 ** (-2 / x.shape[-1]))


@rotate.mistake(
    "every channel has an angle of its own. The two channels of a pair turn by one angle: i counts pairs, from 0 to d/2 − 1."
)
def an_angle_for_every_channel(x, positions):
    speeds = 10000 ** (-torch.arange(x.shape[-1], dtype=x.dtype, device=x.device) / x.shape[-1])
    angle, (a, b) = positions.unsqueeze(-1) * speeds, x.chunk(2, -1)
    return x * angle.cos() + torch.cat([-b, a], -1) * angle.sin()


rotate.hints(
    "Split x into its first and its second half of channels: now pair i is (a[..., i], b[..., i]). Of what shape are the "
    "angles, which depend on the position and on i alone?",
    "`positions.unsqueeze(-1)` is (T, 1), `10000 ** (-2 * i / d)` is (d/2,) for `i = torch.arange(d // 2)`: their product is "
    "(T, d/2), and fits a and b.",
    "`torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], dim=-1)`.",
)

# -- 9a.2 ----------------------------------------------------------------------------------------------------------


@define(lesson="09a", points=1, outputs="merged")
def merge_pair(ids, pair, new_id):
    """Replace a pair of neighbours by one new token, wherever it stands.

    ids: a list of int. pair: a tuple (left, right) of int. new_id: an int that does not occur in ids.
    Returns a new list. Reads from left to right; a token that has been merged is used up, so in (7, 7, 7) the pair
    (7, 7) occurs once, at the front. ids stays as it is.
    """
    merged, i = [], 0
    while i < len(ids):
        found = tuple(ids[i : i + 2]) == pair
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


def _ids(generator: torch.Generator, length: int, symbols: int) -> list[int]:
    # 1 and 11 share a digit: the ids are not text
    return [(1, 11, 2, 21, 5)[i] for i in torch.randint(0, symbols, (length,), generator=generator).tolist()]


@merge_pair.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for pair in ((1, 11), (11, 1), (1, 2), (2, 1)):
        yield dict(ids=_ids(generator, 30, 4), pair=pair, new_id=40)
    yield dict(ids=_ids(generator, 24, 2), pair=(11, 11), new_id=256)
    yield dict(ids=[1, 2, *_ids(generator, 9, 5), 1, 2], pair=(1, 2), new_id=300)
    yield dict(ids=[11, 2, *_ids(generator, 9, 5), 1, 21], pair=(1, 2), new_id=300)
    run = int(torch.randint(2, 6, (), generator=generator)) * 2 + 1
    yield edge(
        "one token fills the whole list",
        stated="Be careful with a run such as `aaa`",
        ids=[7] * run,
        pair=(7, 7),
        new_id=8,
    )
    yield edge(
        "the pair does not occur",
        stated="or not hold the pair at all",
        ids=_ids(generator, 8, 3),
        pair=(5, 1),
        new_id=9,
    )
    yield edge("the list holds one token", stated="or hold one token", ids=[5], pair=(5, 5), new_id=6)
    yield edge("the list is empty", stated="The list may be empty", ids=[], pair=(1, 2), new_id=3)


@merge_pair.typical
def _(generator: torch.Generator) -> dict:
    return dict(ids=_ids(generator, 3000, 5), pair=(1, 2), new_id=65)


@merge_pair.mistake(
    "nothing is ever merged. If you compare `ids[i : i + 2]` with `pair`: one is a list, the other a tuple, and a "
    "list never equals a tuple. Turn one into the other, or compare entry by entry."
)
def list_against_tuple(ids, pair, new_id):
    return [*ids]


@merge_pair.mistake(
    "after a merge you move on by one place only, so the right half of the pair is still there, behind the token that "
    "was to replace it. Two tokens are used up: step over both."
)
def right_half_kept(ids, pair, new_id):
    return [new_id if tuple(ids[i : i + 2]) == pair else token for i, token in enumerate(ids)]


@merge_pair.mistake(
    "a `for` loop goes to the next place whatever you do to `i` inside it. So the right half of a merged pair is copied "
    "as well, and the last token, which is no left half, is forgotten. Use `while`, with a step of your own."
)
def for_loop(ids, pair, new_id):
    return [new_id if tuple(ids[i : i + 2]) == pair else ids[i] for i in range(len(ids) - 1)]


@merge_pair.mistake(
    "you merge from the right. In (7, 7, 7) the pair (7, 7) then takes the last two, while the encoder and everybody "
    "else's reader take the first two: the same text would get different tokens. Read from left to right."
)
def from_the_right(ids, pair, new_id):
    return _merged(ids[::-1], pair[::-1], new_id)[::-1]


@merge_pair.mistake(
    "you look back at `ids[i - 1]`, which may be a token that has just been merged: in (7, 7, 7) the one in the middle "
    "serves twice. A used token is gone: look back at the list that you are building, or step over both halves."
)
def used_twice(ids, pair, new_id):
    merged: list[int] = []
    for i, token in enumerate(ids):
        if i and (ids[i - 1], token) == pair:
            merged[-1] = new_id
        else:
            merged.append(token)
    return merged


@merge_pair.mistake(
    "you merge the first occurrence and stop. A merge is a rule for the whole text: every occurrence becomes the new token."
)
def first_one_only(ids, pair, new_id):
    places = [i for i in range(len(ids) - 1) if tuple(ids[i : i + 2]) == pair][:1]
    return [*ids[: places[0]], new_id, *ids[places[0] + 2 :]] if places else [*ids]


@merge_pair.mistake(
    "the last token gets lost when it is not part of a pair. A loop over pairs of neighbours ends one short of the "
    "list's end; the token that is left over must be copied too."
)
def last_token_lost(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids) - 1:
        found = tuple(ids[i : i + 2]) == pair
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


@merge_pair.mistake(
    "the last token of the list is always appended once more, even when it was the right half of a pair that has just been "
    "merged, and is used up. Copy it only if the loop has not stepped over it: let the loop go on while `i < len(ids)`."
)
def last_token_always_appended(ids, pair, new_id):
    return last_token_lost(ids, pair, new_id) + ids[-1:]


@merge_pair.mistake(
    "a pair at the very end of the list stays unmerged: your loop stops too early. The last pair begins at place "
    "len(ids) − 2, and `range(len(ids) - 2)` does not reach it."
)
def last_pair_missed(ids, pair, new_id):
    return _merged(ids[:-1], pair, new_id) + ids[-1:]


@merge_pair.mistake(
    "you take the pair in either order. 'th' and 'ht' are different pairs: (left, right) must match in this order."
)
def either_order(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        found = sorted(ids[i : i + 2]) == sorted(pair)
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


@merge_pair.mistake(
    "both halves of the pair are replaced, each by the new token, so nothing becomes shorter. *One* new token stands "
    "for the two."
)
def both_replaced(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        found = tuple(ids[i : i + 2]) == pair
        merged += [new_id, new_id] if found else [ids[i]]
        i += 2 if found else 1
    return merged


@merge_pair.mistake(
    "you replace inside a piece of text: there the end of 11 looks like a 1, and (1, 2) is found in '11, 2'. Compare "
    "numbers with numbers."
)
def digits_replaced(ids, pair, new_id):
    text = ",".join(map(str, ids)).replace(f"{pair[0]},{pair[1]}", str(new_id))
    return [int(number) for number in text.split(",") if number]


@merge_pair.mistake(
    "the result is right, but you changed the list that you were given. The encoder still needs it, for example to try "
    "another merge: build a new list."
)
def merged_in_place(ids, pair, new_id):
    ids[:] = _merged(ids, pair, new_id)
    return ids


def _merged(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    merged: list[int] = []
    waiting = False  # whether the last token of `merged` is still free to be a left half
    for token in ids:
        if waiting and (merged[-1], token) == pair:
            merged[-1], waiting = new_id, False
        else:
            merged.append(token)
            waiting = True
    return merged


merge_pair.hints(
    "Put a finger on the first token. Either the pair stands under your finger and its neighbour, or it does not. How "
    "far does the finger move in each case?",
    "A `for` loop always moves by one. Here the step is sometimes two: use `while i < len(ids)` and change `i` yourself. "
    "The slice `ids[i : i + 2]` is safe at the end of the list, where `ids[i + 1]` is not.",
    "In the loop: if `tuple(ids[i : i + 2]) == pair`, append `new_id` and add 2 to `i`; otherwise append `ids[i]` and "
    "add 1.",
)
