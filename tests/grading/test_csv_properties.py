"""Grade books are the tables that they should be, whatever students call themselves and their files."""

import csv
import io
import re
import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from samples import HOSTILE, mark, result

from course_utils.grading import books
from course_utils.grading.cohort import students
from course_utils.grading.result import STATES, WORDS, Result

# What students write, half characters, controls and what steers a spreadsheet included.
pieces = st.sampled_from(
    [*"=+-@|%;,\"'\t\r\n ", "\u202e", "\u200b", "＝", "−", "\ufeff", "\x00", "Points Possible", "_1"]
)
texts = st.text(st.characters(), max_size=20) | st.lists(pieces, max_size=8).map("".join) | st.sampled_from(HOSTILE)
marks = st.builds(
    lambda name, lesson, status, message, points: mark(name, status, points, 2, lesson, message),
    *(texts | st.just("lstm_gates"), texts | st.just("02"), st.sampled_from([*WORDS]), texts),
    st.sampled_from([0, 0.5, 1, 2]),
)


@st.composite
def results(draw: st.DrawFn) -> Result:
    """A result with any text wherever a student has a hand in it."""
    student = draw(texts) + draw(st.sampled_from(["", "_1", "_1002"]))
    fields = {name: draw(texts) for name in ("file", "reason", "deadline", "course_version")}
    notes, late = tuple(draw(st.lists(texts, max_size=2))), draw(st.booleans())
    status, several = draw(st.sampled_from([*STATES])), draw(st.lists(marks, max_size=3))
    return result(student, draw(st.text()), status, several, notes=notes, late=late, **fields)


cohorts = st.lists(results(), max_size=4).map(students)


def table(text: str, separator: str = ",") -> list[list[str]]:
    """The cells of a CSV file as Python's csv reads them."""
    return list(csv.reader(io.StringIO(text, newline=""), strict=separator == ",", delimiter=separator))


def assert_harmless(cell: str) -> None:
    """No spreadsheet takes it for a formula, and nothing in it steers a terminal or turns a line round."""
    assert not cell.startswith(books.FORMULA)
    assert not [character for character in cell if unicodedata.category(character)[0] == "C"]
    assert "\u2028" not in cell and "\u2029" not in cell


@given(texts)
def test_a_safe_cell_is_one_harmless_cell(text: str) -> None:
    cell = books.safe_cell(text)
    assert_harmless(cell)
    assert table(books.csv_text([[cell, "end"]])) == [[cell, "end"]]
    for separator in ";\t":  # as half of Europe's spreadsheets split a line
        assert [part for part in cell.split(separator) if part.startswith(books.FORMULA)] == []


@given(st.lists(st.lists(texts.map(books.safe_cell), min_size=2, max_size=2)))
def test_what_is_written_is_read_again(rows: list[list[str]]) -> None:
    assert table(books.csv_text(rows)) == rows


@given(cohorts)
def test_the_overview_has_a_row_for_each_submission_and_only_harmless_cells(cohort: list) -> None:
    header, *rows = table(books.grades_csv(cohort))
    assert len(rows) == sum(len(row.results) for row in cohort)
    assert {len(row) for row in rows} <= {len(header)}
    for cell in [cell for row in (header, *rows) for cell in row]:
        assert_harmless(cell)


@given(cohorts, texts)
def test_canvas_gets_a_row_for_each_student_with_a_grade_and_only_harmless_cells(cohort: list, title: str) -> None:
    header, maximum, *rows = table(books.canvas_csv(cohort, title))
    assert len(rows) == len([row for row in cohort if row.points is not None])
    assert {len(row) for row in (maximum, *rows)} == {len(header)}
    assert not [row for row in rows if re.search("points possible", row[0], re.IGNORECASE)]
    for cell in [cell for row in (header, *rows) for cell in row]:
        assert_harmless(cell)


@given(cohorts)
def test_moodle_gets_a_row_for_each_student_with_number_and_grade_and_only_harmless_cells(cohort: list) -> None:
    header, *rows = table(books.moodle_csv(cohort))
    assert len(rows) == len([row for row in cohort if row.identifier and row.points is not None])
    assert {len(row) for row in rows} <= {len(header)}
    modified = header.index("Last modified (grade)")
    for row in rows:
        assert row.pop(modified) == "-"
        assert not set("<>&") & set(row[-1])
        for cell in row:
            assert_harmless(cell)
