"""Music as sound: four voices of MIDI pitches as a sum of sines, and a player for the notebook (detour 08b)."""

from __future__ import annotations

import io
import itertools
import math
import wave
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from IPython.display import Audio

HARMONICS = (1, 2, 3, 4)  # multiples of a note's frequency that sound with it, the k-th 1 / k² as loud


def synthesise(piece: Tensor, step: float = 0.2, rate: int = 8000) -> Tensor:
    """The sound of a piece (T, voices) of MIDI pitches, -1 for silence: (samples,) in [-1, 1], `rate` samples a second.

    `step` is the length of a row in seconds. A pitch that stays for several rows is one note, which begins and ends
    softly and fades.
    """
    sound = torch.zeros(round(rate * step * len(piece)))
    for voice in piece.T:
        ends = [0, *((voice[1:] != voice[:-1]).nonzero().flatten() + 1).tolist(), len(voice)]
        for start, end in itertools.pairwise(ends):
            first, last = round(rate * step * start), round(rate * step * end)
            if voice[start] >= 0:
                sound[first:last] += _tone(int(voice[start]), last - first, rate)
    return sound / sound.abs().max().clamp(min=1e-9)


def _tone(pitch: int, samples: int, rate: int) -> Tensor:
    """One note (samples,): its harmonics below half the rate, so that none is folded back."""
    t = torch.arange(samples) / rate
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    tone = torch.zeros(samples)
    for k in HARMONICS:
        if k * frequency < rate / 2:
            tone += torch.sin(2 * math.pi * k * frequency * t) / k**2
    ends_softly = (t / 0.02).clamp(max=1) * ((t[-1] - t) / 0.03).clamp(max=1)
    return tone * ends_softly * torch.exp(-0.7 * t)


def player(piece: Tensor, rate: int = 8000) -> Audio:
    """A player for a piece (T, voices): a WAV file of 8 bits per sample, a fifth of a second per row."""
    from IPython.display import Audio

    samples = (127.5 + 127.5 * synthesise(piece, rate=rate)).round().byte()
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setparams((1, 1, rate, len(samples), "NONE", ""))  # one channel, one byte per sample
        wav.writeframes(samples.numpy().tobytes())
    return Audio(file.getvalue())
