"""Chorales: read as written, refused where damaged, made by rule where there are none; the lesson's music from them."""

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from course_utils import data, runtime
from course_utils.data import download, voices
from course_utils.data.download import Dataset, File
from course_utils.data.voices import REST

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
