"""Music as sound: its length, its pitches, its beginnings and ends, and the file that a player holds."""

import io
import wave

import pytest
import torch

from course_utils import sound
from course_utils.data import voices
from course_utils.data.voices import REST


def test_sound_has_its_length_is_finite_and_within_the_scale() -> None:
    piece = voices.generate(1)[0][:6].clone()
    piece[2, 1] = REST
    made = sound.synthesise(piece, step=0.1, rate=4000)
    assert made.shape == (2400,) and made.isfinite().all() and made.abs().max().item() == pytest.approx(1.0)
    assert torch.equal(sound.synthesise(torch.full((5, 4), REST)), torch.zeros(8000))


def test_sound_has_the_pitch_that_is_written() -> None:
    piece = torch.tensor([[69, REST, REST, REST]] * 5)  # 440 Hz for a second, as one note
    spectrum = torch.fft.rfft(sound.synthesise(piece)).abs()
    assert spectrum.argmax().item() == 440
    steady = sound.synthesise(piece)[800:-800].abs().unfold(0, 200, 200).amax(1)
    assert (steady.diff() < 0.05).all() and steady.min() > 0.3  # no new attack at a step's border


def test_voices_and_their_harmonics_add_up_and_none_is_folded_back() -> None:
    piece = torch.tensor([[93, REST, REST, 69]] * 5)  # 1760 and 440 Hz for a second
    spectrum = torch.fft.rfft(sound.synthesise(piece)).abs()
    heights = {440: 1, 880: 1 / 4, 1320: 1 / 9, 1760: 1 + 1 / 16, 3520: 1 / 4}  # 1760's third would be at 2720
    for frequency, height in heights.items():
        assert (spectrum[frequency] / spectrum[440]).item() == pytest.approx(height, abs=0.02)
    elsewhere = torch.ones_like(spectrum)
    for frequency in heights:
        elsewhere[frequency - 30 : frequency + 31] = 0
    assert (spectrum * elsewhere).max() < 0.02 * spectrum[440]


def test_notes_begin_and_end_softly_and_fade() -> None:
    made = sound.synthesise(torch.tensor([[69, REST, REST, REST]] * 3 + [[71, REST, REST, REST]] * 2))
    for border in (0, 4800, 8000):  # in samples: the two notes last 0.6 and 0.4 seconds
        assert made[max(0, border - 3) : border + 3].abs().max() < 0.03
    assert made[400:600].abs().max() > 1.2 * made[4000:4200].abs().max()


def test_a_player_holds_a_short_wav_file() -> None:
    player = sound.player(voices.generate(1)[0][:10])
    with wave.open(io.BytesIO(player.data)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()) == (
            1,
            1,
            8000,
            16_000,
        )
