"""Chorales: pieces for four voices, one pitch for each voice and step; read from a file, or made up by rule."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

REST = -1  # in the place of a pitch: the voice is silent
PARTS = {"train": "train", "validation": "valid", "test": "test"}  # our names and the file's

RANGES = ((60, 79), (55, 72), (48, 67), (40, 60))  # of the generated voices, MIDI pitches
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
# Which degrees of the scale may follow which, 0 being the tonic: one step through the functions of harmony.
NEXT = {0: (3, 4, 5, 1, 3, 4), 1: (4, 4, 6), 2: (5, 3), 3: (4, 0, 1, 4), 4: (0, 0, 5), 5: (1, 3, 4), 6: (0, 2)}
PHRASE = 8  # chords, two steps each; the last is held twice as long
PASSING = 0.6  # how often a leap of a third is filled


class Chorales(NamedTuple):
    """Three lists of pieces, each (T, 4) int64: MIDI pitches of soprano, alto, tenor and bass, `REST` where silent.

    One row lasts an eighth note; whether a repeated pitch is held or struck again is not recorded.
    """

    train: list[Tensor]
    validation: list[Tensor]
    test: list[Tensor]
    source: str
    real: bool


def read_chorales(path: Path) -> Chorales:
    """The chorales of a JSON file: a dictionary of "train", "valid" and "test", each a list of pieces.

    A piece is a list of steps, a step a list of the pitches that sound, the highest voice first. Rests are left out
    there, so a step of fewer than four pitches does not say whose they are: they go, in their order, to the voices
    that have the shortest way to them (from the last step in which all four sound, or else to the next).
    Raises ValueError, naming the place, when the file is anything else or a pitch lies outside MIDI's 0..127.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): fetch it again") from None
    parts = []
    for name in PARTS.values():
        pieces = content.get(name) if isinstance(content, dict) else None
        if not isinstance(pieces, list) or not pieces:
            raise ValueError(f"{path} has no list of chorales called {name!r}: fetch it again")
        parts.append([_piece(steps, f"{path}, {name!r}, chorale {i}") for i, steps in enumerate(pieces)])
    return Chorales(*parts, source="JSB chorales", real=True)


def _piece(steps: Any, place: str) -> Tensor:
    """One piece, (T, 4) int64, from its lists of sounding pitches."""
    if not isinstance(steps, list) or not steps:
        raise ValueError(f"{place} is not a list of steps: {steps!r}")
    for t, step in enumerate(steps):
        if not isinstance(step, list) or len(step) > 4:
            raise ValueError(f"{place}, step {t}: a step is a list of at most 4 pitches, not {step!r}")
        for pitch in step:
            if isinstance(pitch, bool) or not isinstance(pitch, int | float) or pitch not in range(128):
                raise ValueError(f"{place}, step {t}: a pitch is a whole number from 0 to 127, not {pitch!r}")
    full = [step for step in steps if len(step) == 4]
    near = full[0] if full else [72, 67, 60, 48]
    rows = []
    for step in steps:
        near = step if len(step) == 4 else near
        rows.append(_spread(step, near))
    return torch.tensor(rows, dtype=torch.int64)


def _spread(step: Sequence[float], near: Sequence[float]) -> list[int]:
    """At most 4 pitches given to 4 voices in their order, each as close to `near` as can be; the rest are silent."""
    ways = combinations(range(4), len(step))
    voices = min(ways, key=lambda way: sum(abs(near[v] - pitch) for v, pitch in zip(way, step, strict=True)))
    row = [REST] * 4
    for voice, pitch in zip(voices, step, strict=True):
        row[voice] = int(pitch)
    return row


def generate(n: int, seed: int = 0) -> list[Tensor]:
    """`n` pieces of four-part harmony by rule, each (T, 4) int64 with T from 54 to 90; no rests.

    Every piece has a key, and phrases of eight chords that follow `NEXT` and end on a cadence. Of the ways to sing a
    chord within `RANGES`, one with short ways from the last is drawn, parallel fifths and octaves left out where that
    is possible; leaps of a third are often filled by a passing note. The same seed gives the same pieces, and a larger
    `n` begins with those of a smaller one.
    """
    return [_compose(random.Random(f"{seed} {i}")) for i in range(n)]


def _compose(dice: random.Random) -> Tensor:
    tonic, mode = dice.randrange(12), dice.choice(["major", "minor"])
    chords, holds = [], []
    for _ in range(dice.randint(3, 5)):
        chords += _phrase(dice)
        holds += [1] * (PHRASE - 1) + [2]
    voicings = [dice.choice(_voicings(tonic, mode, chords[0]))]
    for chord in chords[1:]:
        voicings.append(_lead(voicings[-1], _voicings(tonic, mode, chord), dice))
    scale = {(tonic + degree) % 12 for degree in SCALES[mode]}
    rows = []
    for now, then, hold in zip(voicings, [*voicings[1:], voicings[-1]], holds, strict=True):
        rows += [now] * (2 * hold - 1)
        rows.append(_pass(now, then, scale, dice) if hold == 1 else now)
    return torch.tensor(np.array(rows), dtype=torch.int64)


def _phrase(dice: random.Random) -> list[int]:
    """Eight degrees of the scale: from the tonic to the dominant and back."""
    degrees = [0]
    while len(degrees) < PHRASE - 2:
        degrees.append(dice.choice(NEXT[degrees[-1]]))
    return [*degrees, 4, 0]


@cache
def _voicings(tonic: int, mode: str, degree: int) -> np.ndarray:
    """All ways to sing a triad, (n, 4): complete, root in the bass, no voices crossed, the upper ones close."""
    steps = SCALES[mode]
    triad = [(tonic + steps[(degree + third) % 7]) % 12 for third in (0, 2, 4)]
    if degree == 4:
        triad[1] = (tonic + 11) % 12  # the leading note, in minor too
    choices = [[p for p in range(low, high + 1) if p % 12 in triad] for low, high in RANGES]
    choices[3] = [pitch for pitch in choices[3] if pitch % 12 == triad[0]]
    found = [
        (s, a, t, b)
        for s, a, t, b in product(*choices)
        if s >= a >= t >= b and s - a <= 12 and a - t <= 12 and {p % 12 for p in (s, a, t)} >= set(triad[1:])
    ]
    return np.array(found)


def _lead(last: np.ndarray, ways: np.ndarray, dice: random.Random) -> np.ndarray:
    """The next chord: a voicing drawn with a weight that falls with the way that the voices must go."""
    distance = np.abs(ways - last).sum(1) + 4.0 * (np.abs(ways - last).max(1) > 7)
    for upper, lower in combinations(range(4), 2):
        gap = (last[upper] - last[lower]) % 12
        moved = (ways[:, upper] != last[upper]) & (ways[:, lower] != last[lower])
        distance += 20.0 * (moved & ((ways[:, upper] - ways[:, lower]) % 12 == gap) & (gap in (0, 7)))
    weights = np.exp((distance.min() - distance) / 1.5)
    return ways[dice.choices(range(len(ways)), weights.tolist())[0]]


def _pass(now: np.ndarray, then: np.ndarray, scale: set[int], dice: random.Random) -> np.ndarray:
    """The second half of a chord: a voice about to leap by a third may take the note of the scale between."""
    row = now.copy()
    for voice, (start, end) in enumerate(zip(now.tolist(), then.tolist(), strict=True)):
        between = [p for p in range(min(start, end) + 1, max(start, end)) if p % 12 in scale]
        if 3 <= abs(end - start) <= 4 and len(between) == 1 and dice.random() < PASSING:
            row[voice] = between[0]
    return row
