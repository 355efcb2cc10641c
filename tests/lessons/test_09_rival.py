"""Lesson 09 quotes lesson 02's result as it is recorded."""

import json
from pathlib import Path

import pytest

from course_utils.notebooks import find, ipynb

ROOT = Path(__file__).parents[2]
RIVAL = ("02", "character LSTM, validation loss, windows of 64")


@pytest.mark.parametrize(
    "quoted", ['"LSTM of lesson 02, its recorded run": {:.3f}', "it reaches {:.3f} nats a character"]
)
def test_the_rival_s_loss_is_the_recorded_one(quoted: str) -> None:
    results = json.loads((ROOT / "results" / "cpu-cpu.json").read_text(encoding="utf-8"))["results"]
    (recorded,) = (entry["value"] for entry in results if (entry["lesson"], entry["name"]) == RIVAL)
    (lesson,) = find.find_lessons(["09"], ROOT)
    assert quoted.format(recorded) in "\n".join(cell.source for cell in ipynb.read(lesson.path).cells)
