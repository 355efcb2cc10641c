"""Lessons 00 to 11 and their detours: a main lesson is one sitting, and each number that a text quotes is printed."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from course_utils.notebooks import find, ipynb

MAIN = ("00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11")
PATHS = {lesson.number: lesson.path for lesson in find.lessons(Path(__file__).parents[2]) if lesson.number[:2] in MAIN}
WORDS, LINES = 3500, 500  # of prose and of code: what a student finishes in two to two and a half hours
NOT_QUOTED = re.compile(
    r"\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|\(\D*\d{4}\)|[Ee]xercise \S+", re.DOTALL
)  # formulas, code, years
DECIMAL = re.compile(r"(?<![\w.])\d+\.(\d+)(?![\w.]\d)")
NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?")


def texts(cells: list[Any], kind: str) -> list[str]:
    return [cell.source for cell in cells if cell.cell_type == kind]


def printed(cells: list[Any]) -> Iterator[float]:
    """Every number in the code and in what it printed."""
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs]
    for text in (*texts(cells, "code"), *shown):
        yield from (float(number.replace(",", "")) for number in NUMBER.findall(text))


@pytest.mark.parametrize("number", MAIN)
def test_a_main_lesson_is_one_sitting(number: str) -> None:
    cells = ipynb.read(PATHS[number]).cells
    assert sum(len(text.split()) for text in texts(cells, "markdown")) <= WORDS
    assert sum(len(text.splitlines()) for text in texts(cells, "code")) <= LINES


@pytest.mark.parametrize("number", sorted(PATHS))
def test_a_number_in_the_text_is_printed_to_the_digits_quoted(number: str) -> None:
    cells = ipynb.read(PATHS[number]).cells
    known = [*printed(cells)]
    for text in texts(cells, "markdown"):
        for quoted in DECIMAL.finditer(NOT_QUOTED.sub(" ", text)):
            value, digits = float(quoted[0]), len(quoted[1])
            assert any(abs(round(abs(one), digits) - value) < 1e-9 for one in known), f"{quoted[0]} is printed nowhere"
