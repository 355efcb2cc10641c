"""Chorales: read as written, refused where damaged, made by rule where there are none; the lesson's music from them."""

import hashlib
import io
import itertools
import json
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lesson_code
import pytest
import torch
from torch import Tensor

from course_utils import data, runtime
from course_utils.data import download, voices
from course_utils.data.download import Dataset, File
from course_utils.data.voices import REST
from course_utils.exercises.catalogue import definition

STEPS = {
    "train": [[[72, 67, 60, 48], [72.0, 65.0, 60.0, 50.0], [71, 67, 62], []], [[60, 55, 52, 36]]],
    "valid": [[[76], [76, 65], [74, 65, 56, 53]]],
    "test": [[[62, 64, 55, 50], [62, 55, 50], [79, 71, 64, 52], [81, 76, 69, 57], [69, 57]]],
}

pytestmark = pytest.mark.usefixtures("no_data")


def plant(content: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in the place of the chorales, of which the course knows the sum."""
    text = content if isinstance(content, str) else json.dumps(content)
    path = root / download.CHORALES.files[0].path
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    file = File(download.CHORALES.files[0].path, len(text), hashlib.sha256(text.encode()).hexdigest())
    monkeypatch.setattr(download, "CHORALES", Dataset("JSB chorales", ("http://mirror.invalid/",), (file,)))
    monkeypatch.setenv("COURSE_DATA", str(root))
    return path


# -- the file ------------------------------------------------------------------------------------------------------


def test_chorales_keep_the_files_split_and_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(STEPS, tmp_path / "given", monkeypatch)
    found = data.chorales()
    assert [len(part) for part in found[:3]] == [2, 1, 1] and found.real is True
    assert found.train[0][:2].tolist() == [[72, 67, 60, 48], [72, 65, 60, 50]] and found.train[0].dtype == torch.int64
    assert found.train[1].tolist() == [[60, 55, 52, 36]]
    assert data.chorales() is found
    assert runtime.sources_in_use() == [{"name": "JSB chorales", "source": "JSB chorales", "real": True}]


def test_notes_beside_rests_go_to_the_voices_nearest_to_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(STEPS, tmp_path / "given", monkeypatch)
    train, validation, test, *_ = data.chorales()
    assert train[0][2:].tolist() == [[71, 67, 62, REST], [REST] * 4]  # from the last full row
    assert validation[0].tolist() == [[76, REST, REST, REST], [76, 65, REST, REST], [74, 65, 56, 53]]  # the first one
    assert test[0][:2].tolist() == [[62, 64, 55, 50], [62, REST, 55, 50]]  # voices that cross stay crossed
    assert test[0][4].tolist() == [
        REST,
        REST,
        69,
        57,
    ]  # near to the last full row, not to the first or the next to last


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        ('{"train": [[[72, 67', r"jsb-chorales-8th\.json is not JSON \(.*\): fetch it again"),
        ([1, 2], "has no list of chorales called 'train'"),
        (STEPS | {"test": []}, "has no list of chorales called 'test': fetch it again"),
        (STEPS | {"valid": [[]]}, r"'valid', chorale 0 is not a list of steps: \[\]"),
        (
            STEPS | {"test": [[[60, 55, 52, 48, 36]]]},
            "'test', chorale 0, step 0: a step is a list of at most 4 pitches",
        ),
        (STEPS | {"test": [[[60], 60]]}, "'test', chorale 0, step 1: a step is a list of at most 4 pitches, not 60"),
        (STEPS | {"train": [[[60]], [[60], [128]]]}, "'train', chorale 1, step 1: a pitch is .* 0 to 127, not 128"),
        (STEPS | {"test": [[[-1]]]}, "not -1"),
        (STEPS | {"test": [[[60.5]]]}, r"not 60\.5"),
        (STEPS | {"test": [[[float("nan")]]]}, "not nan"),
        (STEPS | {"test": [[["60"]]]}, "not '60'"),
        (STEPS | {"test": [[[True]]]}, "not True"),
    ],
)
def test_what_is_no_chorale_is_refused_by_its_place(
    content: Any, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(content, tmp_path / "given", monkeypatch)
    with pytest.raises(ValueError, match=advice):
        data.chorales()


def test_the_real_chorales_are_read_where_they_are_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    try:
        download.find_or_fetch(download.CHORALES)
    except download.UnavailableError:
        pytest.skip("the chorales are not on this machine")
    found = data.chorales()
    pieces = [piece for part in found[:3] for piece in part]
    steps = torch.cat(pieces)
    assert found.real and [len(part) for part in found[:3]] == [229, 76, 77]
    assert all(piece.shape == (len(piece), 4) and piece.dtype == torch.int64 for piece in pieces)
    assert (min(map(len, pieces)), max(map(len, pieces)), len(steps)) == (50, 320, 46_268)
    assert (int(steps[steps != REST].min()), int(steps.max()), int((steps == REST).sum())) == (36, 81, 641)
    assert torch.bincount((steps == REST).sum(1)).tolist() == [46_077, 23, 14, 26, 128]
    assert found.test[0][0].tolist() == [65, 60, 57, 53]


# -- the stand-in --------------------------------------------------------------------------------------------------


def test_without_chorales_harmony_by_rule_stands_in_and_one_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    found = data.chorales()
    data.chorales()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(
        "JSB chorales is not on this machine and could not be downloaded (COURSE_OFFLINE is set)"
    )
    assert "harmony made by rule" in lines[0] and "COURSE_DATA" in lines[0]
    assert [len(part) for part in found[:3]] == [120, 40, 40] and found.real is False
    assert runtime.sources_in_use() == [{"name": "JSB chorales", "source": "stand-in: harmony by rule", "real": False}]


def test_a_damaged_file_is_reported_left_alone_and_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = plant(STEPS, tmp_path / "given", monkeypatch)
    path.write_text(path.read_text().replace("72", "73"))
    damaged = path.read_bytes()
    assert data.chorales().real is False
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and "has the wrong SHA-256: COURSE_DATA is left as it is" in lines[0]
    assert path.read_bytes() == damaged


def test_pieces_by_rule_repeat_with_their_seed_and_leave_every_other_dice_alone() -> None:
    state = torch.random.get_rng_state()
    first, longer, other = voices.generate(3, seed=5), voices.generate(6, seed=5), voices.generate(3, seed=6)
    assert all(torch.equal(a, b) for a, b in zip(first, longer, strict=False))
    assert not any(a.shape == b.shape and torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert torch.equal(state, torch.random.get_rng_state())


def test_pieces_by_rule_are_four_voices_within_their_ranges() -> None:
    for piece in voices.generate(20):
        assert piece.dtype == torch.int64 and piece.shape[1] == 4 and 54 <= len(piece) <= 90
        for voice, (low, high) in enumerate(voices.RANGES):
            assert low <= piece[:, voice].min() <= piece[:, voice].max() <= high
        assert torch.equal(piece[-4:], piece[-1:].expand(4, 4))  # the last chord is held
        root = piece[-1, 3] % 12
        assert (piece[-1] % 12 == (root + 7) % 12).any(), "the last chord has no fifth above its bass"


def test_pieces_by_rule_mostly_stay_or_step() -> None:
    """Of the moves from chord to chord in the upper voices most are at most a whole tone, and few are parallel."""
    chords = [piece[::2] for piece in voices.generate(50)]
    moves = torch.cat(
        [(b - a)[:, :3].abs() for piece in chords for a, b in itertools.pairwise([piece[:-1], piece[1:]])]
    )
    assert (moves <= 2).float().mean() > 0.75
    parallel = 0
    for piece in chords:
        gap, moved = (piece[:, :1] - piece[:, 3:]) % 12, (piece[1:] != piece[:-1])
        same = (gap[1:] == gap[:-1]) & ((gap[1:] == 0) | (gap[1:] == 7))
        parallel += int((same & moved[:, :1] & moved[:, 3:]).sum())
    assert parallel <= 0.02 * sum(map(len, chords))


# -- the lesson: from pieces to sound, from a network to pieces ----------------------------------------------------

WANTED = (
    "synthesise play to_tokens to_pitches step_before count_notes table_losses mean_of NoteEmbedding FromAbove ChoraleNet hears windows "
    "note_losses Singer compose describe before_in_order"
)
LOWEST, EDGE = 37, 47  # the stand-in's lowest pitch and number of tokens, with three semitones to spare


@pytest.fixture
def lesson() -> SimpleNamespace:
    torch.manual_seed(0)
    return lesson_code.load("08", *WANTED.split())


@pytest.fixture
def tunes(lesson: SimpleNamespace) -> list[Tensor]:
    return [lesson.to_tokens(piece, LOWEST) for piece in voices.generate(6)]


@pytest.fixture
def net(lesson: SimpleNamespace, tunes: list[Tensor]) -> Any:
    return lesson.ChoraleNet(lesson.count_notes(tunes, EDGE, 10)[1], hidden=12, width=8)


@pytest.fixture
def loud(net: Any) -> Any:
    """A network that outvotes its table: what the LSTM remembers, and the clock, decide the notes."""
    torch.nn.init.normal_(net.out.weight, std=20)
    torch.nn.init.normal_(net.earlier.weight)
    return net


def test_tokens_and_pitches_are_each_others_inverse(lesson: SimpleNamespace) -> None:
    piece = torch.tensor([[72, 67, REST, 40], [REST, 67, 60, LOWEST]])
    tokens = lesson.to_tokens(piece, LOWEST)
    assert tokens.tolist() == [[36, 31, 0, 4], [0, 31, 24, 1]]
    assert torch.equal(lesson.to_pitches(tokens, LOWEST), piece)


def test_a_guess_hears_every_earlier_note_and_no_other(lesson: SimpleNamespace, net: Any) -> None:
    for steps in (1, 5, 9):
        for step, voice in itertools.product(range(steps), range(4)):
            heard = lesson.hears(net, steps, step, voice)
            assert torch.equal(heard, lesson.before_in_order((steps, 4), step, voice))


def test_what_comes_later_does_not_change_a_guess(net: Any, tunes: list[Tensor]) -> None:
    x, other = tunes[0][None, :20], tunes[1][None, :20]
    net.eval()
    for step, voice in ((0, 0), (0, 3), (7, 2), (19, 1)):
        mixed = torch.cat([x.flatten(1)[:, : 4 * step + voice], other.flatten(1)[:, 4 * step + voice :]], 1).view_as(x)
        torch.testing.assert_close(net(x)[0, step, voice], net(mixed)[0, step, voice], rtol=0, atol=0)


def test_training_starts_at_the_tables_loss(lesson: SimpleNamespace, net: Any, tunes: list[Tensor]) -> None:
    counted = lesson.mean_of(lesson.table_losses(lesson.count_notes(tunes, EDGE, 10)[1], tunes))
    assert lesson.mean_of(lesson.note_losses(net, tunes)) == pytest.approx(counted, abs=0.02)
    often, after = lesson.count_notes(tunes, EDGE, 10)
    for table in (often, after):
        assert table.shape == (4, EDGE + 1, EDGE)
        torch.testing.assert_close(table.exp().sum(2), torch.ones(4, EDGE + 1))


def test_the_loss_of_a_piece_does_not_depend_on_those_beside_it(
    lesson: SimpleNamespace, net: Any, tunes: list[Tensor]
) -> None:
    together, alone = lesson.note_losses(net, tunes), [lesson.note_losses(net, [tune])[0] for tune in tunes]
    assert [loss.shape for loss in together] == [tune.shape for tune in tunes]
    torch.testing.assert_close(torch.cat(together), torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_tokens_outside_the_vocabulary_are_refused(net: Any) -> None:
    for wrong in (-1, EDGE + 1):
        with pytest.raises(ValueError, match=f"tokens lie between 0 and {EDGE}; these run from"):
            net(torch.full((1, 3, 4), wrong))


def test_windows_begin_on_the_bar_and_keep_silence_and_edge(lesson: SimpleNamespace) -> None:
    tune = torch.arange(1, 42).view(-1, 1).expand(-1, 4).clone()
    tune[5] = 0
    cut = lesson.windows([tune], 99, range(-1, 2), length=16)
    assert cut.shape == (3 * 5, 16, 4)  # 41 steps are filled up to 48; in three keys
    assert torch.equal(cut[5], tune[:16]) and torch.equal(cut[0][:5], tune[:5] - 1)
    assert cut[0, 5].tolist() == [0] * 4
    assert torch.equal(cut[-1, 9:], torch.full((7, 4), 99)) and cut[-1, 8].tolist() == [42] * 4


def test_the_same_seed_composes_the_same_pieces(lesson: SimpleNamespace, net: Any) -> None:
    state = torch.random.get_rng_state()
    first = lesson.compose(net, 3, 10, seed=4)
    assert first.shape == (3, 10, 4) and first.min() >= 0 and first.max() < EDGE
    assert torch.equal(first, lesson.compose(net, 3, 10, seed=4))
    assert not torch.equal(first, lesson.compose(net, 3, 10, seed=5))
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_singer_draws_from_the_logits_of_the_whole_network(lesson: SimpleNamespace, loud: Any) -> None:
    """Almost without temperature, each note is the likeliest one given the notes before it, recomputed from scratch."""
    loud.train()
    tune = lesson.compose(loud, 1, 24, seed=0, temperature=1e-4)
    assert torch.equal(loud.eval()(tune).argmax(3), tune)


def test_a_singer_keeps_the_melody_it_is_given(lesson: SimpleNamespace, loud: Any, tunes: list[Tensor]) -> None:
    melody = torch.stack([tune[:16] for tune in tunes[:2]]).unsqueeze(1)
    known = torch.zeros(16, 4, dtype=torch.bool)
    known[:, 0] = True
    complete = definition("complete").reference
    filled = complete(melody, known, lesson.Singer(loud, 1e-4), torch.Generator())
    assert torch.equal(filled[..., 0], melody[..., 0]) and not torch.equal(filled, melody)
    assert torch.equal(loud(filled[:, 0]).argmax(3)[..., 1:], filled[:, 0, :, 1:])


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
def test_a_temperature_that_is_none_is_refused(lesson: SimpleNamespace, net: Any, temperature: float) -> None:
    with pytest.raises(ValueError, match="the temperature must be above 0, not"):
        lesson.Singer(net, temperature)


def test_sound_has_its_length_is_finite_and_within_the_scale(lesson: SimpleNamespace) -> None:
    piece = voices.generate(1)[0][:6].clone()
    piece[2, 1] = REST
    sound = lesson.synthesise(piece, step=0.1, rate=4000)
    assert sound.shape == (2400,) and sound.isfinite().all() and sound.abs().max().item() == pytest.approx(1.0)
    assert torch.equal(lesson.synthesise(torch.full((5, 4), REST)), torch.zeros(8000))


def test_sound_has_the_pitch_that_is_written(lesson: SimpleNamespace) -> None:
    piece = torch.tensor([[69, REST, REST, REST]] * 5)  # 440 Hz for a second, as one note
    spectrum = torch.fft.rfft(lesson.synthesise(piece)).abs()
    assert spectrum.argmax().item() == 440
    steady = lesson.synthesise(piece)[800:-800].abs().unfold(0, 200, 200).amax(1)
    assert (steady.diff() < 0.05).all() and steady.min() > 0.3  # no new attack at a step's border


def test_voices_and_their_harmonics_add_up_and_none_is_folded_back(lesson: SimpleNamespace) -> None:
    piece = torch.tensor([[93, REST, REST, 69]] * 5)  # 1760 and 440 Hz for a second
    spectrum = torch.fft.rfft(lesson.synthesise(piece)).abs()
    heights = {440: 1, 880: 1 / 4, 1320: 1 / 9, 1760: 1 + 1 / 16, 3520: 1 / 4}  # 1760's third would be at 2720
    for frequency, height in heights.items():
        assert (spectrum[frequency] / spectrum[440]).item() == pytest.approx(height, abs=0.02)
    elsewhere = torch.ones_like(spectrum)
    for frequency in heights:
        elsewhere[frequency - 30 : frequency + 31] = 0
    assert (spectrum * elsewhere).max() < 0.02 * spectrum[440]


def test_notes_begin_and_end_softly_and_fade(lesson: SimpleNamespace) -> None:
    sound = lesson.synthesise(torch.tensor([[69, REST, REST, REST]] * 3 + [[71, REST, REST, REST]] * 2))
    for border in (0, 4800, 8000):  # in samples: the two notes last 0.6 and 0.4 seconds
        assert sound[max(0, border - 3) : border + 3].abs().max() < 0.03
    assert sound[400:600].abs().max() > 1.2 * sound[4000:4200].abs().max()


def test_a_player_holds_a_short_wav_file(lesson: SimpleNamespace) -> None:
    player = lesson.play(voices.generate(1)[0][:10])
    with wave.open(io.BytesIO(player.data)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()) == (
            1,
            1,
            8000,
            16_000,
        )


def test_descriptions_of_pieces_with_known_shares(lesson: SimpleNamespace) -> None:
    triad = torch.tensor([72, 67, 64, 48]).expand(1, 8, 4).clone()
    triad[:, 4:] = torch.tensor([74, 67, 65, 47])  # on the beat, to a dominant seventh
    held, on_beat, in_key, in_chord = lesson.describe(triad)
    assert (held, on_beat, in_key, in_chord) == (pytest.approx(25 / 28), 1.0, 1.0, 0.5)
    silent = triad.clone()
    silent[:, 4:, 2] = REST  # without its seventh, it is a chord
    assert lesson.describe(silent)[3] == 1.0
    for tenor, share in (
        (63, 1.0),
        (64, 1.0),
        (65, 0.0),
        (REST, 1.0),
    ):  # minor, major, a fourth beside the fifth, neither
        assert lesson.describe(torch.tensor([72, 67, tenor, 48]).expand(1, 8, 4))[3] == share
    chromatic = torch.arange(60, 72).view(1, 12, 1).expand(-1, -1, 4)
    assert lesson.describe(chromatic)[2] == pytest.approx(7 / 12)
