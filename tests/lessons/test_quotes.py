"""A number that a lesson takes from another one is the one that is recorded there."""

import json
import re
from pathlib import Path

import pytest

from course_utils.notebooks import find, ipynb

ROOT = Path(__file__).parents[2]
LSTM = "character LSTM, validation loss, windows of 64"


@pytest.mark.parametrize(
    ("lesson_number", "shown", "source", "name"),
    [
        ("08", r'"VAE, bound": ([\d.]+)', "05", "forty latents, −ELBO, test (static binarisation)"),
        (
            "08",
            r'"VAE, 100 codes": ([\d.]+)',
            "05",
            "importance-weighted NLL, K = 100, 1000 test images (static binarisation)",
        ),
        (
            "02a",
            r'"RNN, 256 units": ([\d.]+)',
            "01",
            "characters: RNN, 256 units, validation loss, windows of 64, median",
        ),
        ("02a", r'"window of 8": ([\d.]+)', "01", "characters: window of 8, validation loss, windows of 64, median"),
        ("08a", r"\(lesson 03a[^)]*\): ([\d.]+)", "03a", "PNG, one file for many images, bits per pixel"),
        ("09", r'"lesson 02\'s LSTM": ([\d.]+)', "02", LSTM),
        ("09", r"LSTM of lesson 02 needs ([\d.]+) nats", "02", LSTM),
        ("09", r"after (\d+) core-seconds", "02", "character LSTM, training"),
    ],
)
def test_numbers_of_other_lessons_are_those_recorded(lesson_number: str, shown: str, source: str, name: str) -> None:
    results = json.loads((ROOT / "results" / "cpu-cpu.json").read_text(encoding="utf-8"))["results"]
    (recorded,) = (entry["value"] for entry in results if (entry["lesson"], entry["name"]) == (source, name))
    (lesson,) = find.find_lessons([lesson_number], ROOT)
    (number,) = re.findall(shown, "\n".join(cell.source for cell in ipynb.read(lesson.path).cells))
    assert number == f"{recorded:.{len(number.partition('.')[2])}f}"
