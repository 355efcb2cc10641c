"""A lesson quotes what was measured before, or says that it was not."""

import json
from pathlib import Path

import pytest

from course_utils import recorded

ENTRY = {"lesson": "08", "name": "price", "value": 80.6543, "unit": "nats", "core_hours": 3.91}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one recorded result."""
    monkeypatch.setattr(recorded, "checkout", lambda: tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "night-cpu.json").write_text(json.dumps({"results": [ENTRY]}))
    return tmp_path


def test_a_result_is_quoted_with_its_unit_and_its_cost(root: Path) -> None:
    assert recorded.text("08", "price", "night-cpu") == "80.65 nats after 3.91 core-hours"
    assert recorded.value("08", "price", "night-cpu") == 80.6543
    assert recorded.row("08", "price", "night-cpu") == ENTRY


@pytest.mark.parametrize(
    "asked", [("08a", "price", "night-cpu"), ("08", "another", "night-cpu"), ("08", "price", "gpu-cuda")]
)
def test_what_is_not_recorded_is_not_run_yet(asked: tuple[str, str, str], root: Path) -> None:
    assert (recorded.text(*asked), recorded.value(*asked)) == ("not run yet", None)


def test_an_installed_package_has_no_results(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "checkout", lambda: None)
    assert recorded.text("08", "price", "night-cpu") == recorded.MISSING


def test_what_a_lesson_cost_is_told_only_where_it_is_known() -> None:
    assert recorded.in_words({"value": 1.5, "unit": ""}) == "1.5"
