"""What is kept is made once, never read when damaged, and made anew when anything that it depends on has changed."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from course_utils import kept


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def maker() -> tuple[list[int], Callable]:
    """How often something was made, and what makes it."""
    made: list[int] = []

    def make() -> dict:
        made.append(1)
        return {"weights": {"w": torch.tensor([1.5, -2.0])}, "seconds": 3.5}

    return made, make


def test_it_is_made_once_and_then_read(cache: Path, maker: tuple, capsys: pytest.CaptureFixture[str]) -> None:
    made, make = maker
    first, again = (kept.once("things", "a thing", ["recipe", 3], make) for _ in range(2))
    assert len(made) == 1 and first["seconds"] == again["seconds"] == 3.5
    assert torch.equal(first["weights"]["w"], again["weights"]["w"])
    (path,) = (cache / "things").iterdir()
    assert path.name.startswith("a-thing-")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("depends", [["recipe", 4], ["Recipe", 3], ["recipe", 3, None], [{"recipe": 3}]])
def test_what_depends_on_something_else_is_another_thing(cache: Path, maker: tuple, depends: list) -> None:
    made, make = maker
    kept.once("things", "a thing", ["recipe", 3], make)
    kept.once("things", "a thing", depends, make)
    assert len(made) == len(list((cache / "things").iterdir())) == 2


@pytest.mark.parametrize("spoil", [lambda content: content[:-5], lambda content: b"", lambda content: content + b"x"])
def test_a_damaged_file_is_named_and_made_anew_in_its_place(
    cache: Path, maker: tuple, spoil: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    made, make = maker
    kept.once("things", "a thing", [], make)
    (path,) = (cache / "things").iterdir()
    path.write_bytes(spoil(path.read_bytes()))
    assert kept.once("things", "a thing", [], make)["seconds"] == 3.5
    assert "a thing: a-thing-" in capsys.readouterr().out
    assert len(made) == 2 and len(list((cache / "things").iterdir())) == 1


def test_where_nothing_can_be_written_it_is_made_and_not_kept(
    tmp_path: Path, maker: tuple, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv("COURSE_CACHE", str(blocked / "below"))
    made, make = maker
    assert kept.once("things", "a thing", [], make)["seconds"] == 3.5
    assert len(made) == 1 and "a thing: it will not be kept" in capsys.readouterr().out
