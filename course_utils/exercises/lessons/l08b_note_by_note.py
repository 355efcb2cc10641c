"""Exercises of detour 08b: which voices a voice may hear, and how one is kept below another."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from course_utils.exercises.define import Case, define, edge, randn

# -- 8b.1 ----------------------------------------------------------------------------------------------------------


@define(lesson="08b", points=1, outputs="mask", exact=True)
def voice_mask(voices):
    """Which voices of its own step each voice may hear: those that are written before it.

    voices: how many there are, at least 1, counted from the highest.
    Returns bool (voices, voices): [i, j] is True where voice i may hear voice j.
    """
    return torch.ones(voices, voices).tril(-1).bool()


@voice_mask.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for voices in (4, 3, 5, 7):
        yield dict(voices=voices)
    yield edge("there is a single voice", stated="There may be a single voice", voices=1)


@voice_mask.mistake(
    "every voice hears itself. That is mask B; the note in question is not written yet, and a network that hears it would "
    "copy it."
)
def hears_itself(voices):
    return torch.ones(voices, voices).tril().bool()


@voice_mask.mistake(
    "your mask is turned around: rows are the voices that hear, columns those that are heard. The soprano, row 0, hears "
    "nobody, and the bass, the last row, all the others."
)
def turned_around(voices):
    return torch.ones(voices, voices).triu(1).bool()


@voice_mask.mistake(
    "every voice hears all the others. Those below it are not written yet: what it hears of them in training is missing when "
    "you compose."
)
def all_others(voices):
    return ~torch.eye(voices).bool()


@voice_mask.mistake(
    "each voice hears only the one right above it. All voices above are written already: the bass may hear soprano, alto and "
    "tenor."
)
def next_above_only(voices):
    return torch.eye(voices).roll(1, 0).tril(-1).bool()


@voice_mask.mistake("these are the right ones and zeros, but numbers. A mask of True and False is wanted: `.bool()`.")
def numbers_instead(voices):
    return torch.ones(voices, voices).tril(-1)


@voice_mask.mistake(
    "your mask is turned around, and every voice hears itself besides. Voice i may hear the voices j above it, j < i: what is "
    "left of the diagonal."
)
def turned_around_with_itself(voices):
    return torch.ones(voices, voices).triu().bool()


@voice_mask.mistake(
    "every voice hears itself alone, the one note of its step that is not written yet. It may hear the voices above it, j < i."
)
def itself_alone(voices):
    return torch.eye(voices).bool()


voice_mask.hints(
    "Write the table for two voices on paper: four entries, of which one is True.",
    "Row i is True left of the diagonal. `torch.tril` keeps what is below a diagonal; which one?",
    "torch.ones(voices, voices).tril(-1).bool()",
)

# -- 8b.2 ----------------------------------------------------------------------------------------------------------


@define(lesson="08b", points=2, outputs="limited", fresh=True)
def keep_below(logits, above):
    """Forbid all notes that lie higher than the voice above.

    logits: (N, tokens), one row per piece. Token 0 is silence; from 1 on, a larger token is a higher pitch.
    above: int64 (N,), the tokens that the voice above sings in this step; 0 where it is silent.
    Returns new logits (N, tokens): -inf for every pitch higher than `above`. The same pitch and silence stay possible,
    and where the voice above is silent nothing is forbidden.
    """
    higher = torch.arange(logits.shape[1], device=logits.device) > above.unsqueeze(1)
    return logits.masked_fill(higher & (above > 0).unsqueeze(1), -math.inf)


def _sung(generator: torch.Generator, n: int, tokens: int) -> dict:
    """Logits, and a voice above that sings somewhere in the middle."""
    above = torch.randint(2, tokens - 2, (n,), generator=generator)
    return dict(logits=2 * randn(generator, n, tokens), above=above)


@keep_below.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for n, tokens in ((3, 9), (5, 7), (2, 12), (4, 8)):
        yield _sung(generator, n, tokens)
    rests = _sung(generator, 4, 9)
    rests["above"][1:3] = 0
    yield edge("the voice above is silent", stated="where the voice above is silent nothing is forbidden", **rests)
    lowest = _sung(generator, 3, 6) | dict(above=torch.tensor([1, 1, 3]))
    yield edge("the voice above sings the lowest pitch", stated="The voice above may sing the lowest pitch", **lowest)


@keep_below.typical
def _(generator: torch.Generator) -> dict:
    return _sung(generator, 64, 53)


def _limited(logits: Tensor, forbidden: Tensor) -> Tensor:
    return logits.masked_fill(forbidden, -math.inf)


def _pitches(logits: Tensor) -> Tensor:
    return torch.arange(logits.shape[1])


@keep_below.mistake(
    "the pitch of the voice above is forbidden as well. Two voices may sing the same note: only higher ones are closed."
)
def unison_forbidden(logits, above):
    return _limited(logits, (_pitches(logits) >= above.unsqueeze(1)) & (above > 0).unsqueeze(1))


@keep_below.mistake(
    "the comparison is turned around: you forbid what lies below the voice above. A larger token is a higher pitch."
)
def lower_ones_forbidden(logits, above):
    return _limited(logits, (_pitches(logits) < above.unsqueeze(1)) & (_pitches(logits) > 0))


@keep_below.mistake(
    "you forbid the pitches below the voice above, and silence with them. A larger token is a higher pitch; and token 0, "
    "silence, stays possible."
)
def lower_ones_and_silence_forbidden(logits, above):
    return _limited(logits, _pitches(logits) < above.unsqueeze(1))


@keep_below.mistake("silence is forbidden. Token 0 is no low pitch but none at all, and a voice may always rest.")
def silence_forbidden(logits, above):
    forbidden = (_pitches(logits) > above.unsqueeze(1)) & (above > 0).unsqueeze(1)
    return _limited(logits, forbidden | (_pitches(logits) == 0))


@keep_below.mistake(
    "where the voice above is silent, every pitch is forbidden: its token is 0, and all others are larger. Silence limits "
    "nobody."
)
def silence_taken_for_a_pitch(logits, above):
    return _limited(logits, _pitches(logits) > above.unsqueeze(1))


@keep_below.mistake(
    "you write 0 instead of −inf. A logit of 0 is no probability of 0: after the softmax it is as likely as any other logit "
    "of 0. Only −inf closes a note."
)
def zero_for_closed(logits, above):
    return logits.masked_fill((_pitches(logits) > above.unsqueeze(1)) & (above > 0).unsqueeze(1), 0.0)


@keep_below.mistake(
    "you return probabilities. Logits are wanted: a softmax comes later, and it divides what is left by its sum."
)
def softmax_taken(logits, above):
    higher = (_pitches(logits) > above.unsqueeze(1)) & (above > 0).unsqueeze(1)
    return _limited(logits, higher).softmax(1)


@keep_below.mistake(
    "you write into the logits that you were given. They belong to the caller: return new ones, as `masked_fill` does."
)
def in_place_of_the_given(logits, above):
    return logits.masked_fill_((_pitches(logits) > above.unsqueeze(1)) & (above > 0).unsqueeze(1), -math.inf)


@keep_below.mistake(
    "the forbidden logits are very small, but finite. −inf is asked for: its probability is exactly 0, whatever the others are."
)
def very_small(logits, above):
    return logits.masked_fill((_pitches(logits) > above.unsqueeze(1)) & (above > 0).unsqueeze(1), -1e9)


@keep_below.mistake(
    "you forbid everything from the token above on (`>=`). Then two voices cannot sing the same note, and where the voice above is "
    "silent, token 0, nothing is possible at all: only larger tokens are forbidden, and only where somebody sings."
)
def all_from_above_on(logits, above):
    return _limited(logits, _pitches(logits) >= above.unsqueeze(1))


@keep_below.mistake("the voice above in the first piece limits all of them. Each row has a voice above of its own.")
def first_piece_for_all(logits, above):
    return keep_below(logits, above[:1].expand(len(above)))


@keep_below.mistake(
    "you return probabilities with 0 for what is forbidden. Logits are wanted, with −inf there: a softmax comes later, and exp(0) "
    "is not 0."
)
def probabilities_cut(logits, above):
    return keep_below(logits, above).isfinite() * logits.softmax(1)


keep_below.hints(
    "Compare every token with the note above: `torch.arange(logits.shape[1])` against `above.unsqueeze(1)` gives (N, tokens).",
    "A token is forbidden if it is larger than `above`, and only in rows where `above` is not 0. Token 0 is never larger.",
    "logits.masked_fill(higher & (above > 0).unsqueeze(1), -math.inf)",
)
